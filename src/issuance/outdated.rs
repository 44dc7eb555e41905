//! Judges whether an issuer would issue a certificate today as it was issued.

use const_oid::db::rfc5280::ID_CE_AUTHORITY_KEY_IDENTIFIER;
use der::Decode as _;
use jiff::{SignedDuration, Timestamp};
use x509_cert::ext::pkix::AuthorityKeyIdentifier;

use super::{
    Issuer,
    chain::IssuerCertificate,
    key::PublicKey,
    pem::{self, PemError},
    raw::{SignedFrame, Tbs},
};

/// How much longer than its duration a certificate may be valid: cert-manager and verifiers count the last second
/// differently.
const TOLERANCE: SignedDuration = SignedDuration::from_secs(1);

/// A certificate that was issued, as far as its renewal depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IssuedEarlier {
    /// Start of its validity.
    pub not_before: Timestamp,
    /// Why it should be renewed; `None` if the issuer would issue it again.
    pub outdated: Option<Outdated>,
}

/// Reason why a certificate should be renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outdated {
    /// Another CA issued it.
    OtherCa,
    /// It lives longer than the profile or the grant allows now.
    TooLong,
    /// The profile does not certify its key any more.
    KeyRefused,
    /// It came without a root that is published now.
    LacksRoot,
}

/// Reason why a text is not a certificate.
#[derive(Debug, thiserror::Error)]
pub enum EarlierError {
    /// The text is not PEM.
    #[error("not PEM")]
    Pem(#[source] PemError),
    /// The first block is not a certificate.
    #[error("not the DER encoding of an X.509 certificate")]
    Encoding(#[source] der::Error),
    /// Its validity cannot be represented.
    #[error("its validity is out of range")]
    Validity,
}

impl IssuedEarlier {
    /// Judges the first certificate of a PEM text. The certificate is not verified: the only consequence is a renewal.
    ///
    /// # Errors
    ///
    /// The text does not begin with a well encoded certificate.
    pub fn judge(chain_pem: &[u8], issuer: &Issuer) -> Result<Self, EarlierError> {
        let read = pem::scan(chain_pem).map_err(EarlierError::Pem)?;
        let block = read.blocks.into_iter().next();
        let block = block.ok_or(EarlierError::Pem(PemError::NoBlock))?;
        let signed = SignedFrame::parse(&block.der).map_err(EarlierError::Encoding)?;
        let tbs = Tbs::parse(signed.to_be_signed).map_err(EarlierError::Encoding)?;
        let time = |time: x509_cert::time::Time| {
            let seconds = i64::try_from(time.to_unix_duration().as_secs()).ok();
            let seconds = seconds.ok_or(EarlierError::Validity)?;
            Ok(Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX))
        };
        let (not_before, not_after) = (time(tbs.not_before)?, time(tbs.not_after)?);
        let longest = issuer.profile().longest().saturating_add(TOLERANCE);
        let refused = || match PublicKey::parse(tbs.spki) {
            Ok(key) => !issuer.profile().certifies(&key),
            Err(_) => true,
        };
        let outdated = if !is_by(&tbs, issuer.chain().issuing()) {
            Some(Outdated::OtherCa)
        } else if not_after.duration_since(not_before) > longest {
            Some(Outdated::TooLong)
        } else if refused() {
            Some(Outdated::KeyRefused)
        } else {
            None
        };
        Ok(Self {
            not_before,
            outdated,
        })
    }
}

/// Returns whether a certificate names this CA: its subject and, if both have one, its key identifier.
fn is_by(tbs: &Tbs<'_>, ca: &IssuerCertificate) -> bool {
    let identifier = tbs.extensions.iter().find_map(|extension| {
        let is_authority = extension.extn_id == ID_CE_AUTHORITY_KEY_IDENTIFIER;
        let octets = is_authority.then(|| extension.extn_value.as_bytes())?;
        AuthorityKeyIdentifier::from_der(octets)
            .ok()?
            .key_identifier
    });
    tbs.issuer == ca.subject_der()
        && identifier.is_none_or(|identifier| identifier.as_bytes() == ca.authority_key_id())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures::FutureExt as _;

    use super::{
        super::{
            Limits, PreparedCertificate, Profile, Rules, Serial, VerifiedCsr,
            profile::{KeyRules, ValidityRules},
            testing::*,
        },
        *,
    };

    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    fn issuer(ca: &Authority, longest: SignedDuration, p256: bool) -> Issuer {
        let rules = Rules {
            validity: ValidityRules {
                max: longest,
                default: longest,
                ..ValidityRules::default()
            },
            keys: KeyRules {
                p256,
                ..KeyRules::default()
            },
            ..Rules::default()
        };
        let profile = Profile::new(rules, Limits::default()).unwrap();
        Issuer::new(ca.chain(), profile, None).unwrap()
    }

    /// Issues a certificate of the issuer's default duration.
    fn issue(ca: &Authority, issuer: Issuer) -> String {
        let key = TestKey::p256();
        let request = Request::new("leaf", &key).names(&[(0x82, b"a.example")]);
        let csr = VerifiedCsr::parse(request.pem(&key).as_bytes()).unwrap();
        let issuer = Arc::new(issuer);
        let params = issuer.profile().admit(&csr, &DEFAULT).unwrap();
        let (now, serial) = (at(1_700_000_000), Serial::from_random([0x5a; 16]));
        let prepared = PreparedCertificate::prepare(&params, &issuer, now, serial).unwrap();
        let issued = prepared.issue(ca.key()).now_or_never().unwrap().unwrap();
        issued.certificate_pem()
    }

    #[test]
    fn a_certificate_is_outdated_if_its_issuer_would_not_issue_it_again() {
        let ca = Authority::root("root");
        let pem = issue(&ca, issuer(&ca, HOUR * 2, true));
        // The same name and another key, as after a rollover.
        let other = Authority::builder("root").without_subject_key_id().root();
        let renamed = Authority::builder("other").key(ca.key()).root();
        for (issuer, expected) in [
            (issuer(&ca, HOUR * 2, true), None),
            (issuer(&ca, HOUR * 3, true), None),
            (issuer(&ca, HOUR, true), Some(Outdated::TooLong)),
            (issuer(&ca, HOUR * 2, false), Some(Outdated::KeyRefused)),
            (issuer(&other, HOUR * 2, true), Some(Outdated::OtherCa)),
            (issuer(&renamed, HOUR * 2, true), Some(Outdated::OtherCa)),
        ] {
            let judged = IssuedEarlier::judge(pem.as_bytes(), &issuer).unwrap();
            assert_eq!(judged.outdated, expected);
            assert!(judged.not_before <= at(1_700_000_000));
        }
    }

    #[test]
    fn a_text_that_is_no_certificate_is_an_error() {
        let ca = Authority::root("root");
        let issuer = issuer(&ca, HOUR, true);
        let judge = |text: &str| IssuedEarlier::judge(text.as_bytes(), &issuer);
        assert!(matches!(judge(""), Err(EarlierError::Pem(_))));
        let empty = pem::encode("CERTIFICATE", b"0");
        assert!(matches!(judge(&empty), Err(EarlierError::Encoding(_))));
    }
}
