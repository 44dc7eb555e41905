//! The configuration, the manifests and the next commands that `dev` prints.

use std::path::Path;

use serde_json::json;

use super::{AUDIT_KEY, ISSUING_KEY, TOKEN, softhsm::CONFIGURATION};

/// What the chart would bring: the Namespace of the controller, its two objects that must exist, and the right of cert-manager's
/// approver to approve requests for our issuers.
pub(super) const CLUSTER: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: pkcs11-issuer-system}
---
apiVersion: v1
kind: Secret
metadata: {name: pkcs11-issuer-pin-state, namespace: pkcs11-issuer-system}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: pkcs11-issuer-log-heads, namespace: pkcs11-issuer-system}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: pkcs11-issuer-dev-approver}
rules:
  - apiGroups: [cert-manager.io]
    resources: [signers]
    resourceNames: [pkcs11issuers.pkcs11-issuer.dev/*, pkcs11clusterissuers.pkcs11-issuer.dev/*]
    verbs: [approve]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: pkcs11-issuer-dev-approver}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: pkcs11-issuer-dev-approver}
subjects:
  - {kind: ServiceAccount, name: cert-manager, namespace: cert-manager}
";

/// A first Certificate.
pub(super) const CERTIFICATE: &str = "\
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {name: web, namespace: default}
spec:
  secretName: web-tls
  dnsNames: [web.example]
  privateKey: {algorithm: ECDSA, size: 256}
  usages: [digital signature, server auth]
  issuerRef: {group: pkcs11-issuer.dev, kind: PKCS11ClusterIssuer, name: issuing}
";

/// Returns the operator's configuration of the token in this folder.
pub(super) fn configuration(folder: &Path, module: &Path) -> anyhow::Result<String> {
    let configuration = json!({
        "modules": {"softhsm": {
            "path": module,
            "env": {CONFIGURATION: folder.join("softhsm2.conf")},
        }},
        "tokens": {TOKEN: {
            "module": "softhsm",
            "label": TOKEN,
            "pinFile": folder.join("pin"),
            "grants": [{"clusterIssuers": true, "keys": [ISSUING_KEY]}],
        }},
        "audit": {"cluster": "dev", "checkpoints": {"token": TOKEN, "key": AUDIT_KEY}},
    });
    yaml(&configuration)
}

/// Returns the issuer with its certificates, so that `sign` needs no cluster.
pub(super) fn issuer(issuing: &str, root: &str) -> anyhow::Result<String> {
    let issuer = json!({
        "apiVersion": "pkcs11-issuer.dev/v1alpha1",
        "kind": "PKCS11ClusterIssuer",
        "metadata": {"name": "issuing"},
        "spec": {
            "token": TOKEN,
            "key": {"label": ISSUING_KEY},
            "certificate": {"pem": issuing, "rootPem": root},
        },
    });
    yaml(&issuer)
}

fn yaml(value: &serde_json::Value) -> anyhow::Result<String> {
    Ok(serde_saphyr::to_string(value)?.trim_end().to_owned() + "\n")
}

/// Returns the commands that come next.
pub(super) fn next(folder: &Path) -> String {
    let path = |name: &str| quoted(&folder.join(name).to_string_lossy());
    let (config, issuer) = (path("config.yaml"), path("issuer.yaml"));
    format!(
        "\
# Sign a certificate without a cluster:
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout web.key -subj / -addext subjectAltName=DNS:web.example -out web.csr
pkcs11-issuer sign --config {config} --issuer {issuer} --csr web.csr --usages 'digital signature,server auth' --out web.pem
openssl verify -x509_strict -purpose sslserver -verify_hostname web.example -CAfile {root} -untrusted web.pem web.pem

# Look at the token and at the ceremony that made its keys:
pkcs11-issuer token show --config {config} {TOKEN}
pkcs11-ceremony minutes --plan {plan} --approvers {approvers} --out {out}

# Sign for cert-manager, in the cluster of your kubeconfig; the controller runs until you stop it:
kubectl apply -f {cluster}
pkcs11-issuer crds | kubectl apply -f -
kubectl wait --for=condition=Established crd/pkcs11clusterissuers.pkcs11-issuer.dev
pkcs11-issuer run --config {config} >issuance.log &
kubectl apply -f {issuer} -f {certificate}
kubectl wait --for=condition=Ready --timeout=1m certificate/web

# Stop it, and verify its issuance log with the audit key:
kill %1 && wait %1
pkcs11-issuer audit verify --key-file {verifier_key} issuance.log
",
        root = path("ceremony/root.pem"),
        plan = path("plan.yaml"),
        approvers = path("approvers.yaml"),
        out = path("ceremony"),
        cluster = path("cluster.yaml"),
        verifier_key = path("ceremony/transcript.vkey"),
        certificate = path("certificate.yaml"),
    )
}

/// Returns a word of a shell.
fn quoted(text: &str) -> String {
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"/._-+@".contains(&octet);
    if text.bytes().all(plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_of_the_shell() {
        assert_eq!(quoted("/tmp/hsm-1"), "/tmp/hsm-1");
        assert_eq!(quoted("my hsm"), "'my hsm'");
        assert_eq!(quoted("it's $HOME"), r"'it'\''s $HOME'");
    }
}
