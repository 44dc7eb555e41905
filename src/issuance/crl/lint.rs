//! Our own lints on a CRL that is about to be signed, like those on certificates in [`lint`](crate::issuance::lint).
//!
//! A lint looks at the encoded TBSCertList, read back by a parser that had no part in writing it. The entries are read one
//! after the other, once for all lints, so that memory does not grow with their number.

use std::fmt;

use const_oid::ObjectIdentifier;
use der::{Decode, Encode as _};
use x509_cert::time::Time;

use super::{
    CrlParams, SerialNumber,
    list::{CertList, RawEntry, find},
    reread,
};
use crate::issuance::{
    chain::IssuerCertificate,
    lint_error::{LintError, ensure},
    raw::{Extension, duplicate_extension},
    signature::SignatureAlgorithm,
};

mod entries;
mod fields;

/// Every lint on CRLs, in the order of the parts of a CRL.
pub const LINTS: [&[CrlLint]; 2] = [fields::LINTS, entries::LINTS];

/// A lint on CRLs. `name` is stable and labels a metric; `citation` is the clause it enforces.
pub struct CrlLint {
    /// Stable name that begins with its source: `rfc5280_crl_…`.
    pub name: &'static str,
    /// Document and section.
    pub citation: &'static str,
    check: Check,
}

/// What a lint looks at.
enum Check {
    /// The fields and extensions of the whole CRL.
    List(fn(&LintedCrl<'_>) -> Result<(), String>),
    /// Each entry.
    Entry(fn(&LintedEntry<'_>) -> Result<(), String>),
}

impl fmt::Debug for CrlLint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CrlLint")
            .field("name", &self.name)
            .field("citation", &self.citation)
            .finish_non_exhaustive()
    }
}

impl CrlLint {
    fn failed(&self, finding: String) -> LintError {
        LintError {
            lint: self.name,
            citation: self.citation,
            finding,
        }
    }
}

/// A CRL as a lint sees it.
struct LintedCrl<'a> {
    list: CertList<'a>,
    extensions: Vec<Extension>,
    params: &'a CrlParams<'a>,
    issuing: &'a IssuerCertificate,
    algorithm: SignatureAlgorithm,
    algorithm_der: &'a [u8],
}

/// An entry as a lint sees it.
struct LintedEntry<'a> {
    raw: RawEntry<'a>,
    extensions: Vec<Extension>,
    this_update: Time,
    /// The serial number of the entry before.
    before: Option<SerialNumber>,
}

fn value_of<T: for<'d> Decode<'d, Error = der::Error>>(
    extensions: &[Extension],
    oid: ObjectIdentifier,
) -> Result<Option<(bool, T)>, String> {
    find(extensions, oid)
        .map(|extension| {
            T::from_der(extension.extn_value.as_bytes())
                .map(|value| (extension.critical, value))
                .map_err(|error| format!("extension {oid} cannot be read: {error}"))
        })
        .transpose()
}

fn at_most_once(extensions: &[Extension]) -> Result<(), String> {
    match duplicate_extension(extensions) {
        Some(oid) => Err(format!("extension {oid} occurs twice")),
        None => Ok(()),
    }
}

/// Checks that there is no extension but `ours`.
fn only(ours: &[ObjectIdentifier], extensions: &[Extension]) -> Result<(), String> {
    let is_ours = |extension: &Extension| ours.iter().any(|ours| extension.extn_id == *ours);
    match extensions.iter().find(|extension| !is_ours(extension)) {
        Some(stray) => Err(format!("extension {} is not one of ours", stray.extn_id)),
        None => Ok(()),
    }
}

/// Checks that the list of extensions is encoded as our encoder encodes it: without explicit defaults.
fn has_no_default(extensions: &Vec<Extension>, der: Option<&[u8]>) -> Result<(), String> {
    let again = extensions.to_der().map_err(|error| error.to_string())?;
    ensure(
        der.is_none_or(|der| der == again),
        "the default critical=FALSE is encoded",
    )
}

fn undecodable(why: impl fmt::Display) -> LintError {
    LintError {
        lint: "decodable",
        citation: "RFC 5280, section 5.1",
        finding: why.to_string(),
    }
}

impl<'a> LintedCrl<'a> {
    /// Reads a TBSCertList that the key of `issuing` is about to sign. `algorithm_der` is the encoding of `algorithm`.
    fn read(
        tbs: &'a [u8],
        params: &'a CrlParams<'a>,
        issuing: &'a IssuerCertificate,
        algorithm: SignatureAlgorithm,
        algorithm_der: &'a [u8],
    ) -> Result<Self, LintError> {
        reread::compare(tbs).map_err(undecodable)?;
        let list = CertList::parse(tbs).map_err(undecodable)?;
        Ok(Self {
            extensions: list.extensions().map_err(undecodable)?,
            list,
            params,
            issuing,
            algorithm,
            algorithm_der,
        })
    }

    fn entries(&self) -> impl Iterator<Item = Result<LintedEntry<'a>, LintError>> {
        let mut last = None;
        let this_update = self.list.this_update;
        self.list.entries().map(move |entry| {
            let raw = entry.map_err(undecodable)?;
            let before = last;
            last = SerialNumber::from_octets(raw.serial).ok();
            Ok(LintedEntry {
                extensions: raw.extensions().map_err(undecodable)?,
                raw,
                this_update,
                before,
            })
        })
    }
}

/// Runs every lint over a TBSCertList that the key of `issuing` is about to sign. `algorithm_der` is the encoding of
/// `algorithm`.
///
/// # Errors
///
/// The first lint that fails.
pub(super) fn run(
    tbs: &[u8],
    params: &CrlParams<'_>,
    issuing: &IssuerCertificate,
    algorithm: SignatureAlgorithm,
    algorithm_der: &[u8],
) -> Result<(), LintError> {
    let crl = LintedCrl::read(tbs, params, issuing, algorithm, algorithm_der)?;
    let lints = || LINTS.into_iter().flatten();
    for lint in lints() {
        if let Check::List(check) = lint.check {
            check(&crl).map_err(|finding| lint.failed(finding))?;
        }
    }
    for entry in crl.entries() {
        let entry = entry?;
        for lint in lints() {
            if let Check::Entry(check) = lint.check {
                check(&entry).map_err(|finding| lint.failed(finding))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
