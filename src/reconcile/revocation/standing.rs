//! How far a revocation is, by its status. Pure.

use jiff::Timestamp;

use crate::api::revocation::{
    AcceptedReason, CertificateRevocation, PublishedReason, RevocationStatus,
};

/// How far a revocation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RevocationStanding {
    /// It waits for an answer.
    Open,
    /// Its entry is stored. A CRL with the certificate, or the end of the entry, has to be reported.
    Stored,
    /// Nothing is left to do.
    Settled,
}

/// Returns how far a revocation is.
pub(super) fn standing(revocation: &CertificateRevocation, now: Timestamp) -> RevocationStanding {
    let status = revocation.status.as_ref();
    let status =
        status.filter(|status| status.observed_generation == revocation.metadata.generation);
    let Some(status) = status else {
        return RevocationStanding::Open;
    };
    let (Some(accepted), Some(published)) = (status.accepted(), status.published()) else {
        return RevocationStanding::Open;
    };
    match (accepted.status(), accepted, published) {
        ("False", _, _) | (_, AcceptedReason::Released, _) => RevocationStanding::Settled,
        (_, AcceptedReason::Revoked, PublishedReason::Waiting) => RevocationStanding::Stored,
        (_, AcceptedReason::Revoked, PublishedReason::OnCrl) => match has_ended(status, now) {
            true => RevocationStanding::Stored,
            false => RevocationStanding::Settled,
        },
        (_, AcceptedReason::Revoked, PublishedReason::NotRevoked | PublishedReason::Ended) => {
            RevocationStanding::Settled
        }
        (_, _, _) => RevocationStanding::Open,
    }
}

fn has_ended(status: &RevocationStatus, now: Timestamp) -> bool {
    status.not_after.as_ref().is_some_and(|end| end.0 < now)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const END: &str = "2026-12-30T00:00:00Z";

    fn of(generation: i64, accepted: &str, published: &str, now: &str) -> RevocationStanding {
        let condition = |type_: &str, reason: &str| {
            json!({
                "type": type_, "status": "Unknown", "reason": reason, "message": "",
                "lastTransitionTime": "2026-11-30T00:00:00Z",
            })
        };
        let revocation: CertificateRevocation = serde_json::from_value(json!({
            "apiVersion": "pkcs11-issuer.dev/v1alpha1", "kind": "CertificateRevocation",
            "metadata": {"namespace": "shop", "name": "web", "generation": 2},
            "spec": {
                "issuerRef": {"kind": "PKCS11ClusterIssuer", "name": "issuing"},
                "reason": "KeyCompromise", "serialNumber": "01",
            },
            "status": {
                "observedGeneration": generation, "notAfter": END,
                "conditions": [condition("Accepted", accepted), condition("Published", published)],
            },
        }))
        .unwrap();
        standing(&revocation, now.parse().unwrap())
    }

    #[test]
    fn every_status_has_one_standing() {
        use {AcceptedReason as A, PublishedReason as P};
        let before = "2026-12-29T00:00:00Z";
        let after = "2026-12-31T00:00:00Z";
        for accepted in A::ALL.iter().copied() {
            for published in P::ALL.iter().copied() {
                for (now, has_ended) in [(before, false), (after, true)] {
                    let expected = match (accepted, published) {
                        (A::Revoked, P::Waiting) => RevocationStanding::Stored,
                        (A::Revoked, P::OnCrl) if has_ended => RevocationStanding::Stored,
                        (A::IssuerNotReady | A::Renewing | A::NotStored, _) => {
                            RevocationStanding::Open
                        }
                        (_, _) => RevocationStanding::Settled,
                    };
                    let (accepted, published) = (accepted.as_str(), published.as_str());
                    let found = of(2, accepted, published, now);
                    assert_eq!(found, expected, "{accepted} {published} {now}");
                    // Whatever was said about an earlier specification is open again.
                    assert_eq!(of(1, accepted, published, now), RevocationStanding::Open);
                }
            }
        }
        assert_eq!(
            of(2, "LaterVersion", "Waiting", before),
            RevocationStanding::Open
        );
    }
}
