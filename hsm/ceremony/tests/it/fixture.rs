//! A ceremony on a token of its own: a plan, three people with OpenSSH keys, and a folder.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use softhsm_test_helpers::{Provider, Store, TestToken};
use tempfile::TempDir;

pub(crate) const PLAN: &str = include_str!("plan.yaml");

/// A PKCS#11 library and the environment that it needs.
pub(crate) type Library = (PathBuf, Vec<(String, String)>);

/// A ceremony and its people.
pub(crate) struct Ceremony {
    folder: TempDir,
    pub(crate) token: TestToken,
    library: Library,
}

impl Ceremony {
    /// Returns the ceremony of the example, with two of three people.
    pub(crate) fn new() -> Self {
        Self::of(PLAN)
    }

    /// Returns the ceremony of a plan whose token's serial number is `SERIAL`.
    pub(crate) fn of(plan: &str) -> Self {
        Self::with(&Store::new().unwrap(), plan)
    }

    /// Returns the ceremony of a plan on a token of Kryoptic, which has ML-DSA.
    pub(crate) fn of_kryoptic(plan: &str) -> Self {
        Self::with(&Store::of(Provider::Kryoptic).unwrap(), plan)
    }

    fn with(store: &Store, plan: &str) -> Self {
        let token = store.make_token("ceremony").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let mut approvers = "threshold: 2\napprovers:\n".to_owned();
        for person in ["ada", "bob", "cyd"] {
            let key = folder.path().join(person);
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(&key)
                .output()
                .unwrap();
            assert!(made.status.success(), "{made:?}");
            let line = fs::read_to_string(key.with_extension("pub")).unwrap();
            approvers += &format!("  - {{name: {person}, key: {}}}\n", line.trim());
        }
        fs::write(folder.path().join("approvers.yaml"), approvers).unwrap();
        let plan = plan.replace("SERIAL", token.serial());
        fs::write(folder.path().join("plan.yaml"), plan).unwrap();
        Self {
            library: (token.module().to_owned(), token.env().into_iter().collect()),
            folder,
            token,
        }
    }

    /// Has the program load this library instead, with this environment. Returns what it loaded before.
    pub(crate) fn through(
        &mut self,
        module: &Path,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Library {
        let library = (module.to_owned(), env.into_iter().collect());
        std::mem::replace(&mut self.library, library)
    }

    /// Has the program load the library that it loaded before.
    pub(crate) fn restore(&mut self, library: Library) {
        self.library = library;
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the path of an output.
    pub(crate) fn out(&self, name: &str) -> PathBuf {
        self.path("out").join(name)
    }

    /// Runs a command with these arguments beside those that name the ceremony.
    pub(crate) fn run(&self, command: &str, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_pkcs11-ceremony"))
            .arg(command)
            .arg("--plan")
            .arg(self.path("plan.yaml"))
            .arg("--approvers")
            .arg(self.path("approvers.yaml"))
            .arg("--out")
            .arg(self.path("out"))
            .args(arguments)
            .envs(self.library.1.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    }

    /// Runs a command that must succeed, and returns what it prints.
    pub(crate) fn ok(&self, command: &str, arguments: &[&str]) -> String {
        let output = self.run(command, arguments);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Has these people approve the plan that is next.
    pub(crate) fn approve(&self, people: &[&str]) {
        for person in people {
            let key = self.path(person);
            self.ok("approve", &["--key", key.to_str().unwrap()]);
        }
    }

    /// Carries the plan out as far as it is approved.
    pub(crate) fn execute(&self) -> Output {
        let (module, pin) = (self.library.0.clone(), self.token.pin_file().to_owned());
        self.run(
            "execute",
            &[
                "--module",
                module.to_str().unwrap(),
                "--pin-file",
                pin.to_str().unwrap(),
            ],
        )
    }

    /// Goes through the whole ceremony with the same people twice.
    pub(crate) fn hold_with(&self, people: &[&str]) {
        self.approve(people);
        let output = self.execute();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        self.approve(people);
        let output = self.execute();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }

    /// Goes through the whole ceremony.
    pub(crate) fn hold(&self) {
        self.approve(&["ada", "bob"]);
        let output = self.execute();
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        self.approve(&["bob", "cyd"]);
        let output = self.execute();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    }
}

/// Returns the text of an error.
pub(crate) fn error_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs openssl, which must succeed.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
