//! Tests issued chains with independent verifiers: here OpenSSL in its strict mode, in `foreign` three more.
//!
//! The `openssl` program creates keys, CA certificates and certification requests. The issuance core creates the
//! certificates, with the CA's key in software.

mod fenced;
mod foreign;
mod key;
mod openssl;
mod revoke_proof;
mod roots;
mod san;

use std::sync::Arc;

use futures::executor::block_on;
use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    CaField, Issuer, PreparedCertificate, Probe, Serial, SignatureAlgorithm, Signer, VerifiedCsr,
    Wanted, pattern::Variables,
};
use serde_json::json;

use self::{key::SoftwareKey, openssl::Openssl};

/// Arguments of `openssl genpkey` for each kind of key.
const KEYS: &[(&str, &[&str])] = &[
    (
        "rsa2048",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
    ),
    (
        "rsa3072",
        &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:3072"],
    ),
    (
        "p256",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ),
    (
        "p384",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
    ),
    (
        "p521",
        &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"],
    ),
    ("ed25519", &["-algorithm", "ED25519"]),
];

/// Arguments of `openssl req` for signature schemes other than the key's default.
const SCHEMES: &[(&str, &[&str])] = &[
    ("rsa2048", &["-sha512"]),
    (
        "rsa2048",
        &[
            "-sha256",
            "-sigopt",
            "rsa_padding_mode:pss",
            "-sigopt",
            "rsa_pss_saltlen:digest",
        ],
    ),
    ("p256", &["-sha384"]),
    ("p256", &["-sha512"]),
    ("p384", &["-sha256"]),
    ("p521", &["-sha256"]),
];

/// Returns a time one minute after the start of the certificates, so that they are certainly valid by the clock of
/// `openssl`.
fn soon(issuer: &Issuer) -> Timestamp {
    issuer.chain().issuing().not_before() + jiff::SignedDuration::from_mins(1)
}

fn issue(csr: &VerifiedCsr, issuer: &Arc<Issuer>, signer: &dyn Signer) -> String {
    issue_as(csr, issuer, signer, false)
}

fn issue_as(csr: &VerifiedCsr, issuer: &Arc<Issuer>, signer: &dyn Signer, is_ca: bool) -> String {
    let usages: Vec<String> = [
        "digital signature",
        "key encipherment",
        "server auth",
        "client auth",
    ]
    .map(str::to_owned)
    .to_vec();
    let wanted = Wanted {
        variables: Variables {
            namespace: Some("shop"),
            name: "web",
        },
        usages: &usages,
        is_ca,
        by_annotation: false,
        duration: None,
    };
    let params = issuer.profile().admit(csr, &wanted).unwrap();
    let serial = Serial::from_random([0x11; 16]);
    let prepared = PreparedCertificate::prepare(&params, issuer, soon(issuer), serial).unwrap();
    let issued = block_on(prepared.issue(signer)).unwrap();
    assert_eq!(
        issued.ca_pem(CaField::Root),
        issuer.chain().ca_pem(CaField::Root)
    );
    issued.certificate_pem()
}

#[test]
fn openssl_accepts_a_chain_of_every_kind_of_key_in_its_strict_mode() {
    let openssl = Openssl::new();
    for (name, kind) in KEYS {
        openssl.key(name, kind);
        openssl.key(&format!("ca-{name}"), kind);
    }
    for (index, (name, _)) in KEYS.iter().enumerate() {
        let (root, _) = KEYS[(index + 1) % KEYS.len()];
        let (leaf, _) = KEYS[(index + 2) % KEYS.len()];
        openssl.authorities(&format!("ca-{root}"), &format!("ca-{name}"));
        let signer = SoftwareKey::read(&openssl.path(&format!("ca-{name}.key")));
        let issuer = openssl.issuer(None);
        let key = issuer.chain().issuing().public_key();
        block_on(Probe::new(issuer.algorithm(), [7; 32]).prove(&signer, key)).unwrap();
        let names = "DNS:a.example,DNS:*.a.example,IP:10.0.0.1,IP:2001:db8::1,URI:spiffe://td/ns/a,email:a@b.example";
        for (subject, names) in [
            ("/CN=leaf", Some(names)),
            ("/", Some(names)),
            ("/O=Ü/CN=leaf", None),
        ] {
            let csr = openssl.request(leaf, subject, names, &["-utf8"]);
            openssl.verify(&issue(&csr, &issuer, &signer));
        }
    }
}

