//! Tests, on a real API server, what the operator's grants let an issuer sign.

use anyhow::{Context as _, Result};
use aws_lc_rs::digest::{SHA256, digest};
use rcgen::{CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair};
use rig::{Authority, IssuerName, Requests, request_spec, signing_request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaCertificate, CaProfile};
use tokio::sync::OnceCell;
use x509_parser::{extensions::GeneralName, pem::parse_x509_pem};

use super::counted::Counted;

const IS_CA: &str = "experimental.cert-manager.io/request-is-ca";

/// An issuing certificate that may issue CA certificates, and a controller whose grants name it.
struct Granted {
    case: Counted,
    certificate: CaCertificate,
}

async fn granted() -> Result<&'static Granted> {
    static GRANTED: OnceCell<Granted> = OnceCell::const_new();
    GRANTED.get_or_try_init(start).await
}

async fn start() -> Result<Granted> {
    let mut case = Counted::start(&["--probe-interval", "1s"], |_| {}).await?;
    let authority = &case.authority;
    let key = authority.issuing().key();
    let certificate = authority
        .root()
        .issue(key, &CaProfile::named("Test granted"))?;
    let fingerprint = hex::encode(digest(&SHA256, certificate.der()));
    let grants = json!([
        {"namespaceSelector": {"matchLabels": {"tier": "prod"}}, "keys": ["*"]},
        {
            "namespaces": ["pinned"],
            "keys": ["*"],
            "certificates": [format!("sha256:{fingerprint}")],
            "limits": {"names": {"dns": ["*.shop.example"]}, "ca": {"allow": true, "maxPathLen": 0}},
        },
        {"clusterIssuers": true, "keys": ["*"], "limits": {"ca": {"allow": true}}},
    ]);
    case.reconfigure(|all| all["tokens"]["issuing"]["grants"] = grants)?;
    case.cluster.create_namespace("pinned").await?;
    Ok(Granted { case, certificate })
}

/// Returns the spec of an issuer with this certificate and this `profile.ca`.
fn spec(authority: &Authority, certificate: &CaCertificate, ca: Value) -> Value {
    let mut spec = authority.issuer_spec();
    spec["certificate"]["pem"] = json!(certificate.pem());
    spec["profile"] = json!({"usages": {"allowed": ["cert sign", "digital signature"]}, "ca": ca});
    spec
}

impl Granted {
    async fn apply(&self, name: &IssuerName, ca: Value) -> Result<()> {
        let spec = spec(&self.case.authority, &self.certificate, ca);
        self.case.cluster.apply_issuer(name, &spec).await?;
        self.case.cluster.issuer_is_ready(name).await.map(drop)
    }

    async fn has_reason(&self, name: &IssuerName, reason: &str) -> Result<String> {
        let reached = self.case.cluster.issuer_reaches(name, |status| {
            status.ready().is_some_and(|ready| ready.reason == reason)
        });
        Ok(reached.await?.ready().context("no condition")?.message)
    }

    async fn label(&self, namespace: &str, labels: Value) -> Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": labels},
        });
        self.case.cluster.apply(&object).await
    }
}

/// Returns a CSR for a CA certificate, with a nameConstraints extension in hexadecimal DER.
fn ca_csr(constraints: Option<&str>) -> Result<String> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "Test tenant's CA");
    if let Some(constraints) = constraints {
        params.custom_extensions = vec![CustomExtension::from_oid_content(
            &[2, 5, 29, 30],
            hex::decode(constraints)?,
        )];
    }
    Ok(params.serialize_request(&KeyPair::generate()?)?.pem()?)
}

/// Creates an approved request for a CA certificate and returns its chain, or the message of its refusal.
async fn ask(
    requests: &Requests,
    name: &str,
    issuer: &IssuerName,
    csr: &str,
) -> Result<Result<String, String>> {
    let mut spec = request_spec(issuer, csr);
    spec["isCA"] = json!(true);
    spec["usages"] = json!(["cert sign"]);
    requests.create_approved(name, spec).await?;
    let status = requests
        .until(name, |status| {
            let reason = status.ready().map(|ready| ready.reason);
            reason.is_some_and(|reason| reason == "Issued" || reason == "Failed")
        })
        .await?;
    let why = status.ready().context("no condition")?.message;
    Ok(status.certificate().ok_or(why))
}

/// Returns the DNS subtrees that the first certificate of a chain permits.
fn permitted_dns(chain: &str) -> Result<Vec<String>> {
    let (_, pem) = parse_x509_pem(chain.as_bytes())?;
    let certificate = pem.parse_x509()?;
    let constraints = certificate.name_constraints()?.context("no constraints")?;
    assert!(constraints.critical);
    let permitted = constraints.value.permitted_subtrees.iter().flatten();
    Ok(permitted
        .filter_map(|subtree| {
            let GeneralName::DNSName(name) = subtree.base else {
                return None;
            };
            Some(name.to_owned())
        })
        .collect())
}

