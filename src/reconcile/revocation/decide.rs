//! Decides what to do about a revocation from its observed state. Uses no client and no clock.

use crate::api::revocation::AcceptedReason;

/// Observed facts that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RevocationFacts {
    /// State of the issuer.
    pub(super) signatory: Signatory,
    /// Whether the author may revoke the certificate; if not, why.
    pub(super) claim: Result<(), AcceptedReason>,
    /// What is asked for.
    pub(super) wish: Wish,
    /// The certificate's entry.
    pub(super) entry: EntryFact,
    /// Whether the entry has the reason that is asked for.
    pub(super) same_reason: bool,
    /// Whether the object was accepted before.
    pub(super) accepted_before: bool,
    /// Whether the date of invalidity is one that a CRL can carry.
    pub(super) date_is_valid: bool,
    /// Whether the certificate has ended.
    pub(super) has_ended: bool,
    /// How far the renewal of the Certificate is.
    pub(super) renewal: Renewal,
}

/// State of the issuer of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signatory {
    /// Another installation of the controller answers the issuer.
    Elsewhere,
    /// It is in another namespace, and the revocation is not in the controller's namespace.
    NotAllowed,
    /// It does not exist.
    Missing,
    /// It publishes no CRL.
    WithoutCrl,
    /// It cannot be used at present, or has not been looked at yet.
    NotReady,
    /// Its CA is known.
    Ready,
}

/// What a revocation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// To revoke the certificate or to put it on hold.
    Revoke,
    /// To end a hold.
    Release,
}

/// What is stored about the certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EntryFact {
    /// It is not revoked.
    None,
    /// It is on hold.
    Hold {
        /// Whether this revocation may end the hold: it is the one that began it, or any certificate may be revoked here.
        may_release: bool,
    },
    /// It is revoked for good.
    Final,
}

/// How far the renewal of a Certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// None is wanted.
    NotWanted,
    /// No Certificate owns the request.
    Unowned,
    /// cert-manager has not been asked for it.
    Due,
    /// The new certificate is not in place yet.
    InProgress,
    /// The new certificate is in place, the time is over, or the Certificate is gone.
    Over,
}

/// What to do about a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RevocationStep {
    /// Nothing: another installation answers.
    Leave,
    /// Report what the revocation waits for, and look again later.
    Wait(AcceptedReason),
    /// Refuse the revocation for good.
    Refuse(AcceptedReason),
    /// Ask cert-manager to renew the Certificate.
    Renew,
    /// Store the entry.
    Store,
    /// Report that the entry is stored.
    ConfirmStored,
    /// Remove the entry.
    Release,
    /// Report that the entry is removed.
    ConfirmReleased,
}

/// Decides what to do.
#[must_use]
pub(super) fn decide(facts: &RevocationFacts) -> RevocationStep {
    use RevocationStep::{Leave, Refuse, Wait};
    match (facts.signatory, facts.claim) {
        (Signatory::Elsewhere, _) => Leave,
        (Signatory::NotAllowed, _) => Refuse(AcceptedReason::IssuerNotAllowed),
        (Signatory::Missing, _) => Refuse(AcceptedReason::IssuerNotFound),
        (Signatory::WithoutCrl, _) => Refuse(AcceptedReason::CrlNotEnabled),
        (Signatory::NotReady, _) => Wait(AcceptedReason::IssuerNotReady),
        (Signatory::Ready, Err(reason)) => Refuse(reason),
        (Signatory::Ready, Ok(())) => decide_permitted(facts),
    }
}

/// Decides about a certificate that the author may revoke.
fn decide_permitted(facts: &RevocationFacts) -> RevocationStep {
    use RevocationStep::{ConfirmReleased, ConfirmStored, Refuse, Release};
    match (facts.wish, facts.entry, facts.same_reason) {
        (Wish::Revoke, EntryFact::Hold { .. } | EntryFact::Final, true) => ConfirmStored,
        (Wish::Revoke, EntryFact::Final, false) => Refuse(AcceptedReason::AlreadyRevoked),
        // A hold may become final (RFC 5280, section 5.3.1), without a moment in which the certificate is valid.
        (Wish::Revoke, EntryFact::None, _) | (Wish::Revoke, EntryFact::Hold { .. }, false) => {
            decide_new(facts)
        }
        (Wish::Release, EntryFact::Hold { may_release: true }, _) => Release,
        (Wish::Release, EntryFact::Hold { may_release: false }, _) => {
            Refuse(AcceptedReason::HeldByOthers)
        }
        (Wish::Release, EntryFact::Final, _) => Refuse(AcceptedReason::AlreadyRevoked),
        (Wish::Release, EntryFact::None, _) => match facts.accepted_before {
            true => ConfirmReleased,
            false => Refuse(AcceptedReason::NotOnHold),
        },
    }
}

