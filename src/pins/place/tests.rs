//! Identities of tokens, and the records that count for them.

use super::*;

const BY_SERIAL: &str = "serial.0000";

/// Returns what a token with this label and serial number reports.
pub(in crate::pins) fn token(label: &str, serial: &str) -> TokenInfo {
    TokenInfo {
        label: label.to_owned(),
        serial: serial.to_owned(),
        manufacturer: "it".to_owned(),
        model: "it".to_owned(),
        firmware: "1.0".to_owned(),
        slot: hsm::Slot::default(),
        login_required: true,
        pin: hsm::PinFlags::default(),
        max_sessions: None,
    }
}

#[test]
fn every_part_that_a_token_reports_tells_it_apart_and_nothing_else_does() {
    let one = token("a", "0000");
    let others = [
        token("b", "0000"),
        token("a", "0001"),
        TokenInfo {
            manufacturer: "other".to_owned(),
            ..one.clone()
        },
        TokenInfo {
            model: "other".to_owned(),
            ..one.clone()
        },
        // The same octets, split differently.
        token("0a", "000"),
    ];
    let keys: BTreeSet<_> = others.iter().chain([&one]).map(key).collect();
    assert_eq!(keys.len(), 6);
    let later = TokenInfo {
        firmware: "2.0".to_owned(),
        login_required: false,
        pin: hsm::PinFlags {
            locked: true,
            ..hsm::PinFlags::default()
        },
        max_sessions: Some(1),
        ..one.clone()
    };
    assert_eq!(RecordKeys::of(&later), RecordKeys::of(&one));
}

#[test]
fn a_key_is_legal_in_a_secret_and_shows_the_serial_number() {
    let reported = ReportedIdentities::default();
    for serial in ["1404389111", "x y", "\u{fc}", ""] {
        reported.place("b", &token("a", serial));
        let place = reported.place("a", &token("a", serial));
        let legal = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
        assert!(place.own.chars().all(legal), "{place:?}");
        assert!(place.own.len() <= 253, "{place:?}");
    }
    assert!(key(&token("a", "1404389111")).starts_with("token.1404389111."));
}

#[test]
fn only_tokens_that_report_the_same_have_their_names_in_the_place() {
    let reported = ReportedIdentities::default();
    let alone = reported.place("a", &token("same", "0000"));
    assert_eq!(alone, RecordKeys::of(&token("same", "0000")));
    reported.place("c", &token("other", "0000"));
    let beside = reported.place("b", &token("same", "0000"));
    assert_eq!(beside.own, format!("{}.b", alone.plain));
    assert_eq!(
        reported.place("a", &token("same", "0000")).own,
        format!("{}.a", alone.plain)
    );
    reported.forget("b");
    assert_eq!(reported.place("a", &token("same", "0000")), alone);
}

#[test]
fn records_of_earlier_versions_and_of_earlier_names_count_and_those_of_other_tokens_do_not() {
    let reported = ReportedIdentities::default();
    reported.place("b", &token("same", "0000"));
    let named = reported.place("a", &token("same", "0000"));
    let plain = named.plain.clone();
    let relates = |place: &RecordKeys, key: &str| place.relates(key, BY_SERIAL);
    assert!(relates(&named, BY_SERIAL));
    assert!(relates(&named, &plain));
    assert!(relates(&named, &format!("{plain}.old-name")));
    assert!(!relates(&named, &format!("{plain}.a")), "its own");
    assert!(!relates(&named, &format!("{plain}.b")), "configured");
    assert!(!relates(&named, "serial.1"));
    assert!(!relates(&named, "hmac-key"));
    let alone = RecordKeys::of(&token("same", "0000"));
    assert!(relates(&alone, BY_SERIAL));
    assert!(!relates(&alone, &plain), "its own");
    assert!(relates(&alone, &format!("{plain}.b")));
    assert!(!relates(&alone, &key(&token("other", "0000"))));
}
