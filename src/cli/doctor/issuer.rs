//! Checks of an issuer's specification and certificates, which need no token.

use std::sync::Arc;

use hsm::HsmError;
use jiff::Timestamp;

use super::{
    check::{CheckId, CheckState, FailedCheck},
    findings::{Findings, after},
};
use crate::{
    api::{IssuerName, bounds, issuer::IssuerSpec},
    cli::issuer_file::IssuerFile,
    config::{Config, Labels, TokenConfig},
    issuance::{ChainError, crl::CrlRulesError},
    pipeline::{self, ChainPem, NotProven, ParsedChain, now},
    reconcile::expiry_of,
};

/// Checks of the configuration for the issuer.
pub(super) const CONFIGURED: [CheckId; 2] = [CheckId::IssuerToken, CheckId::IssuerGranted];
/// Checks of certificates and specification, each after the one before it.
pub(super) const CERTIFICATE: [CheckId; 6] = [
    CheckId::CertificateValid,
    CheckId::CertificateChain,
    CheckId::CertificateDates,
    CheckId::RootPresent,
    CheckId::SpecValid,
    CheckId::CrlSign,
];

/// An issuer, wherever it comes from.
#[derive(Debug)]
pub(super) struct GivenIssuer {
    pub(super) name: IssuerName,
    /// Labels of its namespace, for grants. None are known of an issuer in a file.
    pub(super) labels: Labels,
    pub(super) spec: IssuerSpec,
}

/// An issuer whose certificates and specification were examined.
#[derive(Debug)]
pub(super) struct ExaminedIssuer {
    pub(super) given: GivenIssuer,
    /// How findings name it.
    pub(super) subject: String,
    /// Its certificates, or the check that failed or was skipped.
    pub(super) chain: Result<Arc<ParsedChain>, CheckId>,
}

/// The certificates of an issuer, or why there are none.
pub(super) enum Source {
    /// They were read, or are missing.
    Pem(Result<ChainPem, FailedCheck>),
    /// They are where they cannot be read from here, and why.
    Elsewhere(String),
}

/// Returns the issuer of a file and its certificates.
pub(super) fn of_file(file: IssuerFile) -> (GivenIssuer, Source) {
    let source = &file.spec.certificate;
    let elsewhere = source.secret_ref.is_some() || source.config_map_ref.is_some();
    let pem = match elsewhere && source.pem.is_none() {
        true => Source::Elsewhere(
            "the certificates are in the cluster, and the issuer is in a file".to_owned(),
        ),
        false => {
            let pem = file.chain();
            Source::Pem(pem.map_err(|why| FailedCheck::new(CheckId::CertificatePresent, why)))
        }
    };
    let given = GivenIssuer {
        name: file.name,
        labels: Labels::new(),
        spec: file.spec,
    };
    (given, pem)
}

impl ExaminedIssuer {
    /// Examines an issuer and its certificates.
    pub(super) fn of(findings: &mut Findings, given: GivenIssuer, pem: Source) -> Self {
        let subject = given.name.to_string();
        let ids = [CheckId::CertificatePresent];
        let present = match pem {
            Source::Elsewhere(why) => {
                findings.skip(&ids, &subject, why);
                Err(CheckId::CertificatePresent)
            }
            Source::Pem(pem) => findings.chain(&ids, &subject, pem, "the certificates are there"),
        };
        let chain = present.and_then(|pem| certificate(findings, &subject, &given, pem, now()));
        if let Err(id) = chain {
            findings.skip_rest(&CERTIFICATE, after(id));
            findings.skip_rest(&[CheckId::CertificateExpiry], after(id));
        }
        Self {
            given,
            subject,
            chain,
        }
    }
}

/// Checks that the specification has the size that is read.
///
/// # Errors
/// A part is too large.
pub(super) fn check_bounds(spec: &IssuerSpec) -> Result<(), FailedCheck> {
    let checked = bounds::check(spec);
    checked.map_err(|why| FailedCheck::new(CheckId::IssuerValid, why))
}

/// Finds the token of the issuer and a grant for it.
///
/// # Errors
/// There is none.
pub(super) fn granted<'a>(
    issuer: &GivenIssuer,
    config: &'a Config,
) -> Result<&'a TokenConfig, FailedCheck> {
    let named = &issuer.spec.token;
    let Some(token) = config.token(named) else {
        let known: Vec<_> = config.tokens().map(TokenConfig::name).collect();
        return Err(FailedCheck::new(
            CheckId::IssuerToken,
            format_args!(
                "spec.token is {named:?}, and the configuration has only {}",
                known.join(", ")
            ),
        ));
    };
    let granted = pipeline::prove::check_granted(&issuer.name, &issuer.labels, token);
    granted.map_err(|why| FailedCheck::new(CheckId::IssuerGranted, why.message()))?;
    Ok(token)
}

