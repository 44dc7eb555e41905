//! Our own lints on a certificate that is about to be signed. Each has a name, a citation and a check.
//!
//! A lint looks at the encoded TBS, read back by a parser that had no part in writing it. Two other decoders first read
//! the certificate with a signature of zeros, and must agree with that parser. The request was admitted before, so a
//! lint that fails is a bug in this program. The certificate is then not signed.

use std::fmt;

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ID_CE_BASIC_CONSTRAINTS, ID_CE_EXT_KEY_USAGE, ID_CE_KEY_USAGE, ID_CE_SUBJECT_ALT_NAME,
    },
};
use der::{Decode, Encode as _, flagset::FlagSet};
use x509_cert::{
    certificate::Certificate,
    ext::pkix::{BasicConstraints, KeyUsage, KeyUsages},
};

use super::{
    chain::IssuerCertificate,
    issuer::Issuer,
    key::PublicKey,
    lint_error::ensure,
    name::Name,
    oid::Oid,
    raw::Tbs,
    reread,
    san::{GeneralName, SanError, SubjectAltNames},
    tbs,
};

mod extensions;
mod fields;
mod names;
mod publication;

pub use super::lint_error::LintError;

/// Every lint, in the order of the parts of a certificate.
pub const LINTS: [&[Lint]; 4] = [
    fields::LINTS,
    names::LINTS,
    extensions::LINTS,
    publication::LINTS,
];

/// A lint. `name` is stable and labels a metric; `citation` is the clause it enforces.
pub struct Lint {
    /// Stable name that begins with its source: `rfc5280_…`.
    pub name: &'static str,
    /// Document and section.
    pub citation: &'static str,
    check: fn(&Linted<'_>) -> Result<(), String>,
}

impl fmt::Debug for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lint")
            .field("name", &self.name)
            .field("citation", &self.citation)
            .finish_non_exhaustive()
    }
}

/// A certificate as a lint sees it.
struct Linted<'a> {
    tbs: Tbs<'a>,
    key: PublicKey,
    issuer: &'a Issuer,
    algorithm: Vec<u8>,
    /// The subject key identifier of a CA that exists; `None`: the one that is computed from the key.
    kept_key_id: Option<&'a [u8]>,
}

impl<'a> Linted<'a> {
    fn read(
        tbs_der: &'a [u8],
        issuer: &'a Issuer,
        kept_key_id: Option<&'a [u8]>,
    ) -> Result<Self, LintError> {
        let undecodable = |finding: String| LintError {
            lint: "decodable",
            citation: "RFC 5280, section 4.1",
            finding,
        };
        let algorithm = issuer
            .algorithm()
            .scheme()
            .to_der()
            .map_err(|error| undecodable(error.to_string()))?;
        other_decoders(tbs_der, &algorithm, issuer).map_err(undecodable)?;
        let tbs = Tbs::parse(tbs_der).map_err(|error| undecodable(error.to_string()))?;
        let key = PublicKey::parse(tbs.spki).map_err(|error| undecodable(error.to_string()))?;
        Ok(Self {
            tbs,
            key,
            issuer,
            algorithm,
            kept_key_id,
        })
    }

    fn issuing(&self) -> &IssuerCertificate {
        self.issuer.chain().issuing()
    }

    fn extension<T: for<'d> Decode<'d, Error = der::Error>>(
        &self,
        oid: ObjectIdentifier,
    ) -> Result<Option<(bool, T)>, String> {
        self.tbs
            .extension(oid)
            .map(|extension| {
                T::from_der(extension.extn_value.as_bytes())
                    .map(|value| (extension.critical, value))
                    .map_err(|error| format!("extension {oid} cannot be read: {error}"))
            })
            .transpose()
    }

    fn basic_constraints(&self) -> Result<Option<(bool, BasicConstraints)>, String> {
        self.extension(ID_CE_BASIC_CONSTRAINTS)
    }

    fn is_ca(&self) -> Result<bool, String> {
        Ok(self
            .basic_constraints()?
            .is_some_and(|(_, constraints)| constraints.ca))
    }

    /// The bits of keyUsage; none without the extension.
    fn key_usage(&self) -> Result<FlagSet<KeyUsages>, String> {
        let found = self.extension::<KeyUsage>(ID_CE_KEY_USAGE)?;
        Ok(found.map_or_else(FlagSet::default, |(_, usage)| usage.0))
    }

