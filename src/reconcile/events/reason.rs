//! The reasons of our Events: stable words, each explained in `docs/events.md`.

use crate::api::issuer::Reason;

/// Reason of an Event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventReason {
    /// A request has its certificate.
    Issued,
    /// The request is refused; only a new request can help.
    Refused,
    /// An approver denied the request.
    Denied,
    /// The request's issuer does not exist.
    IssuerNotFound,
    /// The request's issuer cannot sign.
    IssuerNotReady,
    /// The request could not be signed this time.
    SigningDelayed,
    /// Nobody has approved or denied the request.
    Undecided,
    /// An issuer can sign.
    Ready,
    /// An issuer cannot sign, for the reason of its condition.
    NotReady(Reason),
    /// An issuer's certificate ends soon.
    CAExpiringSoon,
    /// The CRLs of an issuer's CA need attention, for the reason of the condition.
    Crl(Reason),
    /// An issuer's chain ends before a certificate of the default duration would.
    CAShorterThanProfile,
    /// A step of a rollover, by the reason of its condition.
    Rollover(Reason),
    /// An issuer has a new certificate for the same key.
    CertificateRenewed,
    /// An issuer has another key, without a rollover.
    KeyReplaced,
    /// `spec.next` has become `spec.certificate`.
    RolloverFinished,
    /// `spec.next` was removed before the switch.
    RolloverWithdrawn,
}

impl EventReason {
    /// The reasons of Events about requests.
    #[cfg(test)]
    pub(crate) const OF_REQUESTS: [Self; 7] = [
        Self::Issued,
        Self::Refused,
        Self::Denied,
        Self::IssuerNotFound,
        Self::IssuerNotReady,
        Self::SigningDelayed,
        Self::Undecided,
    ];

    /// The reasons of Events about issuers that are not the reason of a condition.
    #[cfg(test)]
    pub(crate) const OF_ISSUERS: [Self; 4] = [
        Self::CertificateRenewed,
        Self::KeyReplaced,
        Self::RolloverFinished,
        Self::RolloverWithdrawn,
    ];

    /// Returns the reason of the Event about an issuer whose condition now has this reason. `None` if all is well, or if it
    /// passes by itself.
    #[must_use]
    pub(crate) const fn of_condition(reason: Reason) -> Option<Self> {
        match reason {
            Reason::Verified => Some(Self::Ready),
            Reason::ExpiresSoon => Some(Self::CAExpiringSoon),
            Reason::NotExpiringSoon
            | Reason::CrlPublished
            | Reason::CrlMissing
            | Reason::CrlBundleComplete => None,
            Reason::StateOlderThanPublished
            | Reason::CrlNotRenewed
            | Reason::CrlBundleIncomplete => Some(Self::Crl(reason)),
            Reason::ShorterThanProfile => Some(Self::CAShorterThanProfile),
            Reason::NextNotProved
            | Reason::NextTrusted
            | Reason::SwitchDelayed
            | Reason::SwitchedToNext
            | Reason::RolloverComplete => Some(Self::Rollover(reason)),
            Reason::TokenUnknown
            | Reason::NotGranted
            | Reason::SpecInvalid
            | Reason::TokenUnavailable
            | Reason::TokenMisconfigured
            | Reason::TokenRefused
            | Reason::LoginRefused
            | Reason::PinRequired
            | Reason::PinNotTaken
            | Reason::PinConflict
            | Reason::CertificateMissing
            | Reason::CertificateUnreadable
            | Reason::CertificateNotGranted
            | Reason::CertificateInvalid
            | Reason::CertificateExpired
            | Reason::CertificateNotYetValid
            | Reason::RootMissing
            | Reason::KeyInvalid
            | Reason::KeyNotFound
            | Reason::KeyMismatch
            | Reason::KeyAmbiguous
            | Reason::KeyUnusable
            | Reason::KeyUnprotected
            | Reason::KeyForCheckpoints
            | Reason::ProfileInvalid
            | Reason::CrlInvalid
            | Reason::CrlSignMissing
            | Reason::CrlDisabled
            | Reason::CrlConflict
            | Reason::PodCertificatesInvalid
            | Reason::NamespaceSelectorInvalid
            | Reason::NamespaceUnreadable
            | Reason::AlgorithmUnsupported
            | Reason::ProbeFailed
            | Reason::RolloverUndone
            | Reason::Internal => Some(Self::NotReady(reason)),
        }
    }

