//! Turns a request that is due into a verified certificate: the issuance core, the issuance log and one signature.

use std::{borrow::Cow, sync::Arc};

use hsm::HsmError;
use jiff::SignedDuration;
use scopeguard::{ScopeGuard, guard};

use super::{Publish, ReadyIssuer, announced::Announced, now};
use crate::{
    api::profile::SerialSource,
    audit::{ABANDONED, IssuanceLog, LogError, LogPosition, Subject},
    duration::GoDuration,
    issuance::{
        CertificateParams, Fault, IssueError, IssuedCertificate, PrepareError, PreparedCertificate,
        Refusal, RefusalReason, Serial, VerifiedCsr, Wanted, csr, pattern::Variables,
        san::SubjectAltNames,
    },
    signers::fault,
    trace::{self, WorkStage},
};

/// Reason of *discarded*: the sinks of the log did not accept *signing* in time, so nothing was signed.
pub(crate) const NOT_LOGGED: &str = "not-logged";

/// Content of a request from any source, not validated.
#[derive(Clone, Debug)]
pub struct UncheckedRequest<'a> {
    /// The CSR.
    pub csr: AskedCsr<'a>,
    /// The usages, in the terms of cert-manager and Kubernetes.
    pub usages: &'a [String],
    /// Whether a CA certificate is requested.
    pub is_ca: bool,
    /// Whether a CA certificate is requested only by an annotation.
    pub by_annotation: bool,
    /// The duration in Go's notation; `None` for the profile's default.
    pub duration: Option<Cow<'a, str>>,
    /// Whether the profile may shorten the duration instead of refusing it.
    pub or_less: bool,
    /// The values of variables in profiles.
    pub variables: Variables<'a>,
}

/// CSR, and the source of the certificate's names.
#[derive(Clone, Debug)]
pub enum AskedCsr<'a> {
    /// A CSR in PEM, with the names that it asks for.
    Pem(&'a [u8]),
    /// A CSR in DER of which only the key is used, and the names for the certificate.
    Key(&'a [u8], SubjectAltNames),
}

impl AskedCsr<'_> {
    /// Returns the SHA-256 of the DER of the CSR, hexadecimal; `None` if it cannot be read.
    #[must_use]
    pub fn sha256(&self) -> Option<String> {
        match self {
            Self::Pem(text) => csr::sha256_of_pem(text),
            Self::Key(der, _) => Some(csr::sha256_of_der(der)),
        }
    }

    /// Parses the CSR and verifies its proof of possession.
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

/// Signed certificate with its entry in the issuance log.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The certificate.
    pub certificate: Arc<IssuedCertificate>,
    /// Which part of the issuer's chain is published with it.
    pub publish: Publish,
    /// The entry in the issuance log from before the signature.
    pub announced: Arc<Announced>,
    /// Place of the *signed* line. The certificate is published only after the sinks have accepted that line.
    pub logged: LogPosition,
}

