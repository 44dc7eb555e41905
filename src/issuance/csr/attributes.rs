//! The attributes of a CSR: which of them ask for something.
//!
//! Nothing that an attribute asks for is dropped silently. Attributes that only inform, such as a challenge password
//! or the client's version, are ignored.

use const_oid::db::rfc5912::ID_EXTENSION_REQ;
use der::{Decode as _, Tag, Tagged as _, asn1::AnyRef};

use super::not_der;
use crate::issuance::{
    name,
    oid::Oid,
    raw::{Attribute, Extension, RequestInfo, duplicate, duplicate_extension, whole},
    refusal::{Refusal, RefusalReason},
};

/// Most extensions that one CSR may ask for, so that a list of dropped extensions stays readable. Certificates have
/// about ten.
pub(super) const MAX_EXTENSIONS: usize = 100;

/// Microsoft's extension request (MS-WCCE, section 2.2.2.7.7.4, szOID_CERT_EXTENSIONS): the same list of extensions as in
/// the extensionRequest of RFC 2985.
const MICROSOFT_EXTENSIONS: Oid = Oid::new_unwrap("1.3.6.1.4.1.311.2.1.14");

/// A name and a value for Microsoft's CA (MS-WCCE, section 2.2.2.7.10, szOID_ENROLLMENT_NAME_VALUE_PAIR).
const NAME_VALUE_PAIR: Oid = Oid::new_unwrap("1.3.6.1.4.1.311.13.2.1");

/// Microsoft's arc. Its clients repeat attributes of one type instead of giving one attribute several values.
const MICROSOFT: Oid = Oid::new_unwrap("1.3.6.1.4.1.311");

/// Names of pairs that only say where the request was made: the domain controller, and the client's machine.
const INFORMATIVE: [&str; 3] = ["cdc", "rmd", "ccm"];

/// Returns the extensions that the attributes ask for. Several extension requests, or several values of one, ask for all
/// of their extensions; an extension that occurs in two of them with the same value counts once.
pub(super) fn requested_extensions(info: &RequestInfo<'_>) -> Result<Vec<Extension>, Refusal> {
    let single = |oid: &&Oid| !is_extension_request(oid) && !oid.starts_with(&MICROSOFT);
    let types = info.attributes.iter().map(|attribute| &attribute.oid);
    if let Some(oid) = duplicate(types.filter(single)) {
        return Err(Refusal::new(
            RefusalReason::DuplicateAttribute,
            format!("the CSR has attribute {oid} twice"),
        ));
    }
    let mut extensions = Vec::new();
    for attribute in &info.attributes {
        if is_extension_request(&attribute.oid) {
            read_extensions(attribute, &mut extensions)?;
        } else if attribute.oid == NAME_VALUE_PAIR {
            attribute
                .values
                .iter()
                .try_for_each(|pair| check_pair(pair))?;
        }
    }
    match duplicate_extension(&extensions) {
        Some(oid) => Err(Refusal::new(
            RefusalReason::DuplicateExtension,
            format!("the CSR asks for extension {oid} twice"),
        )),
        None => Ok(extensions),
    }
}

fn is_extension_request(oid: &Oid) -> bool {
    *oid == ID_EXTENSION_REQ || *oid == MICROSOFT_EXTENSIONS
}

fn read_extensions(
    attribute: &Attribute<'_>,
    extensions: &mut Vec<Extension>,
) -> Result<(), Refusal> {
    if attribute.values.is_empty() {
        return Err(Refusal::new(
            RefusalReason::BadDer,
            format!("the CSR's extension request {} has no value", attribute.oid),
        ));
    }
    for value in &attribute.values {
        let mut asked = Vec::<Extension>::from_der(value).map_err(not_der)?;
        let count = extensions.len() + asked.len();
        if count > MAX_EXTENSIONS {
            return Err(Refusal::new(
                RefusalReason::TooLarge,
                format!(
                    "the CSR asks for {count} extensions; at most {MAX_EXTENSIONS} are allowed; leave out those that the certificate does not need"
                ),
            ));
        }
        // Within one list, no extension may occur twice, not even with the same value (RFC 5280, section 4.2).
        if duplicate_extension(&asked).is_none() {
            asked.retain(|extension| !extensions.contains(extension));
        }
        extensions.append(&mut asked);
    }
    Ok(())
}

/// Refuses a pair that asks for something: a template, names, or a validity. An approver does not see the pair; what it asks
/// for belongs in the request or in an extension of the CSR.
fn check_pair(pair: &[u8]) -> Result<(), Refusal> {
    let text = |value: AnyRef<'_>| name::text(value.tag(), value.value());
    let read = AnyRef::from_der(pair)
        .and_then(|pair| {
            pair.tag().assert_eq(Tag::Sequence)?;
            whole(pair.value(), |reader| {
                Ok((text(AnyRef::decode(reader)?), text(AnyRef::decode(reader)?)))
            })
        })
        .map_err(not_der)?;
    let (name, value) = (read.0.unwrap_or_default(), read.1.unwrap_or_default());
    if INFORMATIVE
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&name))
    {
        return Ok(());
    }
    Err(Refusal::new(
        RefusalReason::ExtensionNotAllowed,
        format!(
            "the CSR asks Microsoft's CA for {name:?} with the value {value:?}, which this issuer does not read; leave the attribute out, and put names into the subject alternative name extension"
        ),
    ))
}