    /// Returns the word in the Event.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Issued => "Issued",
            Self::Refused => "Refused",
            Self::Denied => "Denied",
            Self::IssuerNotFound => "IssuerNotFound",
            Self::IssuerNotReady => "IssuerNotReady",
            Self::SigningDelayed => "SigningDelayed",
            Self::Undecided => "Undecided",
            Self::Ready => "Ready",
            Self::NotReady(reason) | Self::Crl(reason) | Self::Rollover(reason) => reason.as_str(),
            Self::CAExpiringSoon => "CAExpiringSoon",
            Self::CAShorterThanProfile => "CAShorterThanProfile",
            Self::CertificateRenewed => "CertificateRenewed",
            Self::KeyReplaced => "KeyReplaced",
            Self::RolloverFinished => "RolloverFinished",
            Self::RolloverWithdrawn => "RolloverWithdrawn",
        }
    }

    /// Returns the word of the issuance log for a change in the life of an issuer's CA; `None` for anything else.
    #[must_use]
    pub(crate) const fn ca_change(self) -> Option<&'static str> {
        match self {
            Self::Rollover(Reason::NextTrusted) => Some("next-trusted"),
            Self::Rollover(Reason::SwitchedToNext) => Some("switched-to-next"),
            Self::Rollover(Reason::RolloverComplete) => Some("rollover-complete"),
            Self::CertificateRenewed => Some("certificate-renewed"),
            Self::KeyReplaced => Some("key-replaced"),
            Self::RolloverFinished => Some("rollover-finished"),
            Self::RolloverWithdrawn => Some("rollover-withdrawn"),
            Self::Issued
            | Self::Refused
            | Self::Denied
            | Self::IssuerNotFound
            | Self::IssuerNotReady
            | Self::SigningDelayed
            | Self::Undecided
            | Self::Ready
            | Self::NotReady(_)
            | Self::CAExpiringSoon
            | Self::CAShorterThanProfile
            | Self::Crl(_)
            | Self::Rollover(_) => None,
        }
    }

    /// Returns whether the Event reports a problem.
    #[must_use]
    pub(crate) const fn is_warning(self) -> bool {
        match self {
            Self::Issued
            | Self::Ready
            | Self::CertificateRenewed
            | Self::KeyReplaced
            | Self::RolloverFinished
            | Self::RolloverWithdrawn => false,
            Self::Rollover(reason) => {
                matches!(reason, Reason::NextNotProved | Reason::SwitchDelayed)
            }
            Self::Refused
            | Self::Denied
            | Self::IssuerNotFound
            | Self::IssuerNotReady
            | Self::SigningDelayed
            | Self::Undecided
            | Self::NotReady(_)
            | Self::CAExpiringSoon
            | Self::CAShorterThanProfile
            | Self::Crl(_) => true,
        }
    }

    /// Returns the Event's `type`.
    #[must_use]
    pub(crate) const fn type_(self) -> &'static str {
        match self.is_warning() {
            true => "Warning",
            false => "Normal",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that explains every reason.
    const PAGE: &str = include_str!("../../../docs/events.md");
    /// The page that explains the reasons of conditions.
    const CONDITIONS: &str = include_str!("../../../docs/issuers.md");

    /// Returns the rows of a page's tables of reasons, each as its cells.
    fn rows(page: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
        let rows = page.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.trim_matches('|').split('|').map(str::trim).collect())
    }

    /// Returns every reason, in the order of the enums.
    fn all() -> impl Iterator<Item = EventReason> {
        let of_issuers = Reason::ALL
            .iter()
            .copied()
            .filter_map(EventReason::of_condition);
        EventReason::OF_REQUESTS
            .into_iter()
            .chain(of_issuers)
            .chain(EventReason::OF_ISSUERS)
    }

    #[test]
    fn the_page_has_every_reason_with_its_type_and_what_to_do_and_no_other() {
        let explained: Vec<_> = rows(PAGE)
            .map(|cells| {
                assert!(cells.len() == 4, "{cells:?}");
                assert!(cells.iter().all(|cell| !cell.is_empty()), "{cells:?}");
                (cells[0].trim_matches('`'), cells[1])
            })
            .collect();
        let written: Vec<_> = all().map(|r| (r.as_str(), r.type_())).collect();
        assert_eq!(explained, written);
    }

    #[test]
    fn events_and_conditions_of_an_issuer_say_what_to_do_in_the_same_words() {
        let same = |reason: Reason| {
            let told = EventReason::of_condition(reason)?;
            let find = |page, word| rows(page).find(|cells| cells[0].trim_matches('`') == word);
            let event = find(PAGE, told.as_str())?;
            let condition = find(CONDITIONS, reason.as_str())?;
            assert_eq!(event[2..], [condition[1], condition[3]], "{reason}");
            Some(reason)
        };
        let not_ready = Reason::ALL.iter().copied().filter(|reason| {
            matches!(
                EventReason::of_condition(*reason),
                Some(EventReason::NotReady(_) | EventReason::Crl(_))
            )
        });
        assert_eq!(not_ready.filter_map(same).count(), Reason::ALL.len() - 12);
    }

    #[test]
    fn no_two_reasons_have_the_same_word() {
        let mut words: Vec<_> = all().map(EventReason::as_str).collect();
        words.sort_unstable();
        let count = words.len();
        words.dedup();
        assert_eq!(words.len(), count);
    }
}
