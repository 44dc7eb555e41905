//! Computes an issuer's status from the result of a look, and selects the changes that get an Event. Pure.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::{
    establish::Found,
    expiry::{Expiry, longest, renewal_due},
    found_rollover::CaLife,
    not_ready::NotReady,
    rollover::{lifetimes, still_retiring},
    seen::{Seen, ca_of, certificate_status, key_status, token_status},
};
use crate::{
    api::issuer::{
        DueStatus, DueWhat, IssuerSpec, IssuerStatus, LifetimesStatus, Reason, RolloverState,
        condition_type::{
            CA_EXPIRING_SOON, CRL_BUNDLE_COMPLETE, CRL_PUBLISHED, READY, ROLLING_OVER,
        },
    },
    issuance::IssuerChain,
    pipeline::Proven,
};

const VERIFIED: &str = "A signature by the token verifies under the issuing certificate";

impl Seen<'_> {
    /// Returns the status that the issuer should have.
    pub(super) fn status(self, found: &Found, now: Timestamp) -> IssuerStatus {
        // Earlier findings stay in the status, so that people see what has stopped working. Loaded certificates replace the
        // earlier ones, even if the issuer cannot sign with them.
        let known = self.status.cloned().unwrap_or_default();
        let Found {
            chain,
            proven,
            rollover,
        } = found;
        let CaLife {
            rollover,
            retiring,
            lifetimes,
            condition: rolling_over,
        } = match rollover {
            Some(found) => found.life(
                self,
                proven.is_ok(),
                self.lifetimes(chain.as_deref(), proven, now),
                now,
            ),
            None => CaLife {
                rollover: known.rollover.clone(),
                retiring: still_retiring(&known.retiring, None, now),
                lifetimes: known.lifetimes.clone(),
                condition: None,
            },
        };
        let mut status = match proven {
            Ok(Proven { ready, token }) => IssuerStatus {
                observed_generation: self.generation,
                installation: Some(self.installation.to_owned()),
                conditions: Vec::new(),
                token: token.as_ref().map(token_status),
                key: Some(key_status(ready.key.key())),
                certificate: Some(certificate_status(ready.issuer.chain())),
                last_signature: Some(Time(ready.proof.at())),
                ..IssuerStatus::default()
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
        if self.spec.crl.is_none() {
            status.crl = None;
        }
        status.rollover = rollover;
        status.retiring = retiring;
        status.lifetimes = lifetimes;
        status.reissue = self.reissue.cloned();
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
        let kept = || {
            let before = self.status?.condition(ROLLING_OVER)?;
            let reason = Reason::named(&before.reason)?;
            Some((before.status == "True", reason, before.message.clone()))
        };
        let rolling_over = match &found.rollover {
            Some(_) => rolling_over,
            None => kept(),
        };
        if let Some((is_true, reason, message)) = rolling_over {
            let condition = self.condition(ROLLING_OVER, is_true, reason, message, now);
            status.conditions.push(condition);
        }
        status.next_due = next_due(&status, self.spec);
        status
    }

    /// Returns how long certificates of the CA that signs may live.
    fn lifetimes(
        self,
        chain: Option<&IssuerChain>,
        proven: &Result<Proven, NotReady>,
        now: Timestamp,
    ) -> Option<LifetimesStatus> {
        let known = self.status.and_then(|status| status.lifetimes.as_ref());
        let ca = ca_of(chain?);
        match proven {
            Ok(Proven { ready, .. }) => {
                let longest = ready.issuer.profile().longest();
                Some(lifetimes(known, &ca, longest, now))
            }
            Err(_) => match known.filter(|known| known.ca == ca) {
                Some(known) => Some(known.clone()),
                None => Some(lifetimes(None, &ca, longest(self.spec), now)),
            },
        }
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
        let types = [
            READY,
            CA_EXPIRING_SOON,
            ROLLING_OVER,
            CRL_PUBLISHED,
            CRL_BUNDLE_COMPLETE,
        ];
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

/// Returns the next date in the life of the issuer's CA.
fn next_due(status: &IssuerStatus, spec: &IssuerSpec) -> Option<DueStatus> {
    let certificate = status.certificate.as_ref();
    let renewal = certificate.and_then(|known| renewal_due(known, spec));
    let renewal = renewal.map(|at| DueStatus {
        what: DueWhat::RenewCertificate,
        at: Time(Timestamp::from_second(at.as_second()).unwrap_or(at)),
    });
    let rollover = status.rollover.as_ref().and_then(|rollover| {
        let (what, at) = match rollover.state {
            RolloverState::Proving | RolloverState::Trusted => {
                let switch = spec.next.as_ref()?.switch.as_ref()?;
                (DueWhat::Switch, switch.at.clone()?)
            }
            RolloverState::Switched | RolloverState::Complete => {
                (DueWhat::EndOfRollover, rollover.complete_at.clone()?)
            }
        };
        Some(DueStatus { what, at })
    });
    renewal
        .into_iter()
        .chain(rollover)
        .min_by_key(|due| due.at.0)
}

#[cfg(test)]
mod kstatus;
#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        issuance::testing::chain_valid, pipeline::NotProven, reconcile::issuer::not_ready::NotReady,
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
            reissue: None,
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
            reissue: None,
        };
        let found = Found {
            chain: Some(Arc::new(chain_valid(loaded, loaded))),
            proven: Err(NotReady::NotProven(Arc::new(NotProven::Random))),
            rollover: None,
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
}
