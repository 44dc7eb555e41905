//! Reasons of an issuer's conditions: stable words, each explained in `docs/issuers.md`.

use std::fmt;

/// Declares the reasons: the variants, their words and the list of all.
macro_rules! reasons {
    ($($(#[$doc:meta])+ $variant:ident,)+) => {
        /// Reason of an issuer's condition.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Reason {
            $($(#[$doc])+ $variant,)+
        }

        impl Reason {
            /// Every reason, in the order of `docs/issuers.md`.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Returns the word in the condition, the Event and the metric.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => stringify!($variant),)+
                }
            }
        }
    };
}

reasons! {
    /// Ready: a signature by the token verifies under the issuing certificate.
    Verified,
    /// The operator's configuration has no such token.
    TokenUnknown,
    /// No grant lets issuers of this namespace use the token.
    NotGranted,
    /// A part of the spec is larger than its schema allows.
    SpecInvalid,
    /// The token is absent, its worker restarts, or it does not answer.
    TokenUnavailable,
    /// The library, or the choice of the token, must be corrected in the operator's configuration.
    TokenMisconfigured,
    /// The token answers and refuses the operation.
    TokenRefused,
    /// There is no login: the PIN was rejected, or must not be tried.
    LoginRefused,
    /// The token takes its PIN from its issuers, and this issuer names none.
    PinRequired,
    /// The issuer names a PIN that the token does not take from it.
    PinNotTaken,
    /// Two issuers of one token name different PINs.
    PinConflict,
    /// The certificate's Secret or ConfigMap, or the key in it, is missing.
    CertificateMissing,
    /// The API server does not let the controller read the certificate.
    CertificateUnreadable,
    /// The operator grants the key with other issuing certificates.
    CertificateNotGranted,
    /// The certificate cannot issue, or the chain is not a chain.
    CertificateInvalid,
    /// A certificate of the chain has expired.
    CertificateExpired,
    /// A certificate of the chain is not valid yet.
    CertificateNotYetValid,
    /// `ca: Root` is set and there is no root.
    RootMissing,
    /// The selection of the key is malformed.
    KeyInvalid,
    /// No key that the issuer may use matches.
    KeyNotFound,
    /// The key does not belong to the certificate.
    KeyMismatch,
    /// Several keys match.
    KeyAmbiguous,
    /// The key cannot sign certificates here.
    KeyUnusable,
    /// The key is not protected as the operator requires.
    KeyUnprotected,
    /// The key signs the checkpoints of the issuance log.
    KeyForCheckpoints,
    /// The profile contradicts itself or the grant.
    ProfileInvalid,
    /// `spec.crl` contradicts itself or the profile.
    CrlInvalid,
    /// CRLs are wanted, and the CA certificate does not allow its key to sign them.
    CrlSignMissing,
    /// CRLs are wanted, and the operator has not enabled them.
    CrlDisabled,
    /// An earlier issuer of the same CA says something else about its CRLs.
    CrlConflict,
    /// `spec.podCertificates` cannot be honoured.
    PodCertificatesInvalid,
    /// `spec.namespaceSelector` cannot be honoured.
    NamespaceSelectorInvalid,
    /// The labels of the issuer's namespace, on which a grant depends, cannot be read.
    NamespaceUnreadable,
    /// The key does not support the algorithm.
    AlgorithmUnsupported,
    /// The token made no probe signature.
    ProbeFailed,
    /// `spec.next` was removed after the switch to it.
    RolloverUndone,
    /// An internal rule of the controller was broken.
    Internal,
    /// `CAExpiringSoon` is True.
    ExpiresSoon,
    /// `CAExpiringSoon` is True: the chain ends before a certificate of the default duration would.
    ShorterThanProfile,
    /// `CAExpiringSoon` is False.
    NotExpiringSoon,
    /// `CRLPublished` is True.
    CrlPublished,
    /// A CRL has not been published yet, or has ended.
    CrlMissing,
    /// The stored state is older than a published CRL.
    StateOlderThanPublished,
    /// CRLs are due and cannot be made.
    CrlNotRenewed,
    /// `CRLBundleComplete` is True.
    CrlBundleComplete,
    /// The bundle lacks a CRL.
    CrlBundleIncomplete,
    /// `RollingOver` is True: the next key is not proved, or its root not published.
    NextNotProved,
    /// `RollingOver` is True: both CAs are trusted, and the present key signs.
    NextTrusted,
    /// `RollingOver` is True: the switch is due and cannot happen.
    SwitchDelayed,
    /// `RollingOver` is True: the next key signs, and both CAs are trusted.
    SwitchedToNext,
    /// `RollingOver` is False: only the next CA is trusted.
    RolloverComplete,
}

impl Reason {
    /// Returns the reason with this word.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.as_str() == word)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page that explains every reason.
    const PAGE: &str = include_str!("../../../docs/issuers.md");

    /// Returns the rows of the page's tables of reasons, as cells.
    fn rows() -> Vec<Vec<&'static str>> {
        let rows = PAGE.lines().filter(|line| line.starts_with("| `"));
        let cells = |row: &'static str| row.trim_matches('|').split('|').map(str::trim).collect();
        rows.map(cells)
            .filter(|cells: &Vec<_>| cells.len() == 4)
            .collect()
    }

    #[test]
    fn the_page_explains_every_reason_with_its_meaning_who_acts_and_what_to_do() {
        let rows = rows();
        let explained: Vec<_> = rows.iter().map(|row| row[0].trim_matches('`')).collect();
        let reasons: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert_eq!(explained, reasons);
        for row in rows {
            assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        }
    }

    #[test]
    fn each_reason_is_a_distinct_word_that_the_api_server_accepts() {
        let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        assert!(words.iter().all(|word| {
            word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.chars().all(|c| c.is_ascii_alphabetic())
        }));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Reason::ALL.len());
    }
}
