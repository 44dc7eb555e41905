//! Compares `docs/examples/like-the-ca-issuer.yaml` with cert-manager's own CA issuer: both get the same approved requests.

mod compare;
mod shapes;

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use control_plane::CertManagerOptions;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rig::{Authority, Cluster, Controller, ControllerOptions, IssuerName, NAMESPACE, Requests};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaCertificate, CaProfile, KeyKind};

use self::shapes::{SHAPES, Shape};

/// The fields that may differ, each with the words in which the example explains it.
const EXPLAINED: [(&str, &str); 10] = [
    (
        "keyUsage",
        "Key usages are limited to those that the type of key can have",
    ),
    (
        "subjectKeyIdentifier",
        "Every certificate has a subject key identifier",
    ),
    (
        "refused: usage-not-allowed",
        "extended key usages that only the CSR names are refused",
    ),
    (
        "refused: usage-not-allowed",
        "The usage any must stand alone",
    ),
    (
        "refused: extension-not-allowed",
        "Name constraints of a CSR are honoured for CA certificates",
    ),
    (
        "subject",
        "A CA certificate without a subject gets its first DNS name as common name",
    ),
    (
        "subject",
        "Attributes of a subject get the string types of RFC 5280",
    ),
    ("subjectAltName", "so its names are not critical"),
    (
        "lifetime",
        "A certificate ends no later than the issuing certificate",
    ),
    (
        "refused: bad-san",
        "Weak keys, malformed names, and names or usages that the chain's own constraints forbid are refused",
    ),
];

/// Our issuer and cert-manager's, both ready.
struct Both {
    ours: IssuerName,
    our_ca: String,
    their_ca: String,
    requests: Requests,
    // Dropped in this order.
    _controller: Controller,
    cluster: Cluster,
    _authority: Authority,
}

fn example() -> Result<(Value, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/examples/like-the-ca-issuer.yaml");
    let text = fs::read_to_string(path)?;
    Ok((serde_saphyr::from_str(&text)?, text))
}

impl Both {
    async fn start() -> Result<Self> {
        let programs = super::programs()?;
        let authority = Authority::new(KeyKind::P256)?;
        // The rig's own issuing certificate has a path length of zero, so it cannot issue CA certificates.
        let key = authority
            .token()
            .generate_key("migrated-ca", &[3], KeyKind::P256)?;
        let issuing = authority
            .root()
            .issue(&key, &CaProfile::named("Test migrated"))?;
        let mut configuration = authority.configuration(&[]);
        configuration["tokens"]["issuing"]["grants"][0]["limits"] = json!({"ca": {"allow": true}});
        let cert_manager = CertManagerOptions {
            approver: false,
            ..CertManagerOptions::default()
        };
        let cluster = Cluster::start(&programs, cert_manager).await?;
        let options = ControllerOptions::new(configuration.to_string(), &programs);
        let controller = Controller::start(&cluster, &options).await?;
        let ours = our_issuer(&cluster, &authority, &issuing).await?;
        let their_ca = their_issuer(&cluster).await?;
        cluster.create_namespace("beside").await?;
        Ok(Self {
            ours,
            our_ca: issuing.pem(),
            their_ca,
            requests: cluster.requests("beside").await?,
            _controller: controller,
            cluster,
            _authority: authority,
        })
    }

    /// Returns the names of the fields in which the two certificates differ.
    async fn differences(&self, shape: &Shape) -> Result<Vec<String>> {
        let csr = (shape.csr)().context("make the CSR")?;
        let mut spec = rig::request_spec(&self.ours, &csr);
        for (field, value) in (shape.spec)().as_object().context("no object")? {
            spec[field] = value.clone();
        }
        let ours = format!("{}-ours", shape.name);
        self.requests.create(&ours, spec.clone()).await?;
        self.requests.approve(&ours).await?;
        let theirs = format!("{}-theirs", shape.name);
        spec["issuerRef"] =
            json!({"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "beside"});
        self.requests.create(&theirs, spec).await?;
        self.requests.approve(&theirs).await?;

        let theirs = self.requests.reaches(&theirs, "Issued").await?;
        let theirs = theirs
            .certificate()
            .context("cert-manager's CA issuer published no certificate")?;
        let decided = |status: &rig::Status| {
            let ready = status.ready();
            ready.is_some_and(|ready| ["Issued", "Failed"].contains(&ready.reason.as_str()))
        };
        let ours = self.requests.until(&ours, decided).await?;
        match ours.certificate() {
            Some(ours) => compare::differences(&ours, &self.our_ca, &theirs, &self.their_ca),
            None => {
                let message = ours.ready().context("no condition")?.message;
                let slug = message.split(':').next().unwrap_or_default();
                Ok(vec![format!("refused: {slug}")])
            }
        }
    }
}

/// Creates the example's issuer unchanged, and the Secret that it names.
async fn our_issuer(
    cluster: &Cluster,
    authority: &Authority,
    issuing: &CaCertificate,
) -> Result<IssuerName> {
    let texts = BTreeMap::from([
        ("tls.crt", issuing.pem()),
        ("ca.crt", authority.root().pem()),
    ]);
    cluster
        .apply_secret(NAMESPACE, "issuing-ca", &texts)
        .await?;
    let (issuer, text) = example()?;
    cluster.plane().apply(&text).await?;
    let name = issuer["metadata"]["name"].as_str().context("no name")?;
    let name = IssuerName::cluster(name);
    cluster.issuer_is_ready(&name).await?;
    Ok(name)
}

/// A `ClusterIssuer` with a key of its own; returns its certificate.
async fn their_issuer(cluster: &Cluster) -> Result<String> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "Test beside");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?.pem();
    let texts = BTreeMap::from([
        ("tls.crt", certificate.clone()),
        ("tls.key", key.serialize_pem()),
    ]);
    cluster
        .apply_secret("cert-manager", "beside", &texts)
        .await?;
    let issuer = json!({
        "apiVersion": "cert-manager.io/v1",
        "kind": "ClusterIssuer",
        "metadata": {"name": "beside"},
        "spec": {"ca": {"secretName": "beside"}},
    });
    cluster.plane().apply(&issuer.to_string()).await?;
    Ok(certificate)
}

#[tokio::test]
async fn the_example_matches_the_ca_issuer_except_for_the_differences_it_explains() -> Result<()> {
    let both = Both::start().await?;
    for shape in SHAPES {
        let differences = both.differences(shape).await.with_context(|| {
            format!(
                "{}: {}",
                shape.name,
                both.cluster.plane().log_dir().display()
            )
        })?;
        assert_eq!(differences, shape.differences, "{}", shape.name);
    }
    Ok(())
}

#[test]
fn the_example_explains_each_difference_and_no_other() -> Result<()> {
    let (_, text) = example()?;
    let comment: Vec<_> = text
        .lines()
        .map_while(|line| line.strip_prefix('#'))
        .flat_map(str::split_whitespace)
        .filter(|word| *word != "*")
        .collect();
    let comment = comment.join(" ");
    for (difference, words) in EXPLAINED {
        assert!(comment.contains(words), "{difference} is not explained");
        let seen = SHAPES
            .iter()
            .any(|shape| shape.differences.contains(&difference));
        assert!(
            seen,
            "{difference} is explained, but no shape has this difference"
        );
    }
    for shape in SHAPES {
        for difference in shape.differences {
            let explained = EXPLAINED.iter().any(|(name, _)| name == difference);
            assert!(explained, "{}: {difference}", shape.name);
        }
    }
    Ok(())
}
