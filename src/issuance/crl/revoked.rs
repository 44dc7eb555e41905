//! One revoked certificate: its serial number, when and why.

use std::{fmt, str::FromStr};

use jiff::{SignedDuration, Timestamp};
use x509_cert::ext::pkix::CrlReason;

use super::SerialNumber;

/// Declares the reasons: the variants, their names in RFC 5280, and their codes.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident = $name:literal $code:literal,)+) => {
        /// Why a certificate is revoked (RFC 5280, section 5.3.1). `removeFromCRL` is missing: it belongs into delta CRLs only,
        /// and we make none.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum RevocationReason {
            $($(#[$doc])+ $variant,)+
        }

        impl RevocationReason {
            /// Every reason, in the order of their codes.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the name in RFC 5280.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                }
            }

            /// Returns the value of the ENUMERATED CRLReason.
            #[must_use]
            pub const fn code(self) -> u8 {
                match self {
                    $(Self::$variant => $code,)+
                }
            }
        }
    };
}

reasons! {
    /// No reason is given.
    Unspecified = "unspecified" 0,
    /// The subject's private key is known or suspected to be known to others.
    KeyCompromise = "keyCompromise" 1,
    /// The private key of a CA is known or suspected to be known to others.
    CaCompromise = "cACompromise" 2,
    /// The subject's name or other information has changed.
    AffiliationChanged = "affiliationChanged" 3,
    /// Another certificate replaces this one.
    Superseded = "superseded" 4,
    /// The certificate is no longer needed.
    CessationOfOperation = "cessationOfOperation" 5,
    /// The certificate is on hold. Only such a certificate can be released again.
    CertificateHold = "certificateHold" 6,
    /// A privilege in the certificate was withdrawn.
    PrivilegeWithdrawn = "privilegeWithdrawn" 9,
    /// The private key of an attribute authority is known or suspected to be known to others.
    AaCompromise = "aACompromise" 10,
}

impl From<RevocationReason> for CrlReason {
    fn from(reason: RevocationReason) -> Self {
        match reason {
            RevocationReason::Unspecified => Self::Unspecified,
            RevocationReason::KeyCompromise => Self::KeyCompromise,
            RevocationReason::CaCompromise => Self::CaCompromise,
            RevocationReason::AffiliationChanged => Self::AffiliationChanged,
            RevocationReason::Superseded => Self::Superseded,
            RevocationReason::CessationOfOperation => Self::CessationOfOperation,
            RevocationReason::CertificateHold => Self::CertificateHold,
            RevocationReason::PrivilegeWithdrawn => Self::PrivilegeWithdrawn,
            RevocationReason::AaCompromise => Self::AaCompromise,
        }
    }
}

impl RevocationReason {
    /// Returns the reason of an entry; `None` for removeFromCRL.
    pub(super) fn of(reason: CrlReason) -> Option<Self> {
        let mut all = Self::ALL.iter().copied();
        all.find(|known| CrlReason::from(*known) == reason)
    }
}

impl fmt::Display for RevocationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that is not the name of a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a reason for a revocation; RFC 5280, section 5.3.1 has the names, such as keyCompromise"
)]
pub struct UnknownRevocationReason;

/// Reads the name in RFC 5280.
impl FromStr for RevocationReason {
    type Err = UnknownRevocationReason;

    fn from_str(text: &str) -> Result<Self, UnknownRevocationReason> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == text)
            .ok_or(UnknownRevocationReason)
    }
}

/// A time that a CRL cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is before 1970, and CRLs carry no such time")]
pub struct RevokedError(Timestamp);

/// An entry of a CRL. Times are whole seconds from 1970 on, so a CRL can carry every value of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Revoked {
    serial: SerialNumber,
    at: Seconds,
    reason: RevocationReason,
    invalidity: Option<Seconds>,
}

/// A time of a CRL, since 1970. It takes half the room of a [`Timestamp`], and a register keeps many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Seconds(i64);

impl Seconds {
    /// Drops the fraction of a second.
    fn of(time: Timestamp) -> Result<Self, RevokedError> {
        match time < Timestamp::UNIX_EPOCH {
            true => Err(RevokedError(time)),
            false => Ok(Self(time.as_second())),
        }
    }

    fn time(self) -> Timestamp {
        Timestamp::UNIX_EPOCH + SignedDuration::from_secs(self.0)
    }
}

impl Revoked {
    /// Makes an entry; fractions of a second are dropped. `at` is the time of the revocation. `invalidity` is the time from
    /// which the key or the certificate is known or suspected to be bad (RFC 5280, section 5.3.2).
    ///
    /// # Errors
    ///
    /// A time is before 1970.
    pub fn new(
        serial: SerialNumber,
        at: Timestamp,
        reason: RevocationReason,
        invalidity: Option<Timestamp>,
    ) -> Result<Self, RevokedError> {
        Ok(Self {
            serial,
            at: Seconds::of(at)?,
            reason,
            invalidity: invalidity.map(Seconds::of).transpose()?,
        })
    }

    /// The serial number of the certificate.
    #[must_use]
    pub const fn serial(&self) -> &SerialNumber {
        &self.serial
    }

    /// When it was revoked.
    #[must_use]
    pub fn at(&self) -> Timestamp {
        self.at.time()
    }

    /// Why it was revoked.
    #[must_use]
    pub const fn reason(&self) -> RevocationReason {
        self.reason
    }

    /// Since when the key or the certificate is known or suspected to be bad.
    #[must_use]
    pub fn invalidity(&self) -> Option<Timestamp> {
        self.invalidity.map(Seconds::time)
    }
}

#[cfg(test)]
mod tests {
    use der::Encode as _;

    use super::*;

    #[test]
    fn names_and_codes_of_reasons_are_those_of_rfc_5280_without_remove_from_crl() {
        let all: Vec<_> = RevocationReason::ALL
            .iter()
            .map(|reason| (reason.as_str(), reason.code()))
            .collect();
        let expected = [
            ("unspecified", 0),
            ("keyCompromise", 1),
            ("cACompromise", 2),
            ("affiliationChanged", 3),
            ("superseded", 4),
            ("cessationOfOperation", 5),
            ("certificateHold", 6),
            ("privilegeWithdrawn", 9),
            ("aACompromise", 10),
        ];
        assert_eq!(all, expected);
        for &reason in RevocationReason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
            assert_eq!(RevocationReason::of(reason.into()), Some(reason));
            let der = CrlReason::from(reason).to_der().unwrap();
            assert_eq!(der, [10, 1, reason.code()]);
        }
        assert_eq!(RevocationReason::of(CrlReason::RemoveFromCRL), None);
        assert_eq!(
            "removeFromCRL".parse::<RevocationReason>(),
            Err(UnknownRevocationReason)
        );
    }

    #[test]
    fn times_of_an_entry_are_whole_seconds_from_1970_on() {
        let serial = SerialNumber::from_octets(&[1]).unwrap();
        let time = |milliseconds| Timestamp::from_millisecond(milliseconds).unwrap();
        let new =
            |at, invalidity| Revoked::new(serial, at, RevocationReason::Unspecified, invalidity);
        let revoked = new(time(1_999), Some(time(999))).unwrap();
        assert_eq!(revoked.at(), time(1_000));
        assert_eq!(revoked.invalidity(), Some(time(0)));
        assert_eq!(new(time(-1), None), Err(RevokedError(time(-1))));
        assert_eq!(
            new(time(0), Some(time(-1_000))),
            Err(RevokedError(time(-1_000)))
        );
        assert!(new(Timestamp::MAX, Some(Timestamp::MAX)).is_ok());
    }
}