#[test]
fn openssl_accepts_every_algorithm_of_an_rsa_issuer() {
    let openssl = Openssl::new();
    openssl.key("ca", KEYS[0].1);
    openssl.key("leaf", KEYS[2].1);
    openssl.authorities("ca", "ca");
    let signer = SoftwareKey::read(&openssl.path("ca.key"));
    let csr = openssl.request("leaf", "/CN=leaf", Some("DNS:a.example"), &[]);
    for algorithm in [
        SignatureAlgorithm::RsaPkcs1Sha256,
        SignatureAlgorithm::RsaPkcs1Sha384,
        SignatureAlgorithm::RsaPkcs1Sha512,
        SignatureAlgorithm::RsaPssSha256,
        SignatureAlgorithm::RsaPssSha384,
        SignatureAlgorithm::RsaPssSha512,
    ] {
        openssl.verify(&issue(&csr, &openssl.issuer(Some(algorithm)), &signer));
    }
}

#[test]
fn requests_that_openssl_signs_in_other_ways_prove_possession() {
    let openssl = Openssl::new();
    for (name, kind) in KEYS {
        openssl.key(name, kind);
    }
    for (key, options) in SCHEMES {
        let csr = openssl.request(key, "/CN=leaf", Some("DNS:a.example"), options);
        assert_eq!(csr.subject().to_string(), "CN=leaf");
    }
}

#[test]
fn openssl_accepts_what_a_profile_adds() {
    let openssl = Openssl::new();
    openssl.key("ca", KEYS[2].1);
    openssl.key("leaf", KEYS[2].1);
    openssl.authorities("ca", "ca");
    let signer = SoftwareKey::read(&openssl.path("ca.key"));
    let csr = openssl.request("leaf", "/CN=leaf", Some("DNS:a.example"), &[]);
    let published = json!({"extensions": {
        "policies": [{"oid": "1.3.6.1.4.1.99999.1", "cps": "http://ca.example/cps"}],
        "aia": {"caIssuers": ["http://ca.example/a.cer"], "ocsp": ["http://ocsp.example/"]},
        "crlDistributionPoints": ["http://ca.example/a.crl"],
    }});
    let never_revoked = json!({"extensions": {"noRevAvail": true, "ski": "Omit"}});
    let fixed =
        json!({"subject": {"mode": "Fixed", "fixed": {"O": ["Shop"], "OU": ["{{namespace}}"]}}});
    let omitted = json!({"subject": {"mode": "Omit"}});
    for profile in [published, never_revoked, fixed, omitted] {
        let issuer = openssl.issuer_with(&openssl.read("issuing.pem"), profile);
        openssl.verify(&issue(&csr, &issuer, &signer));
    }
}

#[test]
fn openssl_accepts_a_constrained_authority_and_what_it_may_name() {
    let openssl = Openssl::new();
    for key in ["ca", "sub", "leaf"] {
        openssl.key(key, KEYS[2].1);
    }
    openssl.authorities("ca", "ca");
    let signer = SoftwareKey::read(&openssl.path("ca.key"));
    let root = openssl.issuer_with(
        &openssl.read("root.pem"),
        json!({"ca": {"allow": true, "nameConstraints": {
            "permitted": {"dns": ["a.example"], "ip": ["10.0.0.0/8"]},
            "excluded": {"uri": [".evil.example"]},
        }}}),
    );
    let csr = openssl.request("sub", "/CN=Subordinate", None, &[]);
    let subordinate = issue_as(&csr, &root, &signer, true);
    openssl.verify(&subordinate);

    let issuer = openssl.issuer_with(subordinate.as_bytes(), json!({}));
    let signer = SoftwareKey::read(&openssl.path("sub.key"));
    let names = "DNS:*.a.example,IP:10.0.0.1,URI:https://good.example/";
    let csr = openssl.request("leaf", "/CN=leaf", Some(names), &[]);
    openssl.verify(&issue(&csr, &issuer, &signer));
    for names in [
        "DNS:b.example",
        "IP:11.0.0.1",
        "URI:https://x.evil.example/",
    ] {
        let csr = openssl.request("leaf", "/CN=leaf", Some(names), &[]);
        let wanted = Wanted {
            variables: Variables {
                namespace: Some("shop"),
                name: "web",
            },
            usages: &[],
            is_ca: false,
            by_annotation: false,
            duration: None,
        };
        let params = issuer.profile().admit(&csr, &wanted).unwrap();
        let serial = Serial::from_random([0x11; 16]);
        let error = PreparedCertificate::prepare(&params, &issuer, soon(&issuer), serial);
        assert!(error.is_err(), "{names}");
    }
}
