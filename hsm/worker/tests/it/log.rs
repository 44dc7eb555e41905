//! What the supervisor logs.

use std::{
    io::{self, Write},
    sync::{Arc, LazyLock, Mutex},
    time::Duration,
};

use hsm::{Token, TokenState};
use softhsm_test_helpers::KeyKind;

use crate::fixture::{Faulty, Gate, ready, spec, token, until};

/// A log in memory.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(octets)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The log of this process, at all levels. It is global, because tracing caches that a call site is disabled: if a thread
/// without a subscriber reached a call site first, no test would ever see the line from it.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let lines = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || lines.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();
    log
});

/// Returns the lines about a token.
fn lines_of(token: &str) -> Vec<String> {
    let log = String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap();
    let name = format!("token=\"{token}\"");
    let lines = log.lines().filter(|line| line.contains(&name));
    lines.map(str::to_owned).collect()
}

/// Returns how many lines have this text, without those at the level DEBUG.
fn count(lines: &[String], text: &str) -> usize {
    let lines = lines.iter().filter(|line| !line.contains(" DEBUG "));
    lines.filter(|line| line.contains(text)).count()
}

#[tokio::test]
async fn every_transition_is_one_log_line_and_no_line_has_the_pin() {
    LazyLock::force(&LOG);
    let token = token("transitions");
    let gate = Gate::new("a PIN that is wrong");
    let hsm = Token::start(spec(&token), Arc::<Gate>::clone(&gate));
    until(&hsm, |state| {
        matches!(state, TokenState::LoginRefused { .. })
    })
    .await;
    gate.set_pin(token.user_pin());
    hsm.retry_login();
    until(&hsm, ready).await;
    hsm.shutdown().await;
    let transitions: u64 = hsm.tally().entered.values().sum();
    let lines = lines_of("transitions");
    assert_eq!(count(&lines, "CKR_PIN_INCORRECT"), 1, "{lines:#?}");
    let logged = count(&lines, " from=");
    assert_eq!(logged, usize::try_from(transitions).unwrap(), "{lines:#?}");
    let log = String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap();
    assert!(!log.contains("a PIN that is wrong"), "{log}");
    assert!(!log.contains(token.user_pin()), "{log}");
}

#[tokio::test]
async fn a_token_that_is_away_is_logged_once_while_the_ends_of_its_workers_are_counted() {
    LazyLock::force(&LOG);
    let token = token("away");
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let faulty = Faulty::new(&key).await;
    let mut tallies = faulty.hsm.tallies();
    faulty.rules("* rv=CKR_DEVICE_ERROR");
    faulty.sign().await.unwrap_err();
    let many = |tally: &hsm::Tally| tally.ended.get("no-token") >= Some(&6);
    tallies.wait_for(many).await.unwrap();
    let lines = lines_of("away");
    assert_eq!(count(&lines, "started the HSM worker"), 1, "{lines:#?}");
    // The loss, and the first search that failed.
    assert_eq!(count(&lines, "the HSM worker ended"), 2, "{lines:#?}");
    let module = faulty.module.module().display().to_string();
    let awaited = "to=\"awaiting-token\"";
    let awaited: Vec<_> = lines.iter().filter(|line| line.contains(awaited)).collect();
    assert_eq!(awaited.len(), 1, "{lines:#?}");
    for part in [" WARN ", &module, "CKR_DEVICE_ERROR"] {
        assert!(awaited[0].contains(part), "{part}: {awaited:?}");
    }
    faulty.rules("");
    until(&faulty.hsm, ready).await;
    let lines = lines_of("away");
    assert_eq!(
        count(&lines, "the HSM worker serves the token"),
        1,
        "{lines:#?}"
    );
}

#[tokio::test]
async fn what_a_library_writes_to_standard_error_is_logged_with_the_name_of_the_token() {
    LazyLock::force(&LOG);
    let token = token("talkative");
    let key = token.generate_key("ca", &[1], KeyKind::P256).unwrap();
    let faulty = Faulty::new(&key).await;
    // The library says on standard error that there is no such key.
    faulty.rules("C_SignInit wrong_key=nobody count=1");
    faulty.sign().await.unwrap();
    let wrote = |line: &String| line.contains("the HSM worker wrote") && line.contains("nobody");
    let found = async {
        while !lines_of("talkative").iter().any(wrote) {
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(60), found).await;
    assert!(found.is_ok(), "{:#?}", lines_of("talkative"));
}
