//! Compares how two parsers read a CRL: ours, and one that shares no code with ours.
//!
//! The second parser would need a kilobyte for each entry if it read the whole CRL at once. Here it reads the parts, entry by
//! entry.

use x509_cert::time::Time;
use x509_parser::{
    asn1_rs::{Any, BitString, Tag},
    extensions::{ParsedExtension, X509Extension},
    prelude::FromDer as _,
    revocation_list::RevokedCertificate,
    time::ASN1Time,
    x509::{AlgorithmIdentifier, X509Name},
};

use super::list::CertList;
use crate::issuance::{raw::Extension, reread::RereadError};

/// Returns the error for a part that cannot be read or is read differently.
fn differs(what: impl std::fmt::Display) -> RereadError {
    RereadError(what.to_string())
}

/// Cuts off the first element and returns its content.
fn element<'a>(octets: &mut &'a [u8], tag: Tag) -> Result<&'a [u8], RereadError> {
    let (rest, any) = Any::from_der(octets).map_err(differs)?;
    if any.tag() != tag {
        return Err(differs(format!("{:?} instead of {tag:?}", any.tag())));
    }
    *octets = rest;
    Ok(any.data)
}

/// Cuts off what `read` reads, and returns its value and its octets.
fn part<'a, T, E: std::fmt::Debug>(
    octets: &mut &'a [u8],
    read: impl Fn(&'a [u8]) -> x509_parser::nom::IResult<&'a [u8], T, E>,
) -> Result<(T, &'a [u8]), RereadError> {
    let (rest, value) = read(octets).map_err(differs)?;
    let length = octets.len() - rest.len();
    let (own, _) = octets.split_at(length);
    *octets = rest;
    Ok((value, own))
}

/// Compares the readings of a TBSCertList.
///
/// # Errors
///
/// Returns the first difference.
pub(super) fn compare(tbs: &[u8]) -> Result<(), RereadError> {
    let ours = CertList::parse(tbs).map_err(differs)?;
    let mut rest = tbs;
    let mut fields = element(&mut rest, Tag::Sequence)?;
    let version = element(&mut fields, Tag::Integer)?;
    let (_, algorithm) = part(&mut fields, AlgorithmIdentifier::from_der)?;
    let (issuer, _) = part(&mut fields, X509Name::from_der)?;
    let (this_update, _) = part(&mut fields, ASN1Time::from_der)?;
    let (next_update, _) = part(&mut fields, ASN1Time::from_der)?;
    let same = [
        ("octets at the end", rest.is_empty()),
        ("version", version == [ours.version.unwrap_or_default()]),
        ("algorithm", algorithm == ours.algorithm),
        ("issuer", issuer.as_raw() == ours.issuer),
        (
            "thisUpdate",
            this_update.timestamp() == seconds(ours.this_update),
        ),
        (
            "nextUpdate",
            Some(next_update.timestamp()) == ours.next_update.map(seconds),
        ),
    ];
    if let Some((field, _)) = same.iter().find(|(_, same)| !same) {
        return Err(differs(field));
    }
    if ours.has_entries() {
        entries(element(&mut fields, Tag::Sequence)?, &ours)?;
    }
    let mut outer = element(&mut fields, Tag(0))?;
    let theirs = element(&mut outer, Tag::Sequence)?;
    extensions(theirs, &ours.extensions().map_err(differs)?)?;
    if fields.is_empty() && outer.is_empty() {
        Ok(())
    } else {
        Err(differs("octets at the end"))
    }
}

fn entries(mut theirs: &[u8], ours: &CertList<'_>) -> Result<(), RereadError> {
    for (number, ours) in (1..).zip(ours.entries()) {
        let ours = ours.map_err(differs)?;
        let (entry, _) = part(&mut theirs, RevokedCertificate::from_der)?;
        if entry.raw_serial() != ours.serial
            || entry.revocation_date.timestamp() != seconds(ours.at)
        {
            return Err(differs(format!("entry {number}")));
        }
        compare_extensions(entry.extensions(), &ours.extensions().map_err(differs)?)?;
    }
    if theirs.is_empty() {
        Ok(())
    } else {
        Err(differs("octets after the last entry"))
    }
}

fn extensions(mut theirs: &[u8], ours: &[Extension]) -> Result<(), RereadError> {
    let mut all = Vec::new();
    while !theirs.is_empty() {
        all.push(part(&mut theirs, X509Extension::from_der)?.0);
    }
    compare_extensions(&all, ours)
}

fn compare_extensions(theirs: &[X509Extension<'_>], ours: &[Extension]) -> Result<(), RereadError> {
    if theirs.len() != ours.len() {
        return Err(differs("number of extensions"));
    }
    for (theirs, ours) in theirs.iter().zip(ours) {
        let same = theirs.oid.as_bytes() == ours.extn_id.as_bytes()
            && theirs.critical == ours.critical
            && theirs.value == ours.extn_value.as_bytes();
        let unreadable = matches!(
            theirs.parsed_extension(),
            ParsedExtension::ParseError { .. } | ParsedExtension::UnsupportedExtension { .. }
        );
        if !same || unreadable {
            return Err(differs(format!("extension {}", ours.extn_id)));
        }
    }
    Ok(())
}

/// Checks that the second parser finds these parts in a signed CRL.
///
/// # Errors
///
/// Returns the first difference.
pub(super) fn compare_frame(
    der: &[u8],
    tbs: &[u8],
    algorithm: &[u8],
    signature: &[u8],
) -> Result<(), RereadError> {
    let mut rest = der;
    let mut parts = element(&mut rest, Tag::Sequence)?;
    let (_, to_be_signed) = part(&mut parts, Any::from_der)?;
    let (_, outer_algorithm) = part(&mut parts, AlgorithmIdentifier::from_der)?;
    let (value, _) = part(&mut parts, BitString::from_der)?;
    let same = [
        ("octets at the end", rest.is_empty() && parts.is_empty()),
        ("to be signed", to_be_signed == tbs),
        ("algorithm", outer_algorithm == algorithm),
        (
            "signature",
            value.unused_bits == 0 && value.data.as_ref() == signature,
        ),
    ];
    match same.iter().find(|(_, same)| !same) {
        Some((field, _)) => Err(differs(field)),
        None => Ok(()),
    }
}

fn seconds(time: Time) -> i64 {
    i64::try_from(time.to_unix_duration().as_secs()).unwrap_or(i64::MAX)
}
