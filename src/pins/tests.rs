//! Permits that are asked for and never given, because the API server does not answer; and how long a login may take.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{place::tests::token, record::PinState, source::Secrets, store::SecretStore, *};
use crate::config::Config;

/// An API server with one Secret, which may leave writes unanswered.
struct Stored {
    secret: Mutex<Value>,
    answers_writes: AtomicBool,
}

impl Stored {
    fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stored = Arc::new(Self {
            secret: Mutex::new(json!({
                "metadata": {"name": "pkcs11-issuer-pin-state", "resourceVersion": "1"},
                "data": {"hmac-key": STANDARD.encode([7; 32])},
            })),
            answers_writes: AtomicBool::new(true),
        });
        let served = Arc::clone(&stored);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let stored = Arc::clone(&served);
                thread::spawn(move || drop(stored.serve(stream.unwrap())));
            }
        });
        (stored, address)
    }

    fn serve(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (mut line, mut length, mut put) = (String::new(), 0, false);
            while reader.read_line(&mut line)? > 2 {
                let text = line.to_ascii_lowercase();
                put |= text.starts_with("put ");
                if let Some(value) = text.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            if line.is_empty() {
                return Ok(());
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            let mut secret = self.secret.lock();
            if put {
                let version = |secret: &Value| -> u64 {
                    let version = secret["metadata"]["resourceVersion"].as_str();
                    version.unwrap().parse().unwrap()
                };
                let mut new: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(version(&new), version(&secret));
                new["metadata"]["resourceVersion"] = json!((version(&new) + 1).to_string());
                *secret = new;
                if !self.answers_writes.load(Ordering::SeqCst) {
                    continue;
                }
            }
            let text = secret.to_string();
            drop(secret);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            reader.get_mut().write_all((head + &text).as_bytes())?;
        }
    }

    fn record(&self) -> Option<PinRecord> {
        self.records().pop().map(|(_, record)| record)
    }

    /// Returns every record with its key.
    fn records(&self) -> Vec<(String, PinRecord)> {
        let secret = self.secret.lock();
        let data = secret["data"].as_object().unwrap();
        let records = data.iter().filter(|(key, _)| *key != "hmac-key");
        records
            .map(|(key, entry)| {
                let entry = STANDARD.decode(entry.as_str().unwrap()).unwrap();
                (key.clone(), serde_json::from_slice(&entry).unwrap())
            })
            .collect()
    }

    /// Puts a record under a key.
    fn put(&self, key: &str, record: &PinRecord) {
        let entry = STANDARD.encode(serde_json::to_vec(record).unwrap());
        self.secret.lock()["data"][key] = json!(entry);
    }
}

struct Case {
    stored: Arc<Stored>,
    pin: TokenPin,
    token: TokenInfo,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

/// Returns a gate with the store at this address and the PIN in this folder.
fn gate(address: SocketAddr, folder: &std::path::Path) -> TokenPin {
    let server = format!("http://{address}").parse().unwrap();
    let client = kube::Client::try_from(kube::Config::new(server)).unwrap();
    let store = PinStore::Secret(Box::new(SecretStore::new(&Secrets(client), "here")));
    let origin = PinOrigin::File(folder.join("pin"));
    TokenPin::new(store, origin, "me".to_owned(), 2)
}

impl Case {
    /// Returns the gate of the token with this configured name.
    fn named(&self, name: &str, reported: &Arc<ReportedIdentities>) -> TokenPin {
        gate(self.address, self.folder.path()).beside(name, reported)
    }

    /// Tries the PIN through this gate, and the token rejects it.
    async fn is_rejected(&self, pin: &TokenPin) {
        let permit = pin.permit(&self.token).await.unwrap();
        let outcome = LoginOutcome::Rejected { locked: false };
        pin.record(&self.token, &permit.version, outcome).await;
    }

    fn new() -> Self {
        let (stored, address) = Stored::start();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pin"), "1234").unwrap();
        Self {
            stored,
            pin: gate(address, folder.path()),
            address,
            // A kind of token that does not report failed tries.
            token: token("it", "1"),
            folder,
        }
    }

