//! cert-manager's own controllers and webhook, kube-controller-manager, approver-policy and trust-manager on one control
//! plane, with our two kinds of issuer. These tests prove the claims of `docs/cert-manager.md`.

mod approval;
mod certificates;
mod cleaning;
mod gateways;
mod ingresses;
mod issued;
mod kubernetes_csrs;
mod life;
mod objects;
mod refusals;
mod reissue;
mod revocation;
mod roles;
mod stage;
mod trust;
mod validations;

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rig::IssuerName;
use serde_json::Value;

use self::{issued::Issued, objects::Objects, stage::stage, validations::Validation};

/// The namespace of the Certificates and of the namespaced issuer.
const NAMESPACE: &str = "e2e";
/// The name of the issuers, of both kinds, that issue what cert-manager's CA issuer issues.
const LIKE_THE_CA_ISSUER: &str = "like-the-ca-issuer";

/// Returns an issuer of each kind with a short word for the kind.
fn both() -> [(&'static str, IssuerName); 2] {
    [
        ("cluster", IssuerName::cluster(LIKE_THE_CA_ISSUER)),
        (
            "namespaced",
            IssuerName::namespaced(NAMESPACE, LIKE_THE_CA_ISSUER),
        ),
    ]
}

/// Returns the name of an object for a test and a kind of issuer.
fn named(rule: &str, kind: &str) -> String {
    format!("{}-{kind}", rule.replace('_', "-"))
}

/// Creates this Certificate with an issuer of each kind, each time for another domain, and checks the result.
async fn issue(rule: &str, spec: fn(&str) -> Value, also: &[Validation]) -> Result<()> {
    let one = async |(kind, issuer): (&str, IssuerName)| {
        let objects = Objects::new().await?;
        let name = named(rule, kind);
        let spec = spec(&format!("{kind}.{}", domain(rule)));
        objects.create_certificate(&name, &issuer, spec).await?;
        let issued = Issued::wait(&objects, &name).await?;
        is_logged_for(&name, issued.leaf_der()).await?;
        validations::all(&issued, also)
    };
    let [cluster, namespaced] = both();
    tokio::try_join!(one(cluster), one(namespaced))?;
    Ok(())
}

/// Fails unless the issuance log has this certificate, as one that was signed for a request of the Certificate of this name.
async fn is_logged_for(name: &str, leaf: &[u8]) -> Result<()> {
    let (lines, leaf) = (
        stage().await?.controller().issuance_log()?,
        STANDARD.encode(leaf),
    );
    let line = lines
        .iter()
        .find(|line| line["certificate"] == leaf.as_str());
    let line = line.with_context(|| format!("the certificate of {name} is not in the log"))?;
    let of = &line["request"]["certificate"];
    ensure!(line["event"] == "signed" && of == name, "{name}: {line}");
    Ok(())
}

/// Returns a domain for one test; its first label is short.
fn domain(rule: &str) -> String {
    let words = rule.split('_').filter_map(|word| word.chars().next());
    format!("{}.e2e.example", words.collect::<String>())
}
