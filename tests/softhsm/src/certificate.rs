//! CA certificates signed on a token, correct and incorrect ones.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams,
    DistinguishedName, DnType, IsCa, Issuer, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

use crate::{
    Error, TestKey, TestToken,
    order::{Report, Task, run},
};

/// Content of a certificate. By default it is valid from an hour ago for a year.
///
/// ```
/// use softhsm_test_helpers::CaProfile;
/// let expired = CaProfile::named("Old CA").expired();
/// let no_ca = CaProfile::named("A server").not_a_ca();
/// # drop((expired, no_ca));
/// ```
#[derive(Clone, Debug)]
pub struct CaProfile {
    common_name: String,
    valid_from: Duration,
    valid_to: Duration,
    ca: bool,
    crl_sign: bool,
    path_length: Option<u8>,
}

impl CaProfile {
    /// Describes a CA whose subject has only this common name.
    #[must_use]
    pub fn named(common_name: &str) -> Self {
        Self {
            common_name: common_name.into(),
            valid_from: Duration::hours(-1),
            valid_to: Duration::hours(365 * 24),
            ca: true,
            crl_sign: true,
            path_length: None,
        }
    }

    /// Sets the validity, in hours from now; negative hours are in the past.
    #[must_use]
    pub fn valid_hours(self, from: i64, to: i64) -> Self {
        Self {
            valid_from: Duration::hours(from),
            valid_to: Duration::hours(to),
            ..self
        }
    }

    /// Lets the validity end in this many seconds.
    #[must_use]
    pub fn ends_in_seconds(self, seconds: i64) -> Self {
        Self {
            valid_to: Duration::seconds(seconds),
            ..self
        }
    }

    /// Lets the validity end an hour ago.
    #[must_use]
    pub fn expired(self) -> Self {
        self.valid_hours(-48, -1)
    }

    /// Leaves out `cA` and `keyCertSign`.
    #[must_use]
    pub fn not_a_ca(self) -> Self {
        Self { ca: false, ..self }
    }

    /// Leaves out `cRLSign`.
    #[must_use]
    pub fn without_crl_sign(self) -> Self {
        Self {
            crl_sign: false,
            ..self
        }
    }

    /// Sets `pathLenConstraint`.
    #[must_use]
    pub fn path_length(self, length: u8) -> Self {
        Self {
            path_length: Some(length),
            ..self
        }
    }

    fn params(&self) -> CertificateParams {
        let Self {
            common_name,
            valid_from,
            valid_to,
            ca,
            crl_sign,
            path_length,
        } = self;
        let now = OffsetDateTime::now_utc();
        let mut params = CertificateParams::default();
        params.not_before = now + *valid_from;
        params.not_after = now + *valid_to;
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name.as_str());
        params.use_authority_key_identifier_extension = true;
        if *ca {
            params.is_ca = IsCa::Ca(path_length.map_or(
                BasicConstraints::Unconstrained,
                BasicConstraints::Constrained,
            ));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            if *crl_sign {
                params.key_usages.push(KeyUsagePurpose::CrlSign);
            }
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        }
        params
    }
}

/// Certificate with its subject's key, which is on the token.
#[derive(Debug)]
pub struct CaCertificate {
    key: TestKey,
    profile: CertificateParams,
    certificate: Certificate,
}

impl TestKey {
    /// Makes a root certificate, signed by its own key.
    ///
    /// # Errors
    /// The token refuses to sign.
    pub fn self_signed(&self, profile: &CaProfile) -> Result<CaCertificate, Error> {
        let profile = profile.params();
        let certificate = profile.self_signed(self).map_err(Error::Certificate)?;
        Ok(CaCertificate {
            key: self.clone(),
            profile,
            certificate,
        })
    }
}

impl CaCertificate {
    /// Makes a certificate for `key`, signed on the token by this certificate's key.
    ///
    /// # Errors
    /// The token refuses to sign.
    pub fn issue(&self, key: &TestKey, profile: &CaProfile) -> Result<Self, Error> {
        let profile = profile.params();
        let issuer = Issuer::from_params(&self.profile, &self.key);
        let certificate = profile
            .signed_by(key, &issuer)
            .map_err(Error::Certificate)?;
        Ok(Self {
            key: key.clone(),
            profile,
            certificate,
        })
    }

    /// Makes a CRL, signed on the token by this certificate's key, and returns its DER.
    ///
    /// # Errors
    /// The token refuses to sign.
    pub fn crl(&self, content: &CertificateRevocationListParams) -> Result<Vec<u8>, Error> {
        let issuer = Issuer::from_params(&self.profile, &self.key);
        let crl = content.signed_by(&issuer).map_err(Error::Certificate)?;
        Ok(crl.der().to_vec())
    }

    /// Returns the certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Returns the certificate in DER.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// Returns the certificate's subject key.
    #[must_use]
    pub fn key(&self) -> &TestKey {
        &self.key
    }
}

impl TestToken {
    /// Puts certificates on the token, which does not read them. Everybody sees them.
    ///
    /// # Errors
    /// The token refuses.
    pub fn store_certificates(
        &self,
        label: &str,
        id: &[u8],
        values: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<(), Error> {
        let task = Task::Store {
            serial: self.serial().into(),
            user_pin: self.user_pin().into(),
            label: label.into(),
            id: id.into(),
            values: values.into_iter().collect(),
        };
        let Report::Stored = run(self.module(), &self.env(), task)? else {
            return Err(Error::OtherAnswer);
        };
        Ok(())
    }
}
