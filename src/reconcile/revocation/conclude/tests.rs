//! Whole statuses, from the first to the last.

use serde_json::{Value, json};

use super::*;
use crate::issuance::crl::CaId;

const NOW: &str = "2026-11-30T00:00:00Z";
const LATER: &str = "2026-11-30T00:00:09Z";
const END: &str = "2026-12-30T00:00:00Z";
const CA: &str = "00112233445566778899aabbccddeeff";

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn revocation(status: &Value) -> CertificateRevocation {
    serde_json::from_value(json!({
        "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": "CertificateRevocation",
        "metadata": {"namespace": "shop", "name": "web", "generation": 2},
        "spec": {
            "issuerRef": {"kind": "PKCS11ClusterIssuer", "name": "issuing"},
            "reason": "KeyCompromise", "certificateRequestRef": {"name": "web-1"},
        },
        "status": status,
    }))
    .unwrap()
}

fn report<'a>(revocation: &'a CertificateRevocation, now: &str) -> RevocationReport<'a> {
    RevocationReport {
        revocation,
        now: time(now),
    }
}

fn claimed(way: Way) -> ClaimedCertificate {
    ClaimedCertificate {
        ca: CA.parse::<CaId>().unwrap(),
        serial: "01ff".parse().unwrap(),
        not_after: time(END),
        way,
    }
}

/// Returns the conditions as their statuses and reasons, and the other fields.
fn parts(status: &RevocationStatus) -> (String, Value) {
    let conditions = status.conditions.iter();
    let words: Vec<_> = conditions
        .map(|one| {
            assert_eq!(one.observed_generation, Some(2));
            format!("{} {} {}", one.type_, one.status, one.reason)
        })
        .collect();
    let mut others = serde_json::to_value(status).unwrap();
    others.as_object_mut().unwrap().remove("conditions");
    (words.join(", "), others)
}

#[test]
fn a_revocation_is_first_stored_and_then_on_a_crl_and_at_last_ended() {
    let new = revocation(&json!({}));
    let stored = report(&new, NOW).stored(&claimed(Way::Request), time(NOW), None);
    let facts = json!({
        "observedGeneration": 2, "ca": CA, "serialNumber": "01ff", "notAfter": END, "revokedAt": NOW,
    });
    assert_eq!(
        parts(&stored),
        (
            "Accepted True Revoked, Published False Waiting".to_owned(),
            facts.clone()
        )
    );

    let waits = revocation(&serde_json::to_value(&stored).unwrap());
    let crl = FirstCrl {
        number: 1_796_000_000_000,
        shard: 3,
        this_update: time(LATER),
    };
    let published = report(&waits, LATER).published(crl);
    let mut with_crl = facts;
    with_crl["crl"] = json!({"number": 1_796_000_000_000_u64, "shard": 3, "thisUpdate": LATER});
    assert_eq!(
        parts(&published),
        (
            "Accepted True Revoked, Published True OnCrl".to_owned(),
            with_crl.clone()
        )
    );
    // The certificate was accepted when it was accepted.
    let accepted = published.condition(ACCEPTED).unwrap();
    assert_eq!(accepted.last_transition_time.0, time(NOW));
    assert_eq!(
        accepted.message,
        stored.condition(ACCEPTED).unwrap().message
    );

    let on_crl = revocation(&serde_json::to_value(&published).unwrap());
    let ended = report(&on_crl, END).without_entry(true);
    assert_eq!(
        parts(&ended),
        (
            "Accepted True Revoked, Published False Ended".to_owned(),
            with_crl
        )
    );
}

#[test]
fn a_hold_ends_in_words() {
    let new = revocation(&json!({}));
    let held = report(&new, NOW).stored(&claimed(Way::Proof), time(NOW), None);
    let held = revocation(&serde_json::to_value(held).unwrap());
    let (words, _) = parts(&report(&held, LATER).released());
    assert_eq!(words, "Accepted True Released, Published False NotRevoked");
    let (words, _) = parts(&report(&held, LATER).without_entry(false));
    assert_eq!(words, "Accepted True Revoked, Published False NotRevoked");
}

#[test]
fn a_refused_release_leaves_the_certificate_on_the_crl() {
    let new = revocation(&json!({}));
    let refused = report(&new, NOW).refused(AcceptedReason::ProofMissing, "make one");
    let (words, others) = parts(&refused);
    assert_eq!(
        words,
        "Accepted False ProofMissing, Published False NotRevoked"
    );
    assert_eq!(others, json!({"observedGeneration": 2}));

    let crl = FirstCrl {
        number: 1,
        shard: 0,
        this_update: time(NOW),
    };
    let on_crl = report(&new, NOW).published(crl);
    let on_crl = revocation(&serde_json::to_value(on_crl).unwrap());
    let refused = report(&on_crl, LATER).refused(AcceptedReason::HeldByOthers, "ask them");
    let (words, _) = parts(&refused);
    assert_eq!(words, "Accepted False HeldByOthers, Published True OnCrl");
}

#[test]
fn a_renewal_is_in_the_status_until_the_certificate_is_revoked() {
    let renewal = RenewalStatus {
        requested_at: None,
        certificate_name: "web".to_owned(),
        certificate_uid: "c".to_owned(),
        revision: Some(3),
        csr: "CSR".to_owned(),
        certificate: "PEM".to_owned(),
    };
    let new = revocation(&json!({}));
    let first = report(&new, NOW).renewing(renewal.clone());
    let (words, others) = parts(&first);
    assert_eq!(
        words,
        "Accepted Unknown Renewing, Published False NotRevoked"
    );
    let expected = json!({
        "certificateName": "web", "certificateUid": "c", "revision": 3, "csr": "CSR", "certificate": "PEM",
    });
    assert_eq!(others["renewal"], expected);
    let again = revocation(&serde_json::to_value(&first).unwrap());
    let same = report(&again, LATER).renewing(renewal);
    assert_eq!(same, first);
    let stored = report(&again, LATER).stored(&claimed(Way::Request), time(LATER), None);
    assert_eq!(stored.renewal, None);
}

#[test]
fn an_unchecked_serial_number_is_said_to_be_one_and_every_message_is_short() {
    let new = revocation(&json!({}));
    for (in_log, expected) in [
        (None, "nobody has checked"),
        (Some(true), "the issuance log has its certificate"),
        (
            Some(false),
            "the issuance log of this replica does not have it",
        ),
    ] {
        let stored = report(&new, NOW).stored(&claimed(Way::Serial), time(NOW), in_log);
        let message = &stored.condition(ACCEPTED).unwrap().message;
        assert!(message.contains(expected), "{message}");
    }
    let long = report(&new, NOW).refused(AcceptedReason::NotOurs, &"\n".repeat(5000));
    assert!(long.condition(ACCEPTED).unwrap().message.len() <= crate::message::MAX);
}