/// Reason why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// The request is refused.
    #[error(transparent)]
    Refused(Refusal),
    /// The request got no turn at the token.
    #[error("no turn at the token")]
    Turn(#[source] HsmError),
    /// The request moved to another replica's share while it waited for its turn.
    #[error("another replica signs for this request now")]
    NoLongerDue,
    /// The token returned no random octets.
    #[error("no serial number from the token")]
    Serial(#[source] HsmError),
    /// The operating system returned no random octets.
    #[error("no random octets for a serial number")]
    Random,
    /// The certificate could not be prepared. Never a refusal.
    #[error(transparent)]
    Prepare(PrepareError),
    /// A sink of the issuance log accepts no lines, so nothing was signed. The operator of the controller has to act.
    #[error("the issuance log cannot be written; the operator of the controller has to mend it")]
    Log(#[source] LogError),
    /// The token did not sign, or the signature was not released.
    #[error(transparent)]
    Issue(IssueError),
}

impl NotSigned {
    /// Returns who has to act.
    #[must_use]
    pub fn fault(&self) -> Fault {
        match self {
            Self::Refused(refusal) => refusal.fault(),
            Self::Turn(error) | Self::Serial(error) => fault(error),
            Self::NoLongerDue | Self::Random | Self::Log(_) => Fault::Passing,
            Self::Prepare(error) => error.fault(),
            Self::Issue(error) => error.fault(),
        }
    }
}

impl<'a> UncheckedRequest<'a> {
    /// Returns the requested properties besides the CSR, in the form that a profile checks.
    ///
    /// # Errors
    /// The duration cannot be parsed.
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

/// Checks a request, waits for the tenant's turn at the token and, if the request is `still_due` then, has the token sign
/// once. `subject` names the request and the issuer in the issuance log.
///
/// A request that waits has only been checked. Its certificate is prepared and recorded when its turn comes.
///
/// # Errors
/// [`NotSigned`]. A certificate that was already announced in the issuance log is then recorded as discarded.
pub async fn sign(
    asked: &UncheckedRequest<'_>,
    tenant: &Arc<str>,
    subject: &Subject<'_>,
    ready: &Arc<ReadyIssuer>,
    log: &IssuanceLog,
    still_due: &(dyn Fn() -> bool + Sync),
) -> Result<Signed, NotSigned> {
    let csr = asked.csr.verify().map_err(NotSigned::Refused)?;
    let params = admit(asked, &csr, ready)?;
    let turn = trace::stage(WorkStage::Turn, ready.key.turn(tenant));
    let turn = turn.await.map_err(NotSigned::Turn)?;
    if !still_due() {
        return Err(NotSigned::NoLongerDue);
    }
    let serial = serial(ready).await?;
    let prepared = prepare(&params, serial, ready)?;
    let announced = Announced::new(subject, &csr, &params, &prepared, ready);
    let logged = log.signing(&announced.entry, &announced.dropped_extensions);
    let logged = logged.map_err(NotSigned::Log)?;
    let begun = guard(announced, |announced| {
        log.discarded(&announced.entry, ABANDONED);
    });
    if let Err(error) = log.accepted(logged).await {
        log.discarded(&ScopeGuard::into_inner(begun).entry, NOT_LOGGED);
        return Err(NotSigned::Log(error));
    }
    let issued = prepared.issue(&turn).await;
    turn.verified(!matches!(issued, Err(IssueError::Unverified(_))), now());
    let announced = ScopeGuard::into_inner(begun);
    match issued {
        Ok(certificate) => {
            ready.proof.renew(now());
            Ok(Signed {
                logged: log.signed(&announced.entry, certificate.der()),
                certificate: Arc::new(certificate),
                publish: ready.publish.clone(),
                announced: Arc::new(announced),
            })
        }
        Err(error) => {
            log.discarded(&announced.entry, slug(&error));
            Err(NotSigned::Issue(error))
        }
    }
}

/// Checks a request as [`sign`] does and prepares its certificate, with a serial number from the operating system. Does not
/// use the token and records nothing.
///
/// # Errors
/// As [`sign`], except for errors of the token and the issuance log.
pub fn prepare_only(
    asked: &UncheckedRequest<'_>,
    ready: &ReadyIssuer,
) -> Result<PreparedCertificate, NotSigned> {
    let csr = asked.csr.verify().map_err(NotSigned::Refused)?;
    let params = admit(asked, &csr, ready)?;
    prepare(&params, serial_of_os()?, ready)
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
    match ready.serial {
        SerialSource::Os => serial_of_os(),
        SerialSource::Hsm => {
            let octets = trace::stage(WorkStage::Serial, ready.key.random());
            let octets = octets.await.map_err(NotSigned::Serial)?;
            Ok(Serial::from_random(octets))
        }
    }
}

fn serial_of_os() -> Result<Serial, NotSigned> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| NotSigned::Random)?;
    Ok(Serial::from_random(octets))
}

fn admit<'a>(
    asked: &UncheckedRequest<'_>,
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

/// Parses a duration. Both the API server and the command line accept any string
/// (docs/reference/cert-manager.md, "Objects and fields").
fn duration(text: Option<&str>) -> Result<Option<SignedDuration>, Refusal> {
    text.map(|text| text.parse::<GoDuration>().map(GoDuration::signed))
        .transpose()
        .map_err(|error| {
            Refusal::new(
                RefusalReason::DurationInvalid,
                format!("the requested duration: {error}"),
            )
        })
}
