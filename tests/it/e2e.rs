//! cert-manager's own controllers and webhook, kube-controller-manager, approver-policy and trust-manager on one control
//! plane, with our two kinds as issuers. What `docs/cert-manager.md` claims is shown here.

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
mod roles;
mod stage;
mod trust;
mod validations;

use anyhow::Result;
use rig::IssuerName;
use serde_json::Value;

use self::{issued::Issued, objects::Objects, stage::stage, validations::Validation};

/// Namespace of the Certificates and of the namespaced issuer.
const NAMESPACE: &str = "e2e";
/// Name of the issuers of both kinds that give what cert-manager's CA issuer gives.
const LIKE_THE_CA_ISSUER: &str = "like-the-ca-issuer";

/// An issuer of each kind, and a short word for it.
fn both() -> [(&'static str, IssuerName); 2] {
    [
        ("cluster", IssuerName::cluster(LIKE_THE_CA_ISSUER)),
        (
            "namespaced",
            IssuerName::namespaced(NAMESPACE, LIKE_THE_CA_ISSUER),
        ),
    ]
}

/// The name of an object for a test and a kind of issuer.
fn named(rule: &str, kind: &str) -> String {
    format!("{}-{kind}", rule.replace('_', "-"))
}

/// Has an issuer of each kind issue this Certificate, given a domain of its own, and checks what came of it.
async fn issue(rule: &str, spec: fn(&str) -> Value, also: &[Validation]) -> Result<()> {
    let one = async |(kind, issuer): (&str, IssuerName)| {
        let objects = Objects::new().await?;
        let name = named(rule, kind);
        let spec = spec(&format!("{kind}.{}", domain(rule)));
        objects.create_certificate(&name, &issuer, spec).await?;
        let issued = Issued::wait(&objects, &name).await?;
        validations::all(&issued, also)
    };
    let [cluster, namespaced] = both();
    tokio::try_join!(one(cluster), one(namespaced))?;
    Ok(())
}

/// A domain for a test alone; its first label is short.
fn domain(rule: &str) -> String {
    let words = rule.split('_').filter_map(|word| word.chars().next());
    format!("{}.e2e.example", words.collect::<String>())
}