    /// The purposes of extKeyUsage; none without the extension.
    fn purposes(&self) -> Result<Vec<Oid>, String> {
        let found = self.extension::<Vec<Oid>>(ID_CE_EXT_KEY_USAGE)?;
        Ok(found.map_or_else(Vec::new, |(_, purposes)| purposes))
    }

    fn subject(&self) -> Result<Name, String> {
        Name::parse(self.tbs.subject).map_err(|error| error.to_string())
    }

    /// The subject alternative names; none without the extension.
    fn names(&self) -> Result<Vec<GeneralName>, String> {
        let Some(extension) = self.tbs.extension(ID_CE_SUBJECT_ALT_NAME) else {
            return Ok(Vec::new());
        };
        SubjectAltNames::parse(extension.extn_value.as_bytes())
            .map(|names| names.names().to_vec())
            .map_err(|error: SanError| error.to_string())
    }
}

/// Runs every lint over a TBSCertificate that `issuer` is about to sign.
///
/// # Errors
///
/// The first lint that fails.
pub(super) fn run(tbs_der: &[u8], issuer: &Issuer) -> Result<(), LintError> {
    run_each(tbs_der, issuer, None, |_| true)
}

/// Runs the lints over the TBSCertificate of a CA. `kept_key_id` is its subject key identifier if its earlier certificates have
/// one; otherwise the identifier must be computed from the key. For a root, whose `issuer` is itself, those lints are left out that
/// compare a certificate with a different one above it: the name of a root is its issuer's, and its path length limits only what is
/// below it.
///
/// # Errors
///
/// The first lint that fails.
pub(super) fn run_authority(
    tbs_der: &[u8],
    issuer: &Issuer,
    kept_key_id: Option<&[u8]>,
    is_root: bool,
) -> Result<(), LintError> {
    run_each(tbs_der, issuer, kept_key_id, |lint| {
        !is_root || !NOT_OF_ROOTS.contains(&lint.name)
    })
}

const NOT_OF_ROOTS: [&str; 2] = [
    "rfc5280_subject_is_not_issuer",
    "rfc5280_path_length_within_ca",
];

fn run_each(
    tbs_der: &[u8],
    issuer: &Issuer,
    kept_key_id: Option<&[u8]>,
    wanted: impl Fn(&Lint) -> bool,
) -> Result<(), LintError> {
    let linted = Linted::read(tbs_der, issuer, kept_key_id)?;
    let lints = LINTS.into_iter().flatten();
    lints.filter(|lint| wanted(lint)).try_for_each(|lint| {
        (lint.check)(&linted).map_err(|finding| LintError {
            lint: lint.name,
            citation: lint.citation,
            finding,
        })
    })
}

/// Checks that two other decoders can read the certificate with a signature of zeros. `x509-cert` must read the same
/// public key as we do, and `x509-parser` the same value of every part. `x509-cert` cannot read identifiers with large arcs,
/// so it is not asked about a certificate that has one as the type of an extension or of an attribute in a name.
fn other_decoders(tbs_der: &[u8], algorithm: &[u8], issuer: &Issuer) -> Result<(), String> {
    let read = || -> der::Result<(Vec<u8>, bool)> {
        let der = tbs::signed(tbs_der, algorithm, &[0; 64])?;
        if has_large_arcs(&Tbs::parse(tbs_der)?)? {
            return Ok((der, true));
        }
        let certificate = Certificate::from_der(&der)?;
        let spki = certificate
            .tbs_certificate()
            .subject_public_key_info()
            .to_der()?;
        let same = Tbs::parse(tbs_der)?.spki == spki;
        Ok((der, same))
    };
    match read() {
        Ok((der, true)) => reread::compare(&der, issuer.profile().copied_extensions())
            .map_err(|error| error.to_string()),
        Ok((_, false)) => Err("a second decoder reads a different public key".to_owned()),
        Err(error) => Err(format!("a second decoder cannot read it: {error}")),
    }
}

/// Returns whether an extension or an attribute of a name has a type with a large arc.
fn has_large_arcs(tbs: &Tbs<'_>) -> der::Result<bool> {
    let (issuer, subject) = (Name::parse(tbs.issuer)?, Name::parse(tbs.subject)?);
    let extensions = tbs.extensions.iter().map(|extension| &extension.extn_id);
    let mut types = extensions.chain(issuer.types()).chain(subject.types());
    Ok(types.any(|oid| oid.small().is_none()))
}

#[cfg(test)]
mod tests;
