//! From a request that is due to a verified certificate: the issuance core, the issuance record, one signature.

use std::{borrow::Cow, sync::Arc};

use hsm::HsmError;
use jiff::{SignedDuration, Timestamp};

use super::{Publish, ReadyIssuer, now};
use crate::{
    api::profile::SerialSource,
    audit::{Certificate, IssuanceRecord, RecordError, Subject, note},
    duration::GoDuration,
    issuance::{
        CertificateParams, Fault, IssueError, IssuedCertificate, PrepareError, PreparedCertificate,
        Refusal, RefusalReason, Serial, VerifiedCsr, Wanted, pattern::Variables,
        san::SubjectAltNames,
    },
    signers::fault,
};

/// What is asked for, from wherever it came, not looked into.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The CSR.
    pub csr: AskedCsr<'a>,
    /// cert-manager's words, which are Kubernetes' too.
    pub usages: &'a [String],
    /// Whether a CA certificate is asked for.
    pub is_ca: bool,
    /// Whether nothing but an annotation asks for it.
    pub by_annotation: bool,
    /// The duration in Go's notation; `None` for the profile's default.
    pub duration: Option<Cow<'a, str>>,
    /// Whether less than the duration is as good, where the profile gives less.
    pub or_less: bool,
    /// The variables of profiles.
    pub variables: Variables<'a>,
}

/// A CSR and what its names are.
#[derive(Clone, Debug)]
pub enum AskedCsr<'a> {
    /// The text of a CSR, with the names that it asks for.
    Pem(&'a [u8]),
    /// The DER of a CSR that stands for its key alone, and the names that go with it.
    Key(&'a [u8], SubjectAltNames),
}

impl AskedCsr<'_> {
    /// The CSR whose key has proved itself.
    ///
    /// # Errors
    /// As [`VerifiedCsr::parse`].
    pub fn verify(&self) -> Result<VerifiedCsr, Refusal> {
        match self {
            Self::Pem(text) => VerifiedCsr::parse(text),
            Self::Key(der, names) => VerifiedCsr::with_names(der, names.clone()),
        }
    }
}

/// A certificate that was signed, and what is said of it.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate.
    pub certificate: Arc<IssuedCertificate>,
    /// What of the issuer's chain goes out with it.
    pub publish: Publish,
    /// What the issuance record said before.
    pub announced: Arc<Announced>,
}

/// What the issuance record says of a certificate from before it is signed.
#[derive(Debug)]
pub struct Announced {
    /// The token that signs, by its name in the configuration.
    pub token: Arc<str>,
    /// The `CKA_ID` of the key.
    pub key_id: Vec<u8>,
    /// The serial number, hexadecimal.
    pub serial: String,
    /// SHA-256 of the TBSCertificate, hexadecimal.
    pub tbs_sha256: String,
    /// Last second of validity.
    pub not_after: Timestamp,
    /// The extensions that the CSR asks for and the certificate does not carry, by their OIDs.
    pub dropped_extensions: Vec<String>,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// The request cannot have it.
    #[error(transparent)]
    Refused(Refusal),
    /// It got no turn at the token.
    #[error("no turn at the token")]
    Turn(#[source] HsmError),
    /// It became another replica's while it waited for its turn.
    #[error("another replica signs for this request now")]
    NoLongerDue,
    /// The token gave no random octets.
    #[error("no serial number from the token")]
    Serial(#[source] HsmError),
    /// The operating system gave none.
    #[error("no random octets for a serial number")]
    Random,
    /// It could not be made: never a refusal.
    #[error(transparent)]
    Prepare(PrepareError),
    /// No signature without a record.
    #[error("the issuance record cannot be written")]
    Record(#[source] RecordError),
    /// It was not signed, or what came is not released.
    #[error(transparent)]
    Issue(IssueError),
}

impl NotSigned {
    /// Who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            Self::Turn(error) | Self::Serial(error) => fault(error),
            Self::NoLongerDue | Self::Random | Self::Record(_) => Fault::Passing,
            Self::Prepare(error) => error.fault(),
            Self::Issue(error) => error.fault(),
        }
    }
}

impl<'a> Asked<'a> {
    /// What is asked for beside the CSR, as a profile judges it.
    ///
    /// # Errors
    /// A duration that is none.
    pub fn wanted(&self) -> Result<Wanted<'a>, Refusal> {
        Ok(Wanted {
            variables: self.variables,
            usages: self.usages,
            is_ca: self.is_ca,
            by_annotation: self.by_annotation,
            duration: duration(self.duration.as_deref())?,
        })
    }
}

impl Signed {
    /// What the issuance record says of the certificate.
    #[must_use]
    pub fn line(&self) -> Certificate<'_> {
        self.announced.line()
    }
}