/// Checks the certificates and the specification together.
fn certificate(
    findings: &mut Findings,
    subject: &str,
    issuer: &GivenIssuer,
    pem: ChainPem,
    now: Timestamp,
) -> Result<Arc<ParsedChain>, CheckId> {
    let chain = Arc::new(ParsedChain::new(pem));
    let spec = &issuer.spec;
    let checked = pipeline::prove::check(spec, spec.key.as_ref(), &chain, now);
    let checked = checked.map_err(|why| FailedCheck::new(failed(&why), why.message()));
    let told = chain.chain().map(|chain| chain.issuing().subject_text());
    let told = told.unwrap_or_default();
    findings.chain(
        &CERTIFICATE,
        subject,
        checked,
        format_args!("issuing certificate {told:?}"),
    )?;
    if let Some((soon, message)) = chain.chain().and_then(|chain| expiry_of(&chain, spec, now)) {
        let state = match soon {
            true => CheckState::Warn,
            false => CheckState::Ok,
        };
        findings.add(CheckId::CertificateExpiry, state, subject, message);
    }
    Ok(chain)
}

/// Returns the check that failed if an issuer cannot sign for this reason.
pub(super) fn failed(why: &NotProven) -> CheckId {
    match why {
        NotProven::NotGranted { .. } | NotProven::Reserved { .. } => CheckId::IssuerGranted,
        NotProven::OutOfBounds(_) => CheckId::IssuerValid,
        NotProven::Certificate(why) => of_chain(why),
        NotProven::RootMissing(_) => CheckId::RootPresent,
        NotProven::Crl(CrlRulesError::NoCrlSign(_)) => CheckId::CrlSign,
        NotProven::Profile(_)
        | NotProven::Crl(_)
        | NotProven::KeySpec(_)
        | NotProven::Pods(_)
        | NotProven::PodsTooShort => CheckId::SpecValid,
        NotProven::Token { source, .. } => of_token(source),
        NotProven::CertificateNotGranted { .. } => CheckId::CertificateGranted,
        NotProven::Unprotected { .. } => CheckId::KeyProtected,
        NotProven::Algorithm(_) => CheckId::KeyAlgorithm,
        NotProven::Probe(_) | NotProven::Random => CheckId::ProbeSignature,
    }
}

fn of_chain(why: &ChainError) -> CheckId {
    match why {
        ChainError::Pem(_)
        | ChainError::TooLarge(_)
        | ChainError::NotCertificate(_)
        | ChainError::TooMany(_)
        | ChainError::Certificate { .. } => CheckId::CertificateValid,
        ChainError::Expired { .. } | ChainError::NotYetValid { .. } => CheckId::CertificateDates,
        ChainError::Root { .. }
        | ChainError::WrongSigner { .. }
        | ChainError::EncodedDifferently { .. }
        | ChainError::TooManyRoots(_)
        | ChainError::NoIssuing
        | ChainError::NotInChain(_)
        | ChainError::NotRoot(_)
        | ChainError::OtherRoot(_)
        | ChainError::PathLength { .. } => CheckId::CertificateChain,
    }
}

fn of_token(why: &HsmError) -> CheckId {
    match why {
        HsmError::KeyNotFound { differing } if !differing.is_empty() => CheckId::KeyMatches,
        HsmError::SeveralKeys { .. } | HsmError::TooManyKeys { .. } => CheckId::KeyUnambiguous,
        HsmError::AlwaysAuthenticate(_) | HsmError::KeyType(_) | HsmError::KeyTypeUnknown(_) => {
            CheckId::KeyUsable
        }
        // The token did not say whether it has the key.
        HsmError::KeyNotFound { .. }
        | HsmError::KeysHidden { .. }
        | HsmError::Overloaded
        | HsmError::TimedOut
        | HsmError::WorkerLost { .. }
        | HsmError::Unavailable { .. }
        | HsmError::TokenFailed(_)
        | HsmError::LoginRefused { .. }
        | HsmError::NotLoggedIn
        | HsmError::Misconfigured { .. }
        | HsmError::MechanismRefused { .. }
        | HsmError::TokenRefused(_)
        | HsmError::BadRequest { .. }
        | HsmError::WrongAnswer => CheckId::KeyFound,
    }
}
