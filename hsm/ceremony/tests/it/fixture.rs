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
        Self::on(store.make_token("ceremony").unwrap(), plan)
    }

    /// Returns another ceremony on the same token.
    pub(crate) fn later(&self, plan: &str) -> Self {
        Self::on(self.token.clone(), plan)
    }

    fn on(token: TestToken, plan: &str) -> Self {
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

    /// Replaces words in the plan by the SHA-256 of files beside it.
    pub(crate) fn fill_in(&self, files: &[(&str, &str)]) {
        let mut plan = fs::read_to_string(self.path("plan.yaml")).unwrap();
        for (word, file) in files {
            plan = plan.replace(word, &sha256(&self.path(file)));
        }
        fs::write(self.path("plan.yaml"), plan).unwrap();
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
        self.run_under(&["env"], command, arguments)
    }

    fn run_under(&self, wrapper: &[&str], command: &str, arguments: &[&str]) -> Output {
        let (program, words) = wrapper.split_first().unwrap();
        Command::new(program)
            .args(words)
            .arg(env!("CARGO_BIN_EXE_pkcs11-ceremony"))
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
        self.execute_under(&["env"])
    }

    /// Does the same, run by another program.
    pub(crate) fn execute_under(&self, wrapper: &[&str]) -> Output {
        let (module, pin) = (self.library.0.clone(), self.token.pin_file().to_owned());
        self.run_under(
            wrapper,
            "execute",
            &[
                "--module",
                module.to_str().unwrap(),
                "--pin-file",
                pin.to_str().unwrap(),
            ],
        )
    }

    /// Runs a script beside the plan with our program under its name, and with the library of the token in place of SoftHSM's on
    /// Debian.
    pub(crate) fn bash(&self, script: &str) -> Output {
        let module = self.token.module().to_str().unwrap();
        let script = script.replace("/usr/lib/softhsm/libsofthsm2.so", module);
        Command::new("bash")
            .args(["-eu", "-c"])
            .arg(format!(
                "pkcs11-ceremony() {{ \"$PROGRAM\" \"$@\"; }}\n{script}"
            ))
            .env("PROGRAM", env!("CARGO_BIN_EXE_pkcs11-ceremony"))
            .env("HOME", self.path(""))
            .envs(self.token.env())
            .current_dir(self.path(""))
            .output()
            .unwrap()
    }

    /// Copies token and outputs as they are now.
    pub(crate) fn snapshot(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        copied(&self.path("out"), &copy.path().join("out"));
        copied(&self.tokens(), &copy.path().join("tokens"));
        copy
    }

    /// Puts token and outputs back as they were.
    pub(crate) fn return_to(&self, snapshot: &TempDir) {
        copied(&snapshot.path().join("out"), &self.path("out"));
        copied(&snapshot.path().join("tokens"), &self.tokens());
    }

    fn tokens(&self) -> PathBuf {
        self.token.store().directory().join("tokens")
    }

    /// Makes a request of a CA elsewhere, `NAME.csr` beside the plan.
    pub(crate) fn request(&self, name: &str) {
        let path = |ending: &str| {
            let path = self.path(&format!("{name}.{ending}"));
            path.to_str().unwrap().to_owned()
        };
        let (key, out, subject) = (path("key"), path("csr"), format!("/O={name}/CN={name} CA"));
        let curve = [
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
        ];
        let files = ["-subj", &subject, "-keyout", &key, "-out", &out];
        openssl(&[&["req", "-new"], &curve[..], &files[..]].concat());
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

/// Replaces a folder by a copy of another one.
fn copied(from: &Path, to: &Path) {
    fs::remove_dir_all(to).ok();
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.unwrap().success());
}

/// Returns the text of an error.
pub(crate) fn error_of(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the SHA-256 of a file, hexadecimal, by another program than the one under test.
pub(crate) fn sha256(file: &Path) -> String {
    let output = Command::new("sha256sum").arg(file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let (hash, _) = text.split_once(' ').unwrap();
    hash.to_owned()
}

/// Runs openssl, which must succeed.
pub(crate) fn openssl(arguments: &[&str]) -> String {
    let output = Command::new("openssl").args(arguments).output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