/// Decides about an entry that is not stored yet.
fn decide_new(facts: &RevocationFacts) -> RevocationStep {
    use RevocationStep::{Refuse, Renew, Store, Wait};
    match (facts.date_is_valid, facts.has_ended, facts.renewal) {
        (false, _, _) => Refuse(AcceptedReason::InvalidityDateInvalid),
        (true, true, _) => Refuse(AcceptedReason::CertificateEnded),
        (true, false, Renewal::Unowned) => Refuse(AcceptedReason::NothingToRenew),
        (true, false, Renewal::Due) => Renew,
        (true, false, Renewal::InProgress) => Wait(AcceptedReason::Renewing),
        (true, false, Renewal::NotWanted | Renewal::Over) => Store,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A revocation of a certificate that is not revoked.
    const PLAIN: RevocationFacts = RevocationFacts {
        signatory: Signatory::Ready,
        claim: Ok(()),
        wish: Wish::Revoke,
        entry: EntryFact::None,
        same_reason: false,
        accepted_before: false,
        date_is_valid: true,
        has_ended: false,
        renewal: Renewal::NotWanted,
    };
    const OWN_HOLD: EntryFact = EntryFact::Hold { may_release: true };
    const OTHERS_HOLD: EntryFact = EntryFact::Hold { may_release: false };

    #[test]
    fn the_issuer_decides_before_anything_else_is_judged() {
        use AcceptedReason::*;
        for (signatory, expected) in [
            (Signatory::Elsewhere, RevocationStep::Leave),
            (
                Signatory::NotAllowed,
                RevocationStep::Refuse(IssuerNotAllowed),
            ),
            (Signatory::Missing, RevocationStep::Refuse(IssuerNotFound)),
            (Signatory::WithoutCrl, RevocationStep::Refuse(CrlNotEnabled)),
            (Signatory::NotReady, RevocationStep::Wait(IssuerNotReady)),
        ] {
            for claim in [Ok(()), Err(ProofMissing)] {
                for entry in [EntryFact::None, OWN_HOLD, EntryFact::Final] {
                    let facts = RevocationFacts {
                        signatory,
                        claim,
                        entry,
                        ..PLAIN
                    };
                    assert_eq!(decide(&facts), expected, "{facts:?}");
                }
            }
        }
    }

    #[test]
    fn whoever_may_not_revoke_learns_nothing_about_the_entry_and_changes_nothing() {
        for wish in [Wish::Revoke, Wish::Release] {
            for entry in [EntryFact::None, OWN_HOLD, OTHERS_HOLD, EntryFact::Final] {
                for same_reason in [false, true] {
                    let facts = RevocationFacts {
                        claim: Err(AcceptedReason::ProofWrong),
                        wish,
                        entry,
                        same_reason,
                        accepted_before: true,
                        ..PLAIN
                    };
                    let expected = RevocationStep::Refuse(AcceptedReason::ProofWrong);
                    assert_eq!(decide(&facts), expected, "{facts:?}");
                }
            }
        }
    }

    #[test]
    fn every_state_of_the_entry_has_one_answer() {
        use AcceptedReason::*;
        use RevocationStep::*;
        for (wish, entry, same_reason, accepted_before, expected) in [
            (Wish::Revoke, EntryFact::None, false, false, Store),
            // An entry that the register has lost is stored again.
            (Wish::Revoke, EntryFact::None, false, true, Store),
            (Wish::Revoke, OWN_HOLD, true, true, ConfirmStored),
            (Wish::Revoke, OTHERS_HOLD, true, false, ConfirmStored),
            (Wish::Revoke, OTHERS_HOLD, false, false, Store),
            (Wish::Revoke, EntryFact::Final, true, false, ConfirmStored),
            (
                Wish::Revoke,
                EntryFact::Final,
                false,
                false,
                Refuse(AlreadyRevoked),
            ),
            (Wish::Release, OWN_HOLD, true, true, Release),
            (Wish::Release, OWN_HOLD, true, false, Release),
            (
                Wish::Release,
                OTHERS_HOLD,
                true,
                false,
                Refuse(HeldByOthers),
            ),
            (Wish::Release, OTHERS_HOLD, true, true, Refuse(HeldByOthers)),
            (
                Wish::Release,
                EntryFact::Final,
                false,
                true,
                Refuse(AlreadyRevoked),
            ),
            (Wish::Release, EntryFact::None, false, true, ConfirmReleased),
            (
                Wish::Release,
                EntryFact::None,
                false,
                false,
                Refuse(NotOnHold),
            ),
        ] {
            let facts = RevocationFacts {
                wish,
                entry,
                same_reason,
                accepted_before,
                ..PLAIN
            };
            assert_eq!(decide(&facts), expected, "{facts:?}");
        }
    }

    #[test]
    fn a_new_entry_needs_a_date_that_a_crl_can_carry_and_a_certificate_that_has_not_ended() {
        use AcceptedReason::*;
        for (date_is_valid, has_ended, expected) in [
            (false, false, InvalidityDateInvalid),
            (false, true, InvalidityDateInvalid),
            (true, true, CertificateEnded),
        ] {
            let facts = RevocationFacts {
                date_is_valid,
                has_ended,
                ..PLAIN
            };
            assert_eq!(decide(&facts), RevocationStep::Refuse(expected));
            // What is stored already stays stored.
            let stored = RevocationFacts {
                entry: EntryFact::Final,
                same_reason: true,
                ..facts
            };
            assert_eq!(decide(&stored), RevocationStep::ConfirmStored);
        }
    }

    #[test]
    fn a_certificate_is_revoked_once_its_renewal_is_over_and_not_before() {
        use AcceptedReason::*;
        for (renewal, expected) in [
            (Renewal::NotWanted, RevocationStep::Store),
            (Renewal::Unowned, RevocationStep::Refuse(NothingToRenew)),
            (Renewal::Due, RevocationStep::Renew),
            (Renewal::InProgress, RevocationStep::Wait(Renewing)),
            (Renewal::Over, RevocationStep::Store),
        ] {
            let facts = RevocationFacts { renewal, ..PLAIN };
            assert_eq!(decide(&facts), expected, "{renewal:?}");
        }
    }
}