    /// Asks for a permit, and stops waiting when the try is on record and the answer to its write does not come.
    async fn asks_and_goes_away(&self) {
        self.stored.answers_writes.store(false, Ordering::SeqCst);
        let on_record = async {
            while self
                .stored
                .record()
                .is_none_or(|record| record.state != PinState::Trying)
            {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            permit = self.pin.permit(&self.token) => panic!("{permit:?}"),
            () = on_record => {}
        }
        self.stored.answers_writes.store(true, Ordering::SeqCst);
    }

    fn state(&self) -> (PinState, u32) {
        let record = self.stored.record().unwrap();
        (record.state, record.rejected_in_a_row)
    }
}

#[tokio::test]
async fn a_permit_that_nobody_waits_for_is_taken_back() {
    let case = Case::new();
    case.asks_and_goes_away().await;
    case.pin.withdraw(&case.token).await;
    assert_eq!(case.state(), (PinState::Untried, 0));
}

#[tokio::test]
async fn a_permit_that_was_never_given_costs_no_try_even_if_not_taken_back() {
    let case = Case::new();
    case.asks_and_goes_away().await;
    assert_eq!(case.state(), (PinState::Trying, 0));
    case.pin.permit(&case.token).await.unwrap();
    assert_eq!(case.state(), (PinState::Trying, 0));
}

#[tokio::test]
async fn a_permit_that_was_given_is_not_taken_back_and_counts_if_its_outcome_is_unknown() {
    let case = Case::new();
    case.pin.permit(&case.token).await.unwrap();
    case.pin.withdraw(&case.token).await;
    assert_eq!(case.state(), (PinState::Trying, 0));
    case.pin.permit(&case.token).await.unwrap();
    assert_eq!(case.state(), (PinState::Trying, 1));
    case.pin.permit(&case.token).await.unwrap_err();
}

/// Returns the `hangAfter` of a token that is configured with `written`.
fn hang_after(written: &str) -> Result<Duration, String> {
    let text = format!(
        "modules: {{m: {{path: /m.so}}}}\n\
         tokens: {{t: {{module: m, label: t, pinFile: /p, hangAfter: {written}}}}}"
    );
    let config = Config::parse(std::path::Path::new("config.yaml"), &text);
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.token("t").unwrap().hang_after())
}

#[test]
fn no_login_that_the_configuration_allows_outlasts_the_time_after_which_its_holder_counts_as_gone()
{
    let longest = hang_after("60s").unwrap();
    let to_record = HOLDER_GONE_AFTER.checked_sub(answered_within(longest));
    assert!(to_record.is_some_and(|left| left >= Duration::from_secs(20)));
    for longer in ["60001ms", "61s", "2m", "24h"] {
        let error = hang_after(longer).unwrap_err();
        assert!(error.contains("write 1s to 60s"), "{error}");
    }
}

#[tokio::test]
async fn a_record_of_an_earlier_version_buys_no_new_try() {
    let case = Case::new();
    case.is_rejected(&case.pin).await;
    let (key, record) = case.stored.records().pop().unwrap();
    assert!(key.starts_with("token.1."), "{key}");
    // As an earlier version kept it: by the serial number alone.
    case.stored.secret.lock()["data"]
        .as_object_mut()
        .unwrap()
        .remove(&key);
    case.stored.put("serial.1", &record);
    let refused = case.pin.permit(&case.token).await.unwrap_err();
    assert!(refused.why.contains("rejected this PIN"), "{refused}");
    assert!(
        refused
            .why
            .contains(r#"--patch '[{"op": "remove", "path": "/data/serial.1"}]'"#),
        "{refused}"
    );
    // Another PIN is the second and last try, which is recorded under the new key.
    std::fs::write(case.folder.path().join("pin"), "5678").unwrap();
    case.is_rejected(&case.pin).await;
    let refused = case.pin.permit(&case.token).await.unwrap_err();
    assert!(refused.why.contains("2 logins in a row"), "{refused}");
    assert!(
        refused
            .why
            .contains(r#"--patch '[{"op": "remove", "path": "/data/serial.1"}, {"op": "remove", "path": "/data/token.1."#),
        "{refused}"
    );
    assert_eq!(case.stored.records().len(), 2);
}

/// Module and path are not part of a gate. The name is, but only if another token reports the same.
#[tokio::test]
async fn a_new_name_buys_no_new_try_alone_or_beside_a_token_that_reports_the_same() {
    for neighbour in [None, Some("backup")] {
        let case = Case::new();
        let reported = Arc::new(ReportedIdentities::default());
        if let Some(name) = neighbour {
            reported.place(name, &case.token);
        }
        case.is_rejected(&case.named("issuing", &reported)).await;
        reported.forget("issuing");
        let renamed = case.named("renamed", &reported);
        let refused = renamed.permit(&case.token).await.unwrap_err();
        assert!(refused.why.contains("rejected this PIN"), "{refused}");
        // The neighbour is gone, too.
        reported.forget("renamed");
        reported.forget("backup");
        let alone = case.named("issuing", &reported);
        let refused = alone.permit(&case.token).await.unwrap_err();
        assert!(refused.why.contains("rejected this PIN"), "{refused}");
    }
}

#[tokio::test]
async fn a_rejected_pin_of_one_token_costs_no_try_of_another_with_the_same_serial_number() {
    let case = Case::new();
    let reported = Arc::new(ReportedIdentities::default());
    let other = TokenInfo {
        label: "other".to_owned(),
        ..case.token.clone()
    };
    let backup = case.token.clone();
    case.named("backup", &reported).place(&backup);
    let one = case.named("issuing", &reported);
    case.is_rejected(&one).await;
    // Another label or, if the tokens report the same, another name.
    for (name, token) in [("other", &other), ("backup", &backup)] {
        let pin = case.named(name, &reported);
        let permit = pin.permit(token).await.unwrap();
        pin.record(token, &permit.version, LoginOutcome::Accepted)
            .await;
    }
    let refused = one.permit(&case.token).await.unwrap_err();
    assert!(refused.why.contains("rejected this PIN"), "{refused}");
    assert_eq!(case.stored.records().len(), 3);
}
