//! Computes an issuer's status from the result of a look, and selects the changes that get an Event. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{establish::Found, expiry::Expiry};
use crate::{
    api::issuer::{
        CertificateStatus, IssuerSpec, IssuerStatus, KeyStatus, Reason, TokenStatus,
        condition_type::{CA_EXPIRING_SOON, CRL_BUNDLE_COMPLETE, CRL_PUBLISHED, READY},
    },
    issuance::IssuerChain,
    message::shown,
    pipeline::Proven,
    reconcile::events::{EventReason, Notice},
};

const VERIFIED: &str = "A signature by the token verifies under the issuing certificate";

/// An issuer as it was read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'a> {
    pub(super) spec: &'a IssuerSpec,
    pub(super) generation: Option<i64>,
    pub(super) status: Option<&'a IssuerStatus>,
    /// Namespace of this installation of the controller.
    pub(super) installation: &'a str,
}

impl Seen<'_> {
    /// Returns the status that the issuer should have.
    pub(super) fn status(self, found: &Found, now: Timestamp) -> IssuerStatus {
        // Earlier findings stay in the status, so that people see what has stopped working. Loaded certificates replace the
        // earlier ones, even if the issuer cannot sign with them.
        let known = self.status.cloned().unwrap_or_default();
        let Found { chain, proven } = found;
        let mut status = match proven {
            Ok(Proven { ready, token }) => IssuerStatus {
                observed_generation: self.generation,
                installation: Some(self.installation.to_owned()),
                conditions: Vec::new(),
                token: token.as_ref().map(token_status),
                key: Some(key_status(ready.key.key())),
                certificate: Some(certificate_status(ready.issuer.chain())),
                last_signature: Some(Time(ready.proof.at())),
            },
            Err(_) => IssuerStatus {
                observed_generation: self.generation,
                installation: Some(self.installation.to_owned()),
                conditions: Vec::new(),
                certificate: match chain {
                    Some(loaded) => Some(certificate_status(loaded)),
                    None => known.certificate,
                },
                ..known
            },
        };
        let (reason, message) = match proven {
            Ok(_) => (Reason::Verified, VERIFIED.to_owned()),
            Err(why) => (why.reason(), why.message()),
        };
        status
            .conditions
            .push(self.condition(READY, proven.is_ok(), reason, message, now));
        let certificate = status.certificate.as_ref();
        if let Some(expiry) = certificate.and_then(|known| Expiry::of(known, self.spec, now)) {
            let reason = expiry.reason();
            status.conditions.push(self.condition(
                CA_EXPIRING_SOON,
                expiry.soon,
                reason,
                expiry.message,
                now,
            ));
        }
        status
    }

    pub(super) fn condition(
        self,
        type_: &str,
        is_true: bool,
        reason: Reason,
        message: String,
        now: Timestamp,
    ) -> Condition {
        let status = if is_true { "True" } else { "False" };
        let unchanged = self
            .status
            .and_then(|before| before.condition(type_))
            .filter(|before| before.status == status);
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.as_str().to_owned(),
            message,
            observed_generation: self.generation,
            last_transition_time: unchanged
                .map_or(Time(now), |before| before.last_transition_time.clone()),
        }
    }
}

/// Returns whether a status is worth a write. A later time of the last signature alone is not, nor is somebody else's
/// condition.
pub(super) fn differs(before: Option<&IssuerStatus>, now: &IssuerStatus) -> bool {
    let ours = |status: &IssuerStatus| {
        let types = [READY, CA_EXPIRING_SOON, CRL_PUBLISHED, CRL_BUNDLE_COMPLETE];
        let conditions = types.map(|type_| status.condition(type_).cloned());
        let rest = IssuerStatus {
            last_signature: None,
            conditions: Vec::new(),
            ..status.clone()
        };
        (conditions, rest)
    };
    before.is_none_or(|before| ours(before) != ours(now))
}

/// Returns one Event for each condition whose status or reason has changed. A new message alone, such as a
/// shorter time left, gives none.
pub(super) fn notices(before: Option<&IssuerStatus>, now: &IssuerStatus) -> Vec<Notice> {
    let changed = now.conditions.iter().filter(|condition| {
        let before = before.and_then(|before| before.condition(&condition.type_));
        before.is_none_or(|before| {
            (&before.status, &before.reason) != (&condition.status, &condition.reason)
        })
    });
    changed
        .filter_map(|condition| {
            let reason = EventReason::of_condition(Reason::named(&condition.reason)?)?;
            Some(Notice::new(reason, condition.message.clone()))
        })
        .collect()
}

fn token_status(token: &hsm::TokenInfo) -> TokenStatus {
    TokenStatus {
        label: token.label.clone(),
        serial: token.serial.clone(),
        manufacturer: token.manufacturer.clone(),
        model: token.model.clone(),
        firmware_version: token.firmware.clone(),
    }
}

fn key_status(key: &hsm::Key) -> KeyStatus {
    let name = key.name();
    let attributes = key.attributes();
    KeyStatus {
        algorithm: key.algorithm().to_string(),
        label: name.label,
        id_hex: hex::encode(name.id),
        sensitive: attributes.sensitive,
        extractable: attributes.extractable,
        never_extractable: attributes.never_extractable,
        local: attributes.local,
    }
}

fn certificate_status(chain: &IssuerChain) -> CertificateStatus {
    let certificate = chain.issuing();
    let first_end = chain.first_to_end().not_after();
    CertificateStatus {
        subject: shown(certificate.subject_text()),
        serial_number: shown(certificate.serial_hex()),
        sha256: certificate.sha256_hex(),
        not_before: Some(Time(certificate.not_before())),
        not_after: Some(Time(certificate.not_after())),
        chain_not_after: (first_end < certificate.not_after()).then_some(Time(first_end)),
        subject_key_id: certificate
            .subject_key_id()
            .map(|octets| shown(hex::encode(octets)))
            .unwrap_or_default(),
    }
}

