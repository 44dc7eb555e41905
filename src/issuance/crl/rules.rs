//! What an issuer says about the CRLs of its CA.

use jiff::SignedDuration;

use super::{CaId, SerialNumber, Shards};
use crate::issuance::{
    chain::{IssuerCertificate, NoCrlSign},
    profile::{HttpUrl, Profile},
};

/// Shortest and longest validity of a CRL, in hours.
const VALIDITY_HOURS: std::ops::RangeInclusive<i64> = 1..=2160;

/// Shortest time between two CRLs. Each costs a signature of the token.
const MIN_REFRESH: SignedDuration = SignedDuration::from_mins(1);

/// Why an issuer cannot have CRLs as it wants them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrlRulesError {
    /// A duration cannot be read.
    #[error("spec.crl.{field} {text:?} is not a duration; write for example 168h")]
    Duration {
        /// The field.
        field: &'static str,
        /// Its text.
        text: String,
    },
    /// The validity is too short or too long.
    #[error("spec.crl.validity is {0:#}; use 1h to 2160h")]
    Validity(SignedDuration),
    /// A CRL would end before the next one is signed, or the token would sign all the time.
    #[error(
        "spec.crl.refresh is {refresh:#}; use at least {MIN_REFRESH:#} and less than the validity of {validity:#}"
    )]
    Refresh {
        /// The time between two CRLs.
        refresh: SignedDuration,
        /// The validity.
        validity: SignedDuration,
    },
    /// The URL cannot be the beginning of the URL of a CRL.
    #[error("spec.crl.url {0:?} is not an http:// URL without query and fragment")]
    Url(String),
    /// The number of shards is not supported.
    #[error("spec.crl.shards")]
    Shards(#[source] super::ShardsError),
    /// Certificates could not name the CRL of their shard.
    #[error(
        "spec.crl.shards is above 1 and spec.crl.url is not set; a certificate must name the CRL of its shard"
    )]
    ShardsWithoutUrl,
    /// The certificates say that they are never revoked (RFC 9608, section 4).
    #[error(
        "spec.crl cannot be combined with spec.profile.extensions.noRevAvail: either there is revocation or there is none"
    )]
    NoRevAvail,
    /// The CA certificate does not allow its key to sign CRLs.
    #[error(transparent)]
    NoCrlSign(#[from] NoCrlSign),
}

/// Rules for the CRLs of a CA that do not contradict each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlRules {
    validity: SignedDuration,
    refresh: SignedDuration,
    url: Option<HttpUrl>,
    shards: Shards,
}

impl CrlRules {
    /// Checks the rules. Without `refresh`, a CRL is renewed after a seventh of its validity.
    ///
    /// # Errors
    ///
    /// The first rule that is wrong by itself or contradicts another one.
    pub fn new(
        validity: SignedDuration,
        refresh: Option<SignedDuration>,
        url: Option<HttpUrl>,
        shards: Shards,
    ) -> Result<Self, CrlRulesError> {
        let [shortest, longest] = [VALIDITY_HOURS.start(), VALIDITY_HOURS.end()]
            .map(|hours| SignedDuration::from_hours(*hours));
        if validity < shortest || validity > longest {
            return Err(CrlRulesError::Validity(validity));
        }
        let refresh = refresh.unwrap_or(validity / 7);
        if refresh < MIN_REFRESH || refresh >= validity {
            return Err(CrlRulesError::Refresh { refresh, validity });
        }
        if let Some(url) = url.as_ref().filter(|url| url.as_str().contains(['?', '#'])) {
            return Err(CrlRulesError::Url(url.as_str().to_owned()));
        }
        if shards.are_partitions() && url.is_none() {
            return Err(CrlRulesError::ShardsWithoutUrl);
        }
        Ok(Self {
            validity,
            refresh,
            url,
            shards,
        })
    }

    /// Checks that the profile does not deny revocation, and that the CA certificate allows CRLs.
    ///
    /// # Errors
    ///
    /// [`CrlRulesError::NoRevAvail`] or [`CrlRulesError::NoCrlSign`].
    pub fn check(
        &self,
        profile: &Profile,
        issuing: &IssuerCertificate,
    ) -> Result<(), CrlRulesError> {
        if profile.denies_revocation() {
            return Err(CrlRulesError::NoRevAvail);
        }
        issuing.check_crl_sign()?;
        Ok(())
    }