/// Runs the pure pipeline, waits for the tenant's turn at the token, and asks it once, if the request is `still_due` then.
/// `subject` says in the issuance record who asks whom.
///
/// A request that waits has cost nothing but its own judgement: its certificate is made, and recorded, when its turn comes.
///
/// # Errors
/// [`NotSigned`]; what was announced in the record is then recorded as discarded.
pub async fn sign(
    asked: &Asked<'_>,
    tenant: &Arc<str>,
    subject: &Subject<'_>,
    ready: &Arc<ReadyIssuer>,
    record: &IssuanceRecord,
    still_due: &(dyn Fn() -> bool + Sync),
) -> Result<Signed, NotSigned> {
    let csr = asked.csr.verify().map_err(NotSigned::Refused)?;
    let params = admit(asked, &csr, ready)?;
    let turn = ready.key.turn(tenant).await.map_err(NotSigned::Turn)?;
    if !still_due() {
        return Err(NotSigned::NoLongerDue);
    }
    let serial = serial(ready).await?;
    let prepared = prepare(&params, serial, ready)?;
    let announced = Announced {
        token: Arc::clone(ready.key.token_name()),
        key_id: ready.key.id().to_vec(),
        serial: prepared.serial_hex(),
        tbs_sha256: prepared.tbs_sha256(),
        not_after: prepared.not_after(),
        dropped_extensions: prepared
            .dropped_extensions()
            .iter()
            .map(ToString::to_string)
            .collect(),
    };
    let line = announced.line();
    record
        .signing(now(), subject, &line)
        .map_err(NotSigned::Record)?;
    match prepared.issue(&turn).await {
        Ok(certificate) => {
            ready.proof.renew(now());
            note(record.signed(now(), subject, &line));
            Ok(Signed {
                certificate: Arc::new(certificate),
                publish: ready.publish,
                announced: Arc::new(announced),
            })
        }
        Err(error) => {
            note(record.discarded(now(), subject, &line, slug(&error)));
            Err(NotSigned::Issue(error))
        }
    }
}

fn slug(error: &IssueError) -> &'static str {
    match error {
        IssueError::Sign(_) => "not-signed",
        IssueError::Unverified(_) => "signature-wrong",
        IssueError::Ambiguous(_) => "ambiguous",
        IssueError::Encode(_) => "not-encoded",
    }
}

async fn serial(ready: &ReadyIssuer) -> Result<Serial, NotSigned> {
    let octets = match ready.serial {
        SerialSource::Os => {
            let mut octets = [0; 16];
            aws_lc_rs::rand::fill(&mut octets).map_err(|_| NotSigned::Random)?;
            octets
        }
        SerialSource::Hsm => ready.key.random().await.map_err(NotSigned::Serial)?,
    };
    Ok(Serial::from_random(octets))
}

fn admit<'a>(
    asked: &Asked<'_>,
    csr: &'a VerifiedCsr,
    ready: &'a ReadyIssuer,
) -> Result<CertificateParams<'a>, NotSigned> {
    let profile = ready.issuer.profile();
    let mut wanted = asked.wanted().map_err(NotSigned::Refused)?;
    if asked.or_less {
        let longest = profile.longest();
        wanted.duration = wanted.duration.map(|duration| duration.min(longest));
    }
    profile.admit(csr, &wanted).map_err(NotSigned::Refused)
}

fn prepare(
    params: &CertificateParams<'_>,
    serial: Serial,
    ready: &ReadyIssuer,
) -> Result<PreparedCertificate, NotSigned> {
    PreparedCertificate::prepare(params, &ready.issuer, now(), serial).map_err(
        |error| match error {
            PrepareError::Refused(refusal) => NotSigned::Refused(refusal),
            other @ (PrepareError::Issuer(_) | PrepareError::Lint(_) | PrepareError::Encode(_)) => {
                NotSigned::Prepare(other)
            }
        },
    )
}

/// The API server stores any string here (cert-manager.md 1.5), and so does a command line.
fn duration(text: Option<&str>) -> Result<Option<SignedDuration>, Refusal> {
    text.map(|text| text.parse::<GoDuration>().map(GoDuration::signed))
        .transpose()
        .map_err(|error| {
            Refusal::new(
                RefusalReason::DurationInvalid,
                format!("the duration that is asked for: {error}"),
            )
        })
}

impl Announced {
    fn line(&self) -> Certificate<'_> {
        Certificate {
            token: &self.token,
            key_id: &self.key_id,
            serial: &self.serial,
            tbs_sha256: &self.tbs_sha256,
            not_after: self.not_after,
            dropped_extensions: &self.dropped_extensions,
        }
    }
}