#[cfg(test)]
mod kstatus;
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        issuance::testing::chain_valid, pipeline::NotProven, reconcile::issuer::establish::NotReady,
    };

    const THEN: &str = "2026-01-01T00:00:00Z";
    pub(super) const NOW: &str = "2026-06-01T00:00:00Z";

    pub(super) fn spec() -> IssuerSpec {
        serde_json::from_value(json!({"token": "nowhere", "certificate": {"pem": "-"}})).unwrap()
    }

    fn status(json: Value) -> IssuerStatus {
        serde_json::from_value(json).unwrap()
    }

    fn condition(type_: &str, status: &str, reason: &str, message: &str) -> Value {
        json!({"type": type_, "status": status, "reason": reason, "message": message,
               "observedGeneration": 1, "lastTransitionTime": THEN})
    }

    /// Returns the status of an issuer of generation 2 whose token is unknown.
    fn lost(before: Option<&IssuerStatus>) -> IssuerStatus {
        let spec = spec();
        let seen = Seen {
            spec: &spec,
            generation: Some(2),
            status: before,
            installation: "ours",
        };
        let found = NotReady::TokenUnknown("nowhere".to_owned()).into();
        seen.status(&found, NOW.parse().unwrap())
    }

    #[test]
    fn a_condition_names_the_generation_that_was_looked_at() {
        let status = lost(None);
        let ready = status.condition(READY).unwrap();
        assert_eq!(ready.observed_generation, Some(2));
        assert_eq!((&*ready.status, &*ready.reason), ("False", "TokenUnknown"));
        assert_eq!(ready.last_transition_time.0.to_string(), NOW);
    }

    #[test]
    fn the_time_of_transition_stays_while_the_status_stays() {
        let before = status(json!({
            "conditions": [condition(READY, "False", "KeyNotFound", "")],
        }));
        let ready = lost(Some(&before)).condition(READY).cloned().unwrap();
        assert_eq!(ready.reason, "TokenUnknown");
        assert_eq!(ready.last_transition_time.0.to_string(), THEN);
    }

    #[test]
    fn an_issuer_that_has_stopped_working_keeps_what_was_known_and_warns_of_its_certificate() {
        let before = status(json!({
            "conditions": [condition(READY, "True", "Verified", "")],
            "key": {"algorithm": "P-256"},
            "certificate": {"notBefore": "2025-06-30T00:00:00Z", "notAfter": "2026-06-30T00:00:00Z"},
            "lastSignature": THEN,
        }));
        let status = lost(Some(&before));
        assert_eq!(
            (&status.key, &status.last_signature),
            (&before.key, &before.last_signature)
        );
        let expiring = status.condition(CA_EXPIRING_SOON).unwrap();
        assert_eq!(
            (&*expiring.status, &*expiring.reason),
            ("True", "ExpiresSoon")
        );
        assert_eq!(expiring.observed_generation, Some(2));
    }

    #[test]
    fn certificates_that_are_loaded_are_shown_even_if_the_issuer_cannot_sign_with_them() {
        let spec = spec();
        let before = status(json!({
            "key": {"algorithm": "P-256"},
            "certificate": {"notBefore": "2025-06-30T00:00:00Z", "notAfter": "2036-06-30T00:00:00Z"},
        }));
        let loaded = ("2025-01-01T00:00:00Z", "2026-02-01T00:00:00Z");
        let loaded = (loaded.0.parse().unwrap(), loaded.1.parse().unwrap());
        let seen = Seen {
            spec: &spec,
            generation: Some(2),
            status: Some(&before),
            installation: "ours",
        };
        let found = Found {
            chain: Some(Arc::new(chain_valid(loaded, loaded))),
            proven: Err(NotReady::NotProven(Arc::new(NotProven::Random))),
        };
        let after = seen.status(&found, NOW.parse().unwrap());
        let certificate = after.certificate.clone().unwrap();
        assert_eq!(certificate, certificate_status(&found.chain.unwrap()));
        assert_eq!(certificate.not_after, Some(Time(loaded.1)));
        assert_eq!(after.key, before.key);
        let expiring = after.condition(CA_EXPIRING_SOON).unwrap();
        assert!(
            expiring.message.contains("ended at 2026-02-01"),
            "{}",
            expiring.message
        );
    }

    #[test]
    fn a_later_signature_alone_is_not_worth_a_write() {
        let with = |time: &str, label: &str| {
            status(json!({"lastSignature": time, "token": {"label": label}}))
        };
        assert!(!differs(Some(&with(THEN, "a")), &with(NOW, "a")));
        assert!(differs(Some(&with(THEN, "a")), &with(THEN, "b")));
        assert!(differs(None, &with(THEN, "a")));
    }

    #[test]
    fn a_condition_of_somebody_else_is_not_worth_a_write() {
        let ready = condition(READY, "True", "Verified", "v");
        let audited = condition("Audited", "True", "Passed", "");
        let both = status(json!({"conditions": [audited, ready]}));
        let ours = status(json!({"conditions": [ready]}));
        assert!(!differs(Some(&both), &ours));
        let other = status(json!({"conditions": [condition(READY, "True", "Verified", "w")]}));
        assert!(differs(Some(&both), &other));
    }

    #[test]
    fn each_transition_gives_one_event_and_a_new_message_alone_none() {
        let with = |conditions: Value| status(json!({"conditions": conditions}));
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
