//! Libraries of Debian that stand between an application and a device: p11-kit's proxy, and tpm2-pkcs11 over a software TPM.
//!
//! opensc has no token without a card and its reader. opencryptoki needs its daemon, started by root, and keeps its tokens
//! in system folders. Both are left out here; `hsm/README.md` says what was tried by hand.

use std::{
    collections::BTreeMap,
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use hsm::{KeySelector, Launch, LoginOutcome, Token, TokenSelector, TokenSpec};
use softhsm_test_helpers::KeyKind;

use crate::fixture::{Gate, selector, sign, soon, spec, token, verifies, worker};

const PIN: &str = "86421357";

/// Returns the path of an installed file. If it is missing, panics in CI; elsewhere prints what is not tested.
fn installed(what: &str, paths: &[&str]) -> Option<PathBuf> {
    let found = paths.iter().map(PathBuf::from).find(|path| path.exists());
    if found.is_none() {
        let problem = format!("{what} is not installed: run tests/setup/packages");
        assert!(std::env::var_os("CI").is_none(), "{problem}");
        println!("NOT TESTED: {problem}");
    }
    found
}

#[tokio::test]
async fn a_token_behind_the_proxy_of_p11_kit_signs() {
    let paths = [
        "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so",
        "/usr/lib/aarch64-linux-gnu/p11-kit-proxy.so",
    ];
    let Some(proxy) = installed("p11-kit-proxy.so", &paths) else {
        return;
    };
    let token = token("proxied");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let mut env = token.env();
    // The proxy also loads an installed TPM library, and that library would create its store in the current folder.
    let store = token.store().directory().display().to_string();
    env.insert("TPM2_PKCS11_STORE".into(), store);
    let spec = TokenSpec {
        launch: Launch::Child {
            program: worker(),
            module: proxy,
            env,
        },
        ..spec(&token)
    };
    let gate = Gate::new(token.user_pin());
    let hsm = Token::start(spec, Arc::<Gate>::clone(&gate));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    assert!(verifies(&test_key, &sign(&hsm, &key).await.unwrap()));
    assert_eq!(gate.outcomes(), [LoginOutcome::Accepted]);
}

/// A software TPM, which ends with the test.
struct SoftwareTpm {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Drop for SoftwareTpm {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

impl SoftwareTpm {
    fn start(swtpm: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["state", "store"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        // The library looks for the control channel at the next port.
        let (port, _reserved) = loop {
            let port = TcpListener::bind("127.0.0.1:0").unwrap();
            let number = port.local_addr().unwrap().port();
            if let Some(next) = number.checked_add(1)
                && TcpListener::bind(("127.0.0.1", next)).is_ok()
            {
                break (number, port);
            }
        };
        drop(_reserved);
        let process = Command::new(swtpm)
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .arg("--tpmstate")
            .arg(format!("dir={}", folder.path().join("state").display()))
            .arg("--server")
            .arg(format!("type=tcp,port={port}"))
            .arg("--ctrl")
            .arg(format!("type=tcp,port={}", port + 1))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(("127.0.0.1", port + 1)).is_err() {
            assert!(Instant::now() < until, "swtpm does not listen");
            thread::yield_now();
        }
        Self {
            process,
            port,
            folder,
        }
    }

    fn env(&self) -> BTreeMap<String, String> {
        let tcti = format!("swtpm:port={}", self.port);
        let store = self.folder.path().join("store");
        BTreeMap::from([
            ("TPM2_PKCS11_STORE".into(), store.display().to_string()),
            ("TPM2_PKCS11_TCTI".into(), tcti.clone()),
            ("TPM2TOOLS_TCTI".into(), tcti),
        ])
    }

    /// Runs a program on the TPM. There is no resource manager, so this flushes what the program left in the TPM.
    fn run(&self, program: &str, arguments: &[&str]) -> Vec<u8> {
        let run = |program: &str, arguments: &[&str]| {
            let mut command = Command::new(program);
            let output = command.args(arguments).envs(self.env()).output().unwrap();
            assert!(
                output.status.success(),
                "{program} {arguments:?}: {output:?}"
            );
            output.stdout
        };
        let said = run(program, arguments);
        run("tpm2_flushcontext", &["-t"]);
        said
    }
}

#[tokio::test]
async fn a_key_of_a_software_tpm_signs() {
    let library = [
        "/usr/lib/x86_64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
        "/usr/lib/aarch64-linux-gnu/pkcs11/libtpm2_pkcs11.so",
    ];
    let (Some(library), Some(swtpm), Some(_), Some(_)) = (
        installed("libtpm2_pkcs11.so", &library),
        installed("swtpm", &["/usr/bin/swtpm"]),
        installed("pkcs11-tool", &["/usr/bin/pkcs11-tool"]),
        installed("tpm2_flushcontext", &["/usr/bin/tpm2_flushcontext"]),
    ) else {
        return;
    };
    let tpm = SoftwareTpm::start(&swtpm);
    let module = library.display().to_string();
    let tool = |more: &[&str]| {
        let all = [&["--module", &module, "--slot-index", "0"], more].concat();
        tpm.run("pkcs11-tool", &all)
    };
    tool(&["--init-token", "--label", "tpm", "--so-pin", "12345678"]);
    let so = ["--login", "--login-type", "so", "--so-pin", "12345678"];
    tool(&[&so[..], &["--init-pin", "--new-pin", PIN]].concat());
    let user = ["--login", "--pin", PIN];
    let generate = ["--keypairgen", "--key-type", "EC:prime256v1"];
    tool(&[&user[..], &generate, &["--label", "ca", "--id", "01"]].concat());
    let read = ["--read-object", "--type", "pubkey", "--id", "01"];
    let spki = tool(&read);
    let spec = TokenSpec {
        name: "tpm".into(),
        launch: Launch::Child {
            program: worker(),
            module: library,
            env: tpm.env(),
        },
        token: TokenSelector::by_label("tpm"),
        sessions: std::num::NonZeroU16::new(1),
        hang_after: Duration::from_secs(30),
    };
    let gate = Gate::new(PIN);
    let hsm = Token::start(spec, Arc::<Gate>::clone(&gate));
    let selector = KeySelector {
        label: Some("ca".into()),
        id: Some(vec![1]),
        public_key: Some(spki.clone()),
    };
    let key = hsm.find_key(&selector, soon()).await.unwrap();
    let signature = sign(&hsm, &key).await.unwrap();
    // The point is at the end of a SubjectPublicKeyInfo (RFC 5480, section 2).
    let point = &spki[spki.len() - 65..];
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, point);
    assert!(public.verify(b"to be signed", &signature).is_ok());
    assert_eq!(gate.outcomes(), [LoginOutcome::Accepted]);
    hsm.shutdown().await;
}