    /// The time from thisUpdate to nextUpdate.
    #[must_use]
    pub const fn validity(&self) -> SignedDuration {
        self.validity
    }

    /// The time after which a CRL is followed by a new one, although no certificate was revoked.
    #[must_use]
    pub const fn refresh(&self) -> SignedDuration {
        self.refresh
    }

    /// The number of shards.
    #[must_use]
    pub const fn shards(&self) -> Shards {
        self.shards
    }

    /// Returns the URL of the CRL of a shard, `<url>/<CA>/<shard>.crl`; `None` if certificates carry no URL.
    #[must_use]
    pub fn url_of_shard(&self, ca: &CaId, shard: u16) -> Option<HttpUrl> {
        let url = self.url.as_ref()?;
        Some(url.below(&format!("{ca}/{shard}.crl")))
    }

    /// Returns the URL of the CRL that lists the certificate if it is revoked; `None` if certificates carry no URL.
    #[must_use]
    pub fn url_of(&self, ca: &CaId, serial: &SerialNumber) -> Option<HttpUrl> {
        self.url_of_shard(ca, self.shards.of(serial))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(
        minutes: i64,
        refresh: Option<i64>,
        url: Option<&str>,
        shards: u16,
    ) -> Result<CrlRules, CrlRulesError> {
        CrlRules::new(
            SignedDuration::from_mins(minutes),
            refresh.map(SignedDuration::from_mins),
            url.map(|url| url.parse().unwrap()),
            shards.try_into().unwrap(),
        )
    }

    #[test]
    fn a_crl_is_renewed_after_a_seventh_of_its_validity_unless_the_issuer_says_otherwise() {
        let default = rules(7 * 24 * 60, None, None, 1).unwrap();
        assert_eq!(default.refresh(), SignedDuration::from_hours(24));
        assert_eq!(default.validity(), SignedDuration::from_hours(168));
        let explicit = rules(60, Some(59), None, 1).unwrap();
        assert_eq!(explicit.refresh(), SignedDuration::from_mins(59));
    }

    #[test]
    fn rules_that_contradict_each_other_are_refused() {
        let minutes = SignedDuration::from_mins;
        let refresh = |refresh| CrlRulesError::Refresh {
            refresh: minutes(refresh),
            validity: minutes(60),
        };
        for (found, expected) in [
            (
                rules(59, None, None, 1),
                CrlRulesError::Validity(minutes(59)),
            ),
            (
                rules(129_601, None, None, 1),
                CrlRulesError::Validity(minutes(129_601)),
            ),
            (rules(60, Some(60), None, 1), refresh(60)),
            (rules(60, Some(0), None, 1), refresh(0)),
            (rules(60, Some(-5), None, 1), refresh(-5)),
            (
                rules(60, None, Some("http://a.example/?crl="), 1),
                CrlRulesError::Url("http://a.example/?crl=".to_owned()),
            ),
            (
                rules(60, None, Some("http://a.example/#crl"), 1),
                CrlRulesError::Url("http://a.example/#crl".to_owned()),
            ),
            (rules(60, None, None, 2), CrlRulesError::ShardsWithoutUrl),
        ] {
            assert_eq!(found, Err(expected));
        }
        for found in [
            rules(129_600, None, None, 1),
            rules(60, Some(1), None, 1),
            rules(60, None, Some("http://a.example"), 256),
        ] {
            assert!(found.is_ok(), "{found:?}");
        }
    }

    #[test]
    fn a_certificate_names_the_crl_of_its_shard() {
        let ca: CaId = "00112233445566778899aabbccddeeff".parse().unwrap();
        let serial = SerialNumber::from_octets(&[1]).unwrap();
        let url = |url, shards| rules(60, None, url, shards).unwrap().url_of(&ca, &serial);
        for base in ["http://a.example/crl", "http://a.example/crl/"] {
            assert_eq!(
                url(Some(base), 16).unwrap().as_str(),
                "http://a.example/crl/00112233445566778899aabbccddeeff/15.crl"
            );
        }
        assert_eq!(
            url(Some("http://a.example"), 1).unwrap().as_str(),
            "http://a.example/00112233445566778899aabbccddeeff/0.crl"
        );
        assert_eq!(url(None, 1), None);
    }
}