fn is_ca(chain: &str) -> Result<bool> {
    let (_, pem) = parse_x509_pem(chain.as_bytes())?;
    Ok(pem.parse_x509()?.is_ca())
}

#[tokio::test]
async fn a_grant_by_labels_holds_while_the_namespace_has_them() -> Result<()> {
    let granted = granted().await?;
    let own = IssuerName::namespaced("labelled", "own");
    granted.label("labelled", json!({"tier": "test"})).await?;
    let spec = granted.case.authority.issuer_spec();
    granted.case.cluster.apply_issuer(&own, &spec).await?;
    granted.has_reason(&own, "NotGranted").await?;
    granted.label("labelled", json!({"tier": "prod"})).await?;
    granted.case.cluster.issuer_is_ready(&own).await?;
    granted.label("labelled", json!({"tier": "test"})).await?;
    granted.has_reason(&own, "NotGranted").await?;
    Ok(())
}

#[tokio::test]
async fn a_granted_key_signs_only_under_the_certificates_of_its_grant() -> Result<()> {
    let granted = granted().await?;
    let authority = &granted.case.authority;
    let key = authority.issuing().key();
    let other = authority
        .root()
        .issue(key, &CaProfile::named("Test unfenced"))?;
    let own = IssuerName::namespaced("pinned", "other-certificate");
    let spec = spec(authority, &other, json!({}));
    granted.case.cluster.apply_issuer(&own, &spec).await?;
    let message = granted.has_reason(&own, "CertificateNotGranted").await?;
    assert!(message.contains("sha256:"), "{message}");
    granted.apply(&own, json!({})).await
}

#[tokio::test]
async fn name_constraints_of_a_request_narrow_the_grant_and_never_widen_it() -> Result<()> {
    let granted = granted().await?;
    let requests = granted.case.cluster.requests("pinned").await?;
    let fixed = IssuerName::namespaced("pinned", "fixed");
    let by_request = IssuerName::namespaced("pinned", "by-request");
    granted.apply(&fixed, json!({"allow": true})).await?;
    let from_request = json!({"allow": true, "nameConstraints": {"mode": "FromRequest"}});
    granted.apply(&by_request, from_request).await?;

    // Permitted: the dNSName web.shop.example, or bank.example.
    let narrower = ca_csr(Some("3016a014301282107765622e73686f702e6578616d706c65"))?;
    let wider = ca_csr(Some("3012a010300e820c62616e6b2e6578616d706c65"))?;

    let issued = ask(&requests, "nc-none", &by_request, &ca_csr(None)?).await?;
    assert_eq!(permitted_dns(&issued.unwrap())?, ["shop.example"]);
    let issued = ask(&requests, "nc-narrower", &by_request, &narrower).await?;
    assert_eq!(permitted_dns(&issued.unwrap())?, ["web.shop.example"]);
    let why = ask(&requests, "nc-wider", &by_request, &wider)
        .await?
        .unwrap_err();
    assert!(why.starts_with("ca-name-constraints: "), "{why}");
    assert!(why.contains("bank.example"), "{why}");
    let why = ask(&requests, "nc-fixed", &fixed, &narrower)
        .await?
        .unwrap_err();
    assert!(why.starts_with("extension-not-allowed: "), "{why}");
    Ok(())
}

#[tokio::test]
async fn an_annotation_alone_makes_no_ca_unless_the_profile_says_so() -> Result<()> {
    let granted = granted().await?;
    let by_usage = IssuerName::cluster("by-usage");
    let by_annotation = IssuerName::cluster("by-annotation");
    granted.apply(&by_usage, json!({"allow": true})).await?;
    let both = json!({"allow": true, "byAnnotation": true});
    granted.apply(&by_annotation, both).await?;
    let requests = granted.case.cluster.signing_requests("csr-maker").await?;
    let csr = ca_csr(None)?;
    let cases = [
        ("ca-annotated", &by_usage, "digital signature", false),
        ("ca-by-usage", &by_usage, "cert sign", true),
        (
            "ca-by-annotation",
            &by_annotation,
            "digital signature",
            true,
        ),
    ];
    for (name, issuer, usage, issued) in cases {
        let mut spec = signing_request_spec(issuer, &csr);
        spec["usages"] = json!([usage]);
        requests.create(name, spec, json!({IS_CA: "true"})).await?;
        requests.approve(name).await?;
        if issued {
            assert!(is_ca(&requests.is_issued(name).await?)?, "{name}");
        } else {
            let status = requests
                .until(name, |status| status.condition("Failed").is_some())
                .await?;
            let message = status.condition("Failed").context("no condition")?.message;
            assert!(message.starts_with("ca-not-allowed: "), "{message}");
            assert!(message.contains("cert sign"), "{message}");
        }
    }
    Ok(())
}
