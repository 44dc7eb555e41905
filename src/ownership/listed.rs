//! The replicas of an installation, as people see them in its Leases.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;

use super::lease::{LABEL, MEMBERSHIP, Member};

/// Returns the label selector of the Leases of replicas.
#[must_use]
pub fn replica_selector() -> String {
    format!("{LABEL}={MEMBERSHIP}")
}

/// A replica as its Lease shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedReplica {
    /// Its identity: the name of its pod.
    pub identity: String,
    /// The tokens that it can sign with, by their names in the operator's configuration.
    pub tokens: Vec<String>,
    /// When it renewed the Lease, by its own clock.
    pub renewed: Timestamp,
    /// When the Lease ends unless it is renewed.
    pub until: Timestamp,
}

impl ListedReplica {
    /// Reads the Lease of a replica; `None` if it is not one.
    #[must_use]
    pub fn read(lease: &Lease) -> Option<Self> {
        let member = Member::read(lease).ok()?;
        let spec = lease.spec.as_ref()?;
        let renewed = spec.renew_time.as_ref()?.0;
        let lasts = SignedDuration::try_from(member.duration.whole()).ok()?;
        Some(Self {
            identity: spec.holder_identity.clone().unwrap_or(member.name),
            tokens: member.tokens.into_iter().collect(),
            renewed,
            until: renewed.checked_add(lasts).ok()?,
        })
    }

    /// Returns whether it lives at this time, if the clocks agree.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        now <= self.until
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn lease(annotations: &Value) -> Lease {
        serde_json::from_value(json!({
            "metadata": {
                "name": "pkcs11-issuer-a", "uid": "u", "resourceVersion": "1", "annotations": annotations,
            },
            "spec": {
                "holderIdentity": "a", "leaseDurationSeconds": 15, "renewTime": "2026-01-01T00:00:00.000000Z",
            },
        }))
        .unwrap()
    }

    #[test]
    fn a_replica_lives_until_its_lease_ends() {
        let lease = lease(&json!({"pkcs11-issuer.dev/tokens": "issuing,payments"}));
        let replica = ListedReplica::read(&lease).unwrap();
        assert_eq!(
            (replica.identity.as_str(), replica.tokens.as_slice()),
            (
                "a",
                ["issuing".to_owned(), "payments".to_owned()].as_slice()
            )
        );
        assert!(replica.is_live("2026-01-01T00:00:15Z".parse().unwrap()));
        assert!(!replica.is_live("2026-01-01T00:00:16Z".parse().unwrap()));
    }

    #[test]
    fn a_lease_of_something_else_is_no_replica() {
        assert_eq!(ListedReplica::read(&lease(&json!({}))), None);
    }
}
