//! Certificate signing requests (RFC 2986) that a key ceremony makes, for a CA elsewhere to sign.

use der::{
    Any, Decode as _, Encode as _, Sequence,
    asn1::{AnyRef, SetOfVec},
};

use super::{
    IssueError, IssuerPublicKey, Refusal, SignatureAlgorithm, VerifiedCsr,
    key::PublicKey,
    name::Name,
    pem,
    raw::SignedFrame,
    signature::{Signer, SigningInput},
    tbs,
};

/// RFC 2986, section 4.1.
#[derive(Sequence)]
struct RequestInfo<'a> {
    version: u8,
    subject: AnyRef<'a>,
    spki: AnyRef<'a>,
    /// Empty, but never left out.
    #[asn1(context_specific = "0", tag_mode = "IMPLICIT")]
    attributes: SetOfVec<Any>,
}

/// Why a signed request was not released.
#[derive(Debug, thiserror::Error)]
pub enum CaRequestError {
    /// It was not signed.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It does not verify, or its key or subject is not allowed.
    #[error("the request cannot be used")]
    Refused(#[from] Refusal),
    /// It is not the request that was prepared.
    #[error("it is not the request that was prepared")]
    Other,
}

/// A CertificationRequest that lacks only its signature. Issuing consumes it.
#[derive(Debug)]
pub struct PreparedRequest {
    info: Vec<u8>,
    key: PublicKey,
    algorithm: SignatureAlgorithm,
}

impl PreparedRequest {
    /// Prepares a request for this subject and key without attributes. The same arguments give the same bytes.
    ///
    /// # Errors
    ///
    /// The subject cannot be encoded.
    pub fn new(subject: &Name, key: &PublicKey) -> der::Result<Self> {
        let algorithm = SignatureAlgorithm::auto(&IssuerPublicKey::new(key.clone()));
        let info = RequestInfo {
            version: 0,
            subject: AnyRef::from_der(subject.der())?,
            spki: AnyRef::from_der(key.spki_der())?,
            attributes: SetOfVec::new(),
        }
        .to_der()?;
        Ok(Self {
            info,
            key: key.clone(),
            algorithm,
        })
    }

    /// The DER of the CertificationRequestInfo.
    #[must_use]
    pub fn info(&self) -> &[u8] {
        &self.info
    }

    /// Checks a request that was issued from the same bytes before.
    ///
    /// # Errors
    ///
    /// It differs from what was prepared, or its signature is wrong.
    pub fn check(&self, request: &[u8]) -> Result<(), CaRequestError> {
        let signed = SignedFrame::parse(request).map_err(IssueError::Encode)?;
        let same = self.signed(signed.signature)?;
        if same != request {
            return Err(CaRequestError::Other);
        }
        Ok(())
    }

    /// Asks the signer exactly once, and returns the DER of the CertificationRequest, which our own reader of requests has
    /// verified.
    ///
    /// # Errors
    ///
    /// The signer returns no signature, or the request does not verify.
    pub async fn issue(self, signer: &dyn Signer) -> Result<Vec<u8>, CaRequestError> {
        let input = SigningInput::new(self.algorithm, &self.info);
        let signature = signer.sign(input).await.map_err(IssueError::Sign)?;
        self.signed(signature.as_octets())
    }

    fn signed(&self, signature: &[u8]) -> Result<Vec<u8>, CaRequestError> {
        let algorithm = self
            .algorithm
            .scheme()
            .to_der()
            .map_err(IssueError::Encode)?;
        let der = tbs::signed(&self.info, &algorithm, signature).map_err(IssueError::Encode)?;
        let read = VerifiedCsr::parse(pem::encode("CERTIFICATE REQUEST", &der).as_bytes())?;
        if read.public_key() != &self.key {
            return Err(CaRequestError::Other);
        }
        Ok(der)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::issuance::{SignError, Signature, signature::Signing, testing::TestKey};

    struct Software<'a>(&'a TestKey);

    impl Signer for Software<'_> {
        fn sign<'a>(&'a self, input: SigningInput) -> Signing<'a> {
            let octets = self.0.sign(input.algorithm().scheme(), input.message());
            Box::pin(async move { Ok::<_, SignError>(Signature::from_octets(octets)) })
        }
    }

    fn prepared(key: &TestKey) -> PreparedRequest {
        let key = PublicKey::parse(key.spki()).unwrap();
        PreparedRequest::new(&Name::common_name("Issuing").unwrap(), &key).unwrap()
    }

    #[test]
    fn a_request_of_every_kind_of_key_verifies() {
        for key in TestKey::each_kind() {
            let der = block_on(prepared(key).issue(&Software(key))).unwrap();
            assert!(prepared(key).check(&der).is_ok());
        }
    }

    #[test]
    fn a_request_by_another_key_is_never_released() {
        let [key, other] = [TestKey::p256(), TestKey::p256()];
        let error = block_on(prepared(&key).issue(&Software(&other))).unwrap_err();
        assert!(matches!(error, CaRequestError::Refused(_)), "{error:?}");
    }
}
