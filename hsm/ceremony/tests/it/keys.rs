//! Each kind of key that a token has.

use crate::fixture::{Ceremony, openssl};

fn plan(root: &str, issuing: &str) -> String {
    format!(
        "\
tool: 0.1.0
ceremony: keys
token: {{label: ceremony, serial: SERIAL}}
steps:
  - keygen: {{name: root-key, algorithm: {root}, label: root}}
  - keygen: {{name: issuing-key, algorithm: {issuing}, label: issuing}}
  - audit-key: {{name: audit, algorithm: P-256, label: audit}}
  - root:
      name: root
      key: root-key
      subject: [CN=Root]
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e01
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2046-11-01T00:00:00Z
  - intermediate:
      name: issuing
      issuer: root
      key: issuing-key
      subject: [CN=Issuing]
      serial: 5b02c5b1e6b84f7f9c0d33c1a7b92e02
      notBefore: 2026-11-01T00:00:00Z
      notAfter: 2036-11-01T00:00:00Z
      pathLength: 0
  - csr: {{name: request, key: issuing-key, subject: [CN=Issuing]}}
"
    )
}

#[test]
fn openssl_accepts_every_kind_of_key_that_it_knows() {
    for (root, issuing) in [
        ("RSA-4096", "P-384"),
        ("Ed25519", "P-256"),
        ("P-384", "Ed25519"),
    ] {
        let ceremony = Ceremony::of(&plan(root, issuing));
        ceremony.hold();
        ceremony.ok("verify", &[]);
        let path = |name: &str| ceremony.out(name).to_str().unwrap().to_owned();
        openssl(&[
            "verify",
            "-x509_strict",
            "-CAfile",
            &path("root.pem"),
            &path("issuing.pem"),
        ]);
        openssl(&["req", "-verify", "-noout", "-in", &path("request.csr.pem")]);
    }
}

#[test]
fn ml_dsa_keys_make_chains_that_a_second_implementation_verifies() {
    for (root, issuing) in [("ML-DSA-87", "P-384"), ("ML-DSA-65", "ML-DSA-65")] {
        let ceremony = Ceremony::of_kryoptic(&plan(root, issuing));
        ceremony.hold();
        // The token signs with OpenSSL's code; `verify` checks the signatures with AWS-LC's.
        ceremony.ok("verify", &[]);
    }
}
