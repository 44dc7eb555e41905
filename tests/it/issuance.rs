//! Issued chains before a verifier that is not ours: OpenSSL, in its strict mode.
//!
//! Keys, CA certificates and certification requests are made by the `openssl` program, the certificates by
//! the issuance core with the CA's key in software.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use aws_lc_rs::{
    digest::{self, Digest},
    rsa,
    signature::{self as lc, EcdsaKeyPair, Ed25519KeyPair},
};
use futures::executor::block_on;
use jiff::Timestamp;
use pkcs11_issuer::issuance::{
    CaField, Issuer, IssuerChain, PreparedCertificate, Probe, Profile, Serial, Signature,
    SignatureAlgorithm, Signer, SigningInput, VerifiedCsr, Wanted,
    pattern::Variables,
    signature::{Hash, Signing},
};

/// `openssl genpkey` arguments for each kind of key.
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

/// How each CSR is signed beside its key's default: `openssl req` arguments.
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

/// A folder of keys and certificates made by `openssl`.
struct Openssl {
    folder: tempfile::TempDir,
}

impl Openssl {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .expect("openssl is installed; on Debian: apt-get install openssl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "openssl {}:\n{text}{errors}",
            arguments.join(" ")
        );
        text
    }

    fn key(&self, name: &str, kind: &[&str]) {
        let file = format!("{name}.key");
        self.run(&[&["genpkey", "-out", "key.pem"], kind].concat());
        // genpkey's own DER is not PKCS#8 for every kind.
        self.run(&[
            "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", &file,
        ]);
    }

    /// A root with this key, and an issuing certificate with that key below it.
    fn authorities(&self, root: &str, issuing: &str) {
        let constraints = "basicConstraints=critical,CA:TRUE";
        let usage = "keyUsage=critical,keyCertSign,cRLSign";
        self.run(&[
            "req",
            "-x509",
            "-new",
            "-key",
            &format!("{root}.key"),
            "-keyform",
            "DER",
            "-subj",
            "/O=Test/CN=Root",
            "-days",
            "7300",
            "-out",
            "root.pem",
            "-addext",
            usage,
        ]);
        self.run(&[
            "req",
            "-new",
            "-key",
            &format!("{issuing}.key"),
            "-keyform",
            "DER",
            "-subj",
            "/O=Test/CN=Issuing",
            "-out",
            "issuing.csr",
        ]);
        let extensions = format!(
            "{constraints},pathlen:0\n{usage}\nsubjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        );
        fs::write(self.path("issuing.ext"), extensions).unwrap();
        self.run(&[
            "x509",
            "-req",
            "-in",
            "issuing.csr",
            "-CA",
            "root.pem",
            "-CAkey",
            &format!("{root}.key"),
            "-CAkeyform",
            "DER",
            "-days",
            "3650",
            "-set_serial",
            "4660",
            "-extfile",
            "issuing.ext",
            "-out",
            "issuing.pem",
        ]);
    }

    fn request(
        &self,
        key: &str,
        subject: &str,
        names: Option<&str>,
        options: &[&str],
    ) -> VerifiedCsr {
        let file = format!("{key}.key");
        let names = names.map(|names| format!("subjectAltName={names}"));
        let names = names
            .as_deref()
            .map_or_else(Vec::new, |names| vec!["-addext", names]);
        let arguments = [
            "req", "-new", "-key", &file, "-keyform", "DER", "-subj", subject, "-out", "leaf.csr",
        ];
        self.run(&[&arguments, names.as_slice(), options].concat());
        VerifiedCsr::parse(&self.read("leaf.csr"))
            .unwrap_or_else(|refusal| panic!("{key} {options:?}: {refusal}"))
    }

    fn verify(&self, chain: &str) {
        fs::write(self.path("chain.pem"), chain).unwrap();
        let verdict = self.run(&[
            "verify",
            "-x509_strict",
            "-CAfile",
            "root.pem",
            "-untrusted",
            "chain.pem",
            "chain.pem",
        ]);
        assert_eq!(verdict.trim(), "chain.pem: OK");
    }

    fn issuer(&self, algorithm: Option<SignatureAlgorithm>) -> Arc<Issuer> {
        let chain =
            IssuerChain::parse(&self.read("issuing.pem"), Some(&self.read("root.pem"))).unwrap();
        Arc::new(Issuer::new(chain, Profile::default(), algorithm).unwrap())
    }
}

