//! A listener that starts a worker for each connection, and outlives all of them.

use std::{
    fs,
    io::ErrorKind,
    os::unix::{fs::PermissionsExt, net::UnixListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use hsm::{Fault, Hash, Launch, Mechanism, Token, TokenSpec, TokenState};
use softhsm_test_helpers::{KeyKind, TestToken};

use crate::fixture::{
    Gate, ready, selector, sign, signal, soon, spec, token, until, worker, workers,
};

const P256: Mechanism = Mechanism::Ecdsa(Hash::Sha256);

/// A sidecar for one token.
struct Sidecar {
    listener: Child,
    socket: PathBuf,
}

impl Sidecar {
    /// Starts a listener and waits until it listens.
    fn start(token: &TestToken) -> Self {
        Self::started(Self::with(token, &[]))
    }

    /// Waits until the sidecar listens.
    fn started(mut sidecar: Self) -> Self {
        while fs::metadata(&sidecar.socket).is_err_and(|error| error.kind() == ErrorKind::NotFound)
        {
            assert_eq!(
                sidecar.listener.try_wait().unwrap(),
                None,
                "the listener ended"
            );
            std::thread::yield_now();
        }
        sidecar
    }

    fn with(token: &TestToken, arguments: &[&str]) -> Self {
        let mut listener = listener(token, token.module());
        listener.args(arguments).envs(token.env());
        Self {
            listener: listener.spawn().unwrap(),
            socket: socket(token),
        }
    }

    fn pid(&self) -> i32 {
        self.listener.id().try_into().unwrap()
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // The listener may have ended already.
        drop(self.listener.kill());
        self.listener.wait().unwrap();
    }
}

/// Returns the command of a listener without further arguments and with an empty environment.
fn listener(token: &TestToken, module: &Path) -> Command {
    let mut listener = Command::new(worker());
    listener
        .args(["listen", "--module"])
        .arg(module)
        .arg("--socket")
        .arg(socket(token))
        .env_clear()
        .stdin(Stdio::null());
    listener
}

fn socket(token: &TestToken) -> PathBuf {
    token.store().directory().join("worker.sock")
}

fn sidecar_spec(token: &TestToken) -> TokenSpec {
    TokenSpec {
        launch: Launch::Sidecar {
            socket: socket(token),
        },
        ..spec(token)
    }
}

fn served(token: &TestToken) -> Token {
    Token::start(sidecar_spec(token), Gate::new(token.user_pin()))
}

fn loads(pid: i32, module: &Path) -> bool {
    fs::read_to_string(format!("/proc/{pid}/maps"))
        .unwrap()
        .contains(module.file_name().unwrap().to_str().unwrap())
}

async fn signs(hsm: &Token, token: &TestToken) {
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let key = hsm.find_key(&selector(&key), soon()).await.unwrap();
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
}

#[tokio::test]
async fn the_worker_loads_the_library_and_the_listener_never_does() {
    let token = token("sidecar");
    let sidecar = Sidecar::start(&token);
    let hsm = served(&token);
    signs(&hsm, &token).await;
    assert!(loads(workers(&token)[0], token.module()));
    assert!(!loads(sidecar.pid(), token.module()));
}

#[tokio::test]
async fn a_listener_logs_json_with_the_lines_of_its_workers_and_of_the_library() {
    let token = token("json");
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let library = token.with_faults().unwrap();
    let log = token.store().directory().join("log");
    let listener = listener(&token, library.module())
        .args(["--log-format", "json"])
        .envs(library.env())
        .stderr(fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let _sidecar = Sidecar::started(Sidecar {
        listener,
        socket: socket(&token),
    });
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    // The library says on standard error that there is no such key.
    library
        .rules("C_SignInit wrong_key=nobody count=1")
        .unwrap();
    sign(&hsm, &key).await.unwrap();
    // The worker says that it has discarded a session.
    library
        .rules("C_Sign rv=CKR_SESSION_HANDLE_INVALID count=1")
        .unwrap();
    sign(&hsm, &key).await.unwrap();
    let from_worker = |text: &str| {
        let lines = fs::read_to_string(&log).unwrap();
        let whole = lines.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let parsed = whole.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            assert!(line["level"].is_string(), "{line}");
            line
        });
        parsed
            .filter(|line| line["worker"].is_u64() && line["message"] == "the worker wrote")
            .filter_map(|line| line["line"].as_str().map(str::to_owned))
            .find(|line| line.contains(text))
    };
    let waited = Instant::now();
    while from_worker("nobody").is_none() || from_worker("discarded a session").is_none() {
        assert!(waited.elapsed() < Duration::from_secs(60));
        tokio::task::yield_now().await;
    }
    let serial = format!("serial {:?}", token.serial());
    assert!(
        from_worker("discarded a session")
            .unwrap()
            .contains(&serial)
    );
}

#[tokio::test]
async fn the_listener_outlives_a_worker_that_crashes() {
    let token = token("sidecar");
    let mut sidecar = Sidecar::start(&token);
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let hsm = served(&token);
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let first = workers(&token);
    signal("-ABRT", first[0]);
    until(&hsm, |state| !ready(state)).await;
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
    assert_ne!(workers(&token), first);
    assert_eq!(sidecar.listener.try_wait().unwrap(), None);
    assert_eq!(hsm.tally().ended.get("crashed"), Some(&1));
}

#[tokio::test]
async fn the_listener_kills_a_stopped_worker_after_its_client_has_closed() {
    let token = token("sidecar");
    let _sidecar = Sidecar::start(&token);
    let test_key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let patience = TokenSpec {
        hang_after: Duration::from_secs(1),
        ..sidecar_spec(&token)
    };
    let hsm = Token::start(patience, Gate::new(token.user_pin()));
    let key = hsm.find_key(&selector(&test_key), soon()).await.unwrap();
    let first = workers(&token);
    signal("-STOP", first[0]);
    let deadline = Instant::now() + Duration::from_millis(100);
    hsm.sign(&key, P256, &[7; 32], deadline).await.unwrap_err();
    until(&hsm, |state| !ready(state)).await;
    hsm.sign(&key, P256, &[7; 32], soon()).await.unwrap();
    while workers(&token).contains(&first[0]) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_sidecar_that_does_not_listen_yet_is_awaited() {
    let token = token("sidecar");
    let hsm = served(&token);
    let awaiting = |state: &TokenState| matches!(state, TokenState::AwaitingToken { .. });
    let state = until(&hsm, awaiting).await;
    assert!(state.to_string().contains("worker.sock"), "{state}");
    let _sidecar = Sidecar::start(&token);
    until(&hsm, ready).await;
    signs(&hsm, &token).await;
}

#[tokio::test]
async fn a_killed_listener_leaves_no_worker_and_the_next_one_replaces_its_socket() {
    let token = token("sidecar");
    let sidecar = Sidecar::start(&token);
    let hsm = served(&token);
    signs(&hsm, &token).await;
    let first = workers(&token);
    drop(sidecar);
    until(&hsm, |state| !ready(state)).await;
    assert!(
        socket(&token).exists(),
        "a killed listener cannot remove its socket"
    );
    let _sidecar = Sidecar::with(&token, &[]);
    until(&hsm, ready).await;
    while workers(&token).contains(&first[0]) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_user_without_permission_to_connect_is_told_the_reason() {
    let token = token("sidecar");
    let own = fs::metadata(token.pin_file()).map(|file| std::os::unix::fs::MetadataExt::uid(&file));
    if own.unwrap() != 0 {
        eprintln!("skipped: only root can give the socket to another user");
        return;
    }
    let _sidecar = Sidecar::with(&token, &["--allow-uid", "65534"]);
    let hsm = served(&token);
    let misconfigured = |state: &TokenState| matches!(state, TokenState::Misconfigured { .. });
    let state = until(&hsm, misconfigured).await;
    assert!(
        state.to_string().contains("user 0 may not connect"),
        "{state}"
    );
    assert_eq!(
        hsm.random(1, soon()).await.unwrap_err().fault(),
        Fault::Mend
    );
    assert!(workers(&token).is_empty());
}

#[test]
fn only_its_owner_may_open_the_socket_and_the_listener_removes_it() {
    let token = token("sidecar");
    let mut sidecar = Sidecar::start(&token);
    let mode = fs::metadata(&sidecar.socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    signal("-TERM", sidecar.pid());
    assert!(sidecar.listener.wait().unwrap().success());
    assert!(!sidecar.socket.exists());
}

fn refuses_to_start(token: &TestToken) {
    let mut sidecar = Sidecar::with(token, &[]);
    assert!(!sidecar.listener.wait().unwrap().success());
}

#[test]
fn a_socket_on_which_another_process_listens_is_left_alone() {
    let token = token("sidecar");
    let other = UnixListener::bind(socket(&token)).unwrap();
    refuses_to_start(&token);
    assert!(socket(&token).exists());
    drop(other);
}

#[test]
fn a_file_that_is_not_a_socket_is_left_alone() {
    let token = token("sidecar");
    fs::write(socket(&token), "precious").unwrap();
    refuses_to_start(&token);
    assert_eq!(fs::read_to_string(socket(&token)).unwrap(), "precious");
}

#[tokio::test]
async fn a_stopping_listener_lets_its_workers_finish() {
    let token = token("sidecar");
    let mut sidecar = Sidecar::start(&token);
    let hsm = served(&token);
    signs(&hsm, &token).await;
    signal("-TERM", sidecar.pid());
    while sidecar.socket.exists() {
        tokio::task::yield_now().await;
    }
    hsm.random(1, soon()).await.unwrap();
    hsm.shutdown().await;
    assert!(sidecar.listener.wait().unwrap().success());
}

#[tokio::test]
async fn a_stopping_listener_waits_no_longer_than_its_drain_timeout() {
    let token = token("sidecar");
    let mut sidecar = Sidecar::started(Sidecar::with(&token, &["--drain-timeout", "1"]));
    let hsm = served(&token);
    signs(&hsm, &token).await;
    let left = workers(&token);
    signal("-TERM", sidecar.pid());
    assert!(sidecar.listener.wait().unwrap().success());
    until(&hsm, |state| !ready(state)).await;
    while workers(&token).iter().any(|worker| left.contains(worker)) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_second_signal_ends_a_listener_with_connected_clients() {
    let token = token("sidecar");
    let more = ["--drain-timeout", "3600"];
    let mut sidecar = Sidecar::started(Sidecar::with(&token, &more));
    let hsm = served(&token);
    signs(&hsm, &token).await;
    signal("-TERM", sidecar.pid());
    while sidecar.socket.exists() {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        sidecar.listener.try_wait().unwrap(),
        None,
        "the listener ended"
    );
    signal("-INT", sidecar.pid());
    assert!(sidecar.listener.wait().unwrap().success());
}
