//! Creates and verifies certificates with the `openssl` program.

use std::{fs, path::PathBuf, process::Command, sync::Arc};

use pkcs11_issuer::{
    api::profile::ProfileSpec,
    issuance::{
        Issuer, IssuerChain, Limits, Profile, SignatureAlgorithm, VerifiedCsr, profile::CaLimits,
    },
};
use serde_json::Value;

/// A folder with keys and certificates made by `openssl`.
pub(super) struct Openssl {
    folder: tempfile::TempDir,
}

impl Openssl {
    pub(super) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(super) fn run(&self, arguments: &[&str]) -> String {
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

    pub(super) fn key(&self, name: &str, kind: &[&str]) {
        let file = format!("{name}.key");
        self.run(&[&["genpkey", "-out", "key.pem"], kind].concat());
        // For some kinds of key, the DER from genpkey is not PKCS#8.
        self.run(&[
            "pkcs8", "-topk8", "-nocrypt", "-in", "key.pem", "-outform", "DER", "-out", &file,
        ]);
    }

    /// Creates a root with the key `root`, and an issuing certificate with the key `issuing` below it.
    pub(super) fn authorities(&self, root: &str, issuing: &str) {
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

    pub(super) fn request(
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

    pub(super) fn verify(&self, chain: &str) {
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

    /// Returns an issuer with this chain and this profile, whose grant allows CA certificates.
    pub(super) fn issuer_with(&self, chain: &[u8], profile: Value) -> Arc<Issuer> {
        let chain = IssuerChain::parse(chain, Some(&self.read("root.pem"))).unwrap();
        let spec: ProfileSpec = serde_json::from_value(profile).unwrap();
        let limits = Limits {
            ca: CaLimits {
                allow: true,
                max_path_length: None,
            },
            ..Limits::default()
        };
        let profile = Profile::new(spec.try_into().unwrap(), limits).unwrap();
        Arc::new(Issuer::new(chain, profile, None).unwrap())
    }

    pub(super) fn issuer(&self, algorithm: Option<SignatureAlgorithm>) -> Arc<Issuer> {
        let chain =
            IssuerChain::parse(&self.read("issuing.pem"), Some(&self.read("root.pem"))).unwrap();
        Arc::new(Issuer::new(chain, Profile::default(), algorithm).unwrap())
    }
}
