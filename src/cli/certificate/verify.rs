//! `certificate verify`: an end-entity certificate by rustls-webpki, the certificate of a CA by our own issuance code.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use serde::Serialize;
use webpki::{
    ALL_VERIFICATION_ALGS, BorrowedCertRevocationList, CertRevocationList, EndEntityCert,
    ExpirationPolicy, ExtendedKeyUsageValidator, KeyPurposeIdIter, KeyUsage, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, anchor_from_trusted_cert,
};

use super::{blocks, certificates, record::CertificateRecord};
use crate::{
    args::{CertificatePurpose, VerifyCertificate},
    cli::output::{BAD, GOOD, print},
    issuance::{Bundle, pem},
    message::shown,
    pipeline::now,
    telemetry::ErrorChain,
};

/// Exit code for a certificate that does not verify.
const NOT_VERIFIED: u8 = 3;

/// Whether a certificate verifies.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Verdict {
    verified: bool,
    /// `null` if it verifies.
    reason: Option<String>,
    /// The time that it was verified for, RFC 3339.
    at: String,
    /// Subjects from the certificate to the root; empty if it does not verify.
    path: Vec<String>,
}

/// Verifies one certificate and prints the verdict.
///
/// # Errors
/// A file cannot be read as what it should be, or the flags do not fit the certificate.
pub(super) fn verify(asked: &VerifyCertificate) -> anyhow::Result<ExitCode> {
    let given = Given::read(asked)?;
    let record = CertificateRecord::of(&given.der).with_context(|| {
        format!(
            "{} has no certificate that can be read",
            asked.certificate.display()
        )
    })?;
    let at = asked.at.unwrap_or_else(now);
    let is_ca = record.basic_constraints.as_ref().is_some_and(|it| it.ca);
    let found = match is_ca {
        true => authority(asked, &given, at)?,
        false => end_entity(asked, &given, at)?,
    };
    let verdict = Verdict {
        verified: found.is_ok(),
        at: at.to_string(),
        reason: found.as_ref().err().cloned(),
        path: found.unwrap_or_default(),
    };
    print(asked.output, &verdict, || match &verdict.reason {
        None => {
            let names = verdict.path.iter().map(|subject| match subject.as_str() {
                "" => "(no subject)".to_owned(),
                subject => shown(subject),
            });
            let path: Vec<_> = names.collect();
            format!("{GOOD}verified{GOOD:#}: {}\n", path.join(" <- "))
        }
        Some(reason) => format!("{BAD}not verified{BAD:#}: {}\n", shown(reason)),
    })?;
    Ok(match verdict.verified {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(NOT_VERIFIED),
    })
}

/// The certificates of the command line, in DER.
struct Given {
    /// The one to verify.
    der: Vec<u8>,
    intermediates: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
}

impl Given {
    fn read(asked: &VerifyCertificate) -> anyhow::Result<Self> {
        let mut first = certificates(&asked.certificate)?.into_iter();
        let der = first.next().context("there is no certificate")?;
        let mut intermediates: Vec<_> = first.collect();
        for file in &asked.intermediates {
            intermediates.extend(certificates(file)?);
        }
        let mut roots = Vec::new();
        for file in &asked.roots {
            roots.extend(certificates(file)?);
        }
        Ok(Self {
            der,
            intermediates,
            roots,
        })
    }
}

/// The path of subjects, or why there is none.
type Found = Result<Vec<String>, String>;

/// Verifies the certificate of a CA as the certificate of an issuer.
fn authority(asked: &VerifyCertificate, given: &Given, at: Timestamp) -> anyhow::Result<Found> {
    if asked.purpose.is_some() || asked.name.is_some() || !asked.crls.is_empty() {
        bail!(
            "{} is the certificate of a CA, for which --purpose, --name and --crl have no meaning here; remove them",
            asked.certificate.display()
        );
    }
    let text = |all: &mut dyn Iterator<Item = &[u8]>| -> String {
        all.map(|der| pem::encode("CERTIFICATE", der)).collect()
    };
    let Given {
        der,
        intermediates,
        roots,
    } = given;
    let chain = std::iter::once(der).chain(intermediates);
    let chain = text(&mut chain.map(Vec::as_slice));
    let trusted = text(&mut roots.iter().map(Vec::as_slice));
    let path =
        Bundle::parse(chain.as_bytes(), Some(trusted.as_bytes())).and_then(|bundle| bundle.at(at));
    let path = match path {
        Ok(path) => path,
        Err(why) => return Ok(Err(ErrorChain(&why).to_string())),
    };
    // The bundle takes the lowest CA for the issuing one.
    if path.issuing().der() != der {
        return Ok(Err(
            "it signed another of the given certificates; give those above it only".to_owned(),
        ));
    }
    Ok(Ok(path
        .certificates()
        .map(|certificate| certificate.subject_text())
        .collect()))
}

/// Any purpose, or one.
struct Purpose(Option<CertificatePurpose>);

impl ExtendedKeyUsageValidator for Purpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        match self.0 {
            None => Ok(()),
            Some(CertificatePurpose::Server) => KeyUsage::server_auth().validate(purposes),
            Some(CertificatePurpose::Client) => KeyUsage::client_auth().validate(purposes),
        }
    }
}

