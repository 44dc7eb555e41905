//! Selects the changes of an issuer's status that get an Event and, if they are about its CA, a line in the issuance log. Pure.

use crate::{
    api::issuer::{CertificateStatus, IssuerStatus, Reason, RolloverState},
    reconcile::events::{EventReason, Notice},
};

/// Returns one Event for each condition whose status or reason has changed, and one for each other change of the issuer's CA.
/// A new message alone, such as a shorter time left, gives none.
pub(super) fn notices(before: Option<&IssuerStatus>, now: &IssuerStatus) -> Vec<Notice> {
    let changed = now.conditions.iter().filter(|condition| {
        let before = before.and_then(|before| before.condition(&condition.type_));
        before.is_none_or(|before| {
            (&before.status, &before.reason) != (&condition.status, &condition.reason)
        })
    });
    let of_conditions = changed.filter_map(|condition| {
        let reason = EventReason::of_condition(Reason::named(&condition.reason)?)?;
        Some(Notice::new(reason, condition.message.clone()))
    });
    let of_ca = before.and_then(|before| of_certificate(before, now));
    let of_rollover = before.and_then(|before| of_end(before, now));
    of_conditions.chain(of_ca).chain(of_rollover).collect()
}

/// Returns the Event of another issuing certificate. The switch of a rollover has an Event of its own.
fn of_certificate(before: &IssuerStatus, now: &IssuerStatus) -> Option<Notice> {
    let (old, new) = (before.certificate.as_ref()?, now.certificate.as_ref()?);
    let switched = before.rollover.as_ref().is_some_and(|rollover| {
        rollover.ca == new.ca
            && matches!(
                rollover.state,
                RolloverState::Switched | RolloverState::Complete
            )
    });
    if old.sha256 == new.sha256 || old.ca.is_empty() || switched && old.ca != new.ca {
        return None;
    }
    let changed = |reason, what| {
        let CertificateStatus {
            subject,
            serial_number,
            sha256,
            ..
        } = new;
        Notice::new(
            reason,
            format!("{what}: {subject:?}, serial {serial_number}, sha256:{sha256}"),
        )
    };
    Some(if old.ca == new.ca {
        changed(
            EventReason::CertificateRenewed,
            "The issuer has a new certificate for the same key",
        )
    } else {
        changed(
            EventReason::KeyReplaced,
            "The issuer has another key, and its former root is not published with new certificates",
        )
    })
}

/// Returns the Event of a rollover that has left the specification.
fn of_end(before: &IssuerStatus, now: &IssuerStatus) -> Option<Notice> {
    let rollover = before
        .rollover
        .as_ref()
        .filter(|_| now.rollover.is_none())?;
    let ca = now.certificate.as_ref().map(|certificate| &certificate.ca);
    Some(if ca == Some(&rollover.ca) {
        Notice::new(
            EventReason::RolloverFinished,
            "spec.certificate is the CA that spec.next was; the issuer signs as before",
        )
    } else {
        Notice::new(
            EventReason::RolloverWithdrawn,
            "spec.next was removed; the present key goes on signing",
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::api::issuer::condition_type::{CA_EXPIRING_SOON, READY};

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
               "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    }

    #[test]
    fn each_transition_gives_one_event_and_a_new_message_alone_none() {
        let with = |conditions: Value| -> IssuerStatus {
            serde_json::from_value(json!({"conditions": conditions})).unwrap()
        };
        let well = with(json!([
            condition(READY, "True", "Verified", "v"),
            condition(CA_EXPIRING_SOON, "False", "NotExpiringSoon", "n"),
        ]));
        let old = with(json!([
            condition(READY, "True", "Verified", "v"),
            condition(CA_EXPIRING_SOON, "True", "ExpiresSoon", "in 10 days"),
        ]));
        let older = with(json!([
            condition(READY, "True", "Verified", "v"),
            condition(CA_EXPIRING_SOON, "True", "ExpiresSoon", "in 9 days"),
        ]));
        let lost = with(json!([condition(READY, "False", "KeyNotFound", "k")]));
        let mended = with(json!([condition(READY, "False", "KeyAmbiguous", "a")]));
        assert_eq!(
            notices(None, &well),
            [Notice::new(EventReason::Ready, "v".to_owned())]
        );
        assert_eq!(
            notices(Some(&well), &old),
            [Notice::new(
                EventReason::CAExpiringSoon,
                "in 10 days".to_owned()
            )]
        );
        assert_eq!(notices(Some(&old), &older), []);
        assert_eq!(notices(Some(&older), &well), []);
        assert_eq!(
            notices(Some(&well), &lost),
            [Notice::new(
                EventReason::NotReady(Reason::KeyNotFound),
                "k".to_owned()
            )]
        );
        assert_eq!(
            notices(Some(&lost), &mended),
            [Notice::new(
                EventReason::NotReady(Reason::KeyAmbiguous),
                "a".to_owned()
            )]
        );
    }
}
