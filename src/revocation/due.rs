//! When a CRL is due, and whether the stored state may be signed at all. Pure.

use jiff::{SignedDuration, Timestamp};

use super::head::{RegisterHead, StoredCrl};
use crate::issuance::crl::CrlRules;

/// Why a CRL is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CrlDue {
    /// There is none yet, or a newer one was imported.
    First,
    /// Entries have changed.
    Changed,
    /// It is old, or its thisUpdate is in the future because a clock was set back.
    Refresh,
    /// The issuers say something else than when it was made.
    Rules,
}

/// How far a thisUpdate may be ahead of this machine's clock.
const AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// Returns why a new CRL is due, or when the present one will be too old.
pub(super) fn due(
    head: Option<&RegisterHead>,
    rules: &CrlRules,
    partition: &[String],
    now: Timestamp,
) -> Result<CrlDue, Timestamp> {
    let Some((head, crl)) = head.and_then(|head| Some((head, head.crl.as_ref()?))) else {
        return Ok(CrlDue::First);
    };
    let validity = crl.this_update.duration_until(crl.next_update);
    let renew_at = crl.this_update.saturating_add(rules.refresh());
    let renew_at = renew_at.unwrap_or(crl.next_update).min(crl.next_update);
    if head.revision != crl.revision {
        Ok(CrlDue::Changed)
    } else if renew_at <= now || is_ahead(crl, now) {
        Ok(CrlDue::Refresh)
    } else if validity != rules.validity() || crl.partition != partition {
        Ok(CrlDue::Rules)
    } else {
        Err(renew_at)
    }
}

fn is_ahead(crl: &StoredCrl, now: Timestamp) -> bool {
    now.duration_until(crl.this_update) > AHEAD
}

/// The stored state is older than a CRL that was published: somebody has restored a backup or deleted the state, and a new CRL
/// would lack the revocations since then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the stored state ends at CRL {}, but CRL {published} was published; fetch that CRL and run `pkcs11-issuer crl import`",
    stored.map_or_else(|| "none".to_owned(), |number| number.to_string())
)]
pub struct StateOlderThanPublished {
    /// The highest number in the stored state; `None` without a state.
    pub stored: Option<u64>,
    /// The number of the published CRL.
    pub published: u64,
}

/// Compares the stored state with the highest number that this replica has seen on a CRL.
pub(super) fn check_age(
    stored: Option<&RegisterHead>,
    seen: Option<u64>,
) -> Result<(), StateOlderThanPublished> {
    let stored = stored
        .map(RegisterHead::highest)
        .filter(|highest| *highest > 0);
    match seen {
        Some(published) if stored.is_none_or(|stored| stored < published) => {
            Err(StateOlderThanPublished { stored, published })
        }
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{issuance::crl::Shards, revocation::tests::at};

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn rules(hours: i64) -> CrlRules {
        CrlRules::new(
            HOUR * 24,
            Some(HOUR * i32::try_from(hours).unwrap()),
            None,
            Shards::ONE,
        )
        .unwrap()
    }

    /// Returns a head whose CRL was made at the time 0, valid for a day.
    fn head(revision: u64) -> RegisterHead {
        let mut head = RegisterHead::new(1);
        head.revision = revision;
        head.reserved = 7;
        head.crl = Some(StoredCrl {
            number: 7,
            this_update: at(0),
            next_update: at(24 * 3600),
            revision: 3,
            partition: Vec::new(),
            sha256: String::new(),
            entries: 0,
            chunks: Vec::new(),
        });
        head
    }

    #[test]
    fn a_crl_is_due_when_there_is_none_entries_change_it_is_old_or_the_issuers_say_something_else()
    {
        let due = |head: Option<&RegisterHead>, rules: &CrlRules, seconds| {
            due(head, rules, &[], at(seconds))
        };
        assert_eq!(due(None, &rules(6), 0), Ok(CrlDue::First));
        assert_eq!(
            due(Some(&RegisterHead::new(1)), &rules(6), 0),
            Ok(CrlDue::First)
        );
        assert_eq!(
            due(Some(&head(3)), &rules(6), 6 * 3600 - 1),
            Err(at(6 * 3600))
        );
        assert_eq!(
            due(Some(&head(3)), &rules(6), 6 * 3600),
            Ok(CrlDue::Refresh)
        );
        assert_eq!(due(Some(&head(4)), &rules(6), 0), Ok(CrlDue::Changed));
        // The clock that made it was two minutes ahead of this one.
        assert_eq!(due(Some(&head(3)), &rules(6), -120), Ok(CrlDue::Refresh));
        assert_eq!(due(Some(&head(3)), &rules(6), -60), Err(at(6 * 3600)));
        let longer = CrlRules::new(HOUR * 48, Some(HOUR), None, Shards::ONE).unwrap();
        assert_eq!(due(Some(&head(3)), &longer, 0), Ok(CrlDue::Rules));
        let other = ["http://a.example/0.crl".to_owned()];
        assert_eq!(
            super::due(Some(&head(3)), &rules(6), &other, at(0)),
            Ok(CrlDue::Rules)
        );
    }

    #[test]
    fn a_state_without_the_number_that_was_published_is_too_old() {
        assert_eq!(check_age(None, None), Ok(()));
        assert_eq!(check_age(Some(&head(3)), None), Ok(()));
        assert_eq!(check_age(Some(&head(3)), Some(7)), Ok(()));
        let older = |stored, published| Err(StateOlderThanPublished { stored, published });
        assert_eq!(check_age(Some(&head(3)), Some(8)), older(Some(7), 8));
        assert_eq!(check_age(None, Some(8)), older(None, 8));
        assert_eq!(
            check_age(Some(&RegisterHead::new(1)), Some(8)),
            older(None, 8)
        );
        let error = StateOlderThanPublished {
            stored: None,
            published: 8,
        };
        assert_eq!(
            error.to_string(),
            "the stored state ends at CRL none, but CRL 8 was published; fetch that CRL and run `pkcs11-issuer crl import`"
        );
    }
}
