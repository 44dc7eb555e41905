//! Two stores on one file, as two processes have it, and files that hold no PIN record.

use std::os::unix::fs::PermissionsExt as _;

use futures::{FutureExt as _, future::join};

use super::{super::PinStore, *};
use crate::pins::place::{RecordKeys, tests::token};

fn store(folder: &Path) -> PinStore {
    PinStore::File(FileStore::new(folder.join("record.json")))
}

fn place(serial: &str) -> RecordKeys {
    RecordKeys::of(&token("it", serial))
}

fn record(state: PinState, rejected_in_a_row: u32) -> PinRecord {
    PinRecord {
        version: "v".to_owned(),
        state,
        rejected_in_a_row,
        rejected_versions: vec!["older".to_owned()],
        holder: "a".to_owned(),
        continues: None,
    }
}

#[tokio::test]
async fn the_next_process_reads_the_record_for_that_token_only() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path());
    let states = first.read().await.unwrap();
    let version = states.version_of(b"1234");
    let rejected = record(PinState::Rejected, 1);
    first.write(states, &place("71"), &rejected).await.unwrap();
    let next = store(folder.path());
    let states = next.read().await.unwrap();
    assert_eq!(next.record(&states, &place("71")).unwrap(), Some(rejected));
    assert_eq!(next.record(&states, &place("72")).unwrap(), None);
    assert_eq!(states.version_of(b"1234"), version);
    assert_ne!(states.version_of(b"1235"), version);
}

#[tokio::test]
async fn only_the_owner_can_read_the_files_and_they_show_no_pin() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path());
    let states = store.read().await.unwrap();
    let mut trying = record(PinState::Trying, 0);
    trying.version = states.version_of(b"86421357");
    store.write(states, &place("71"), &trying).await.unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("86421357"), "{text}");
    }
}

#[tokio::test]
async fn no_other_process_reads_between_a_try_and_its_outcome() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (store(folder.path()), store(folder.path()));
    let states = first.read().await.unwrap();
    let trying = record(PinState::Trying, 0);
    first.write(states, &place("71"), &trying).await.unwrap();
    assert!(second.read().now_or_never().is_none());
    let settle = async {
        let states = first.read().await.unwrap();
        let accepted = trying.accepted();
        first.write(states, &place("71"), &accepted).await.unwrap();
    };
    let ((), states) = join(settle, second.read()).await;
    let found = second
        .record(&states.unwrap(), &place("71"))
        .unwrap()
        .unwrap();
    assert_eq!(found.state, PinState::Accepted);
}

#[tokio::test]
async fn a_process_that_dies_while_trying_leaves_the_try_unsettled_and_no_lock() {
    let folder = tempfile::tempdir().unwrap();
    let first = store(folder.path());
    let states = first.read().await.unwrap();
    let trying = record(PinState::Trying, 1);
    first.write(states, &place("71"), &trying).await.unwrap();
    drop(first);
    let next = store(folder.path());
    let states = next.read().await.unwrap();
    assert!(next.is_exclusive());
    assert_eq!(next.record(&states, &place("71")).unwrap(), Some(trying));
}

#[tokio::test]
async fn a_record_that_is_let_go_can_be_read_by_others() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (store(folder.path()), store(folder.path()));
    first.read().await.unwrap();
    assert!(second.read().now_or_never().is_none());
    first.let_go();
    assert!(second.read().now_or_never().is_some());
}

#[tokio::test]
async fn a_file_that_is_no_record_stays_unchanged_and_stops_every_login() {
    let bad_key = r#"{"hmacKey":"00","tokens":{}}"#;
    let unknown = r#"{"hmacKey":"00","tokens":{},"more":1}"#;
    let no_state = r#"{"hmacKey":"00","tokens":{"71":{"version":"v"}}}"#;
    for text in ["", "{}", "1234\n", bad_key, unknown, no_state] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("record.json");
        fs::write(&path, text).unwrap();
        let error = store(folder.path()).read().await.unwrap_err();
        assert!(matches!(error, StoreError::BadFile { .. }), "{text}");
        assert!(error.to_string().contains("record.json"), "{error}");
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
}

#[tokio::test]
async fn the_error_for_a_missing_folder_names_it_and_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let error = store(&folder.path().join("gone")).read().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("gone/record.json.lock"), "{text}");
    assert!(text.contains("pinRecord"), "{text}");
}