fn end_entity(asked: &VerifyCertificate, given: &Given, at: Timestamp) -> anyhow::Result<Found> {
    let name = asked.name.as_deref().map(ServerName::try_from);
    let name = name
        .transpose()
        .context("--name is neither a DNS name nor an IP address")?;
    let seconds = u64::try_from(at.as_second()).context("--at must be after 1970")?;
    let at = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let crls = crls(&asked.crls)?;
    let der = CertificateDer::from(given.der.as_slice());
    let above: Vec<_> = given
        .intermediates
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let trusted: Vec<_> = given
        .roots
        .iter()
        .map(|der| CertificateDer::from(der.as_slice()))
        .collect();
    let anchors = trusted
        .iter()
        .map(anchor_from_trusted_cert)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| anyhow!("a root cannot be used as a trust anchor: {error}"))?;
    let verified = EndEntityCert::try_from(&der).and_then(|certificate| {
        let mut path = Vec::new();
        for strictness in Strictness::all(&crls) {
            path = walked(
                &certificate,
                &above,
                &anchors,
                at,
                asked.purpose,
                &crls,
                strictness,
            )?;
        }
        if let Some(name) = &name {
            certificate.verify_is_valid_for_subject_name(name)?;
        }
        Ok(path)
    });
    Ok(verified
        .map(|mut path| {
            path.insert(0, subject(&der));
            path
        })
        .map_err(|error| reason(&error)))
}

/// Returns why a certificate does not verify, for people.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the other errors are rare, and named well enough by webpki"
)]
fn reason(error: &webpki::Error) -> String {
    let time = |time: &UnixTime| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        Timestamp::from_second(seconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
    };
    match error {
        webpki::Error::CertExpired { not_after, .. } => {
            format!(
                "it, or a certificate above it, ended at {}",
                time(not_after)
            )
        }
        webpki::Error::CertNotValidYet { not_before, .. } => {
            format!(
                "it, or a certificate above it, begins at {}",
                time(not_before)
            )
        }
        webpki::Error::CertNotValidForName(_) => "it is not for the name of --name".to_owned(),
        webpki::Error::CertRevoked => "a CRL lists it, or a certificate above it".to_owned(),
        webpki::Error::CrlExpired { next_update, .. } => {
            format!("the CRL ended at {}", time(next_update))
        }
        webpki::Error::UnknownRevocationStatus => "no CRL covers it".to_owned(),
        webpki::Error::UnknownIssuer => {
            "none of the roots and intermediates is its issuer".to_owned()
        }
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            "it, or a certificate above it, is not for that --purpose (extendedKeyUsage)".to_owned()
        }
        webpki::Error::NameConstraintViolation => {
            "a certificate above it does not permit its names (nameConstraints)".to_owned()
        }
        webpki::Error::PathLenConstraintViolated => {
            "a certificate above it does not permit so many CAs below it (pathLenConstraint)"
                .to_owned()
        }
        webpki::Error::InvalidSignatureForPublicKey => {
            "its signature, or that of a certificate above it, is wrong".to_owned()
        }
        other => other.to_string(),
    }
}

/// What CRLs must say.
#[derive(Clone, Copy)]
enum Strictness {
    /// Nothing, because there are none.
    Nothing,
    /// That the certificate itself is not revoked.
    Covered,
    /// That no certificate of the path is revoked, as far as they cover it.
    NotListed,
}

impl Strictness {
    const fn all(crls: &[CertRevocationList<'_>]) -> &'static [Self] {
        match crls {
            [] => &[Self::Nothing],
            [..] => &[Self::Covered, Self::NotListed],
        }
    }
}

/// Returns the subjects of the path above the certificate.
fn walked(
    certificate: &EndEntityCert<'_>,
    above: &[CertificateDer<'_>],
    anchors: &[TrustAnchor<'_>],
    at: UnixTime,
    purpose: Option<CertificatePurpose>,
    crls: &[CertRevocationList<'_>],
    strictness: &Strictness,
) -> Result<Vec<String>, webpki::Error> {
    let crls: Vec<_> = crls.iter().collect();
    let rules = RevocationOptionsBuilder::new(&crls).ok().map(|rules| {
        let rules = rules.with_expiration_policy(ExpirationPolicy::Enforce);
        match strictness {
            Strictness::Nothing | Strictness::Covered => rules
                .with_depth(RevocationCheckDepth::EndEntity)
                .with_status_policy(UnknownStatusPolicy::Deny),
            Strictness::NotListed => rules
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow),
        }
        .build()
    });
    let path = certificate.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        anchors,
        above,
        at,
        Purpose(purpose),
        rules,
        None,
    )?;
    let mut subjects: Vec<_> = path
        .intermediate_certificates()
        .map(|one| subject(&one.der()))
        .collect();
    subjects.push(anchor_name(path.anchor()));
    Ok(subjects)
}

fn crls(files: &[impl AsRef<Path>]) -> anyhow::Result<Vec<CertRevocationList<'static>>> {
    let mut read = Vec::new();
    for file in files {
        let file = file.as_ref();
        for der in blocks(file, "X509 CRL")? {
            let crl = BorrowedCertRevocationList::from_der(&der)
                .and_then(|crl| crl.to_owned())
                .map_err(|error| {
                    anyhow!("{} has a CRL that cannot be used: {error}", file.display())
                })?;
            read.push(CertRevocationList::from(crl));
        }
    }
    Ok(read)
}

fn subject(der: &CertificateDer<'_>) -> String {
    CertificateRecord::of(der).map_or_else(|| "(not readable)".to_owned(), |record| record.subject)
}

/// Returns the name of an anchor, whose subject lacks the header of its SEQUENCE.
fn anchor_name(anchor: &TrustAnchor<'_>) -> String {
    use x509_parser::{prelude::FromDer as _, x509::X509Name};
    let content = anchor.subject.as_ref();
    let Ok(wrapped) = der::asn1::AnyRef::new(der::Tag::Sequence, content)
        .and_then(|any| der::Encode::to_der(&any))
    else {
        return hex::encode(content);
    };
    X509Name::from_der(&wrapped).map_or_else(|_| hex::encode(content), |(_, name)| name.to_string())
}