/// A CA key in memory.
enum SoftwareKey {
    Rsa(rsa::KeyPair),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl SoftwareKey {
    fn read(path: &Path) -> Self {
        let der = fs::read(path).unwrap();
        let curves = [
            &lc::ECDSA_P256_SHA256_ASN1_SIGNING,
            &lc::ECDSA_P384_SHA384_ASN1_SIGNING,
            &lc::ECDSA_P521_SHA512_ASN1_SIGNING,
        ];
        if let Ok(pair) = rsa::KeyPair::from_pkcs8(&der) {
            return Self::Rsa(pair);
        }
        if let Some(pair) = curves
            .into_iter()
            .find_map(|curve| EcdsaKeyPair::from_pkcs8(curve, &der).ok())
        {
            return Self::Ecdsa(pair);
        }
        Self::Ed25519(Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).unwrap())
    }

    fn octets(&self, input: &SigningInput) -> Vec<u8> {
        let algorithm = input.algorithm();
        let digest = || {
            let hash = match algorithm.pre_hash().unwrap() {
                Hash::Sha256 => &digest::SHA256,
                Hash::Sha384 => &digest::SHA384,
                Hash::Sha512 => &digest::SHA512,
            };
            Digest::import_less_safe(input.payload(), hash).unwrap()
        };
        match self {
            Self::Rsa(pair) => {
                let padding: &'static dyn lc::RsaEncoding = match algorithm {
                    SignatureAlgorithm::RsaPkcs1Sha256 => &lc::RSA_PKCS1_SHA256,
                    SignatureAlgorithm::RsaPkcs1Sha384 => &lc::RSA_PKCS1_SHA384,
                    SignatureAlgorithm::RsaPkcs1Sha512 => &lc::RSA_PKCS1_SHA512,
                    SignatureAlgorithm::RsaPssSha256 => &lc::RSA_PSS_SHA256,
                    SignatureAlgorithm::RsaPssSha384 => &lc::RSA_PSS_SHA384,
                    SignatureAlgorithm::RsaPssSha512 => &lc::RSA_PSS_SHA512,
                    SignatureAlgorithm::EcdsaP256Sha256
                    | SignatureAlgorithm::EcdsaP384Sha384
                    | SignatureAlgorithm::EcdsaP521Sha512
                    | SignatureAlgorithm::Ed25519 => panic!("an RSA key was asked for {algorithm}"),
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign_digest(padding, &digest(), &mut signature)
                    .unwrap();
                signature
            }
            Self::Ecdsa(pair) => pair.sign_digest(&digest()).unwrap().as_ref().to_vec(),
            Self::Ed25519(pair) => pair.sign(input.payload()).as_ref().to_vec(),
        }
    }
}

impl Signer for SoftwareKey {
    fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
        let signature = Signature::from_octets(self.octets(&input));
        Box::pin(std::future::ready(Ok(signature)))
    }
}

/// The certificates of `openssl` begin at its own clock; a minute later they are valid for certain.
fn soon(issuer: &Issuer) -> Timestamp {
    issuer.chain().issuing().not_before() + jiff::SignedDuration::from_mins(1)
}

fn issue(csr: &VerifiedCsr, issuer: &Arc<Issuer>, signer: &dyn Signer) -> String {
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
            namespace: "shop",
            name: "web",
        },
        usages: &usages,
        is_ca: false,
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
