//! What the extensions of a CRL of others say.

use const_oid::{
    ObjectIdentifier,
    db::rfc5280::{
        ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_NUMBER, ID_CE_DELTA_CRL_INDICATOR,
        ID_CE_ISSUING_DISTRIBUTION_POINT,
    },
};
use der::{Decode, asn1::UintRef};
use x509_cert::ext::pkix::{
    AuthorityKeyIdentifier,
    crl::IssuingDistributionPoint,
    name::{DistributionPointName, GeneralName},
};

use super::{super::list::find, CrlScope, MAX_PART, ReadCrlError};
use crate::issuance::{
    oid::Oid,
    raw::{Extension, duplicate_extension},
};

/// Most octets of a CRL number (section 5.2.3).
const MAX_NUMBER: usize = 20;

/// The extensions of a CRL that are understood.
const KNOWN: [ObjectIdentifier; 3] = [
    ID_CE_AUTHORITY_KEY_IDENTIFIER,
    ID_CE_CRL_NUMBER,
    ID_CE_ISSUING_DISTRIBUTION_POINT,
];

/// What the extensions of a CRL say.
pub(super) struct Extensions {
    pub(super) number: Option<Vec<u8>>,
    pub(super) authority_key_id: Option<Vec<u8>>,
    pub(super) scope: CrlScope,
    /// The URLs of the distribution point; `None` without one.
    pub(super) points: Option<Vec<String>>,
}

impl Extensions {
    pub(super) fn read(extensions: &[Extension]) -> Result<Self, ReadCrlError> {
        if let Some(oid) = duplicate_extension(extensions) {
            return Err(ReadCrlError::DuplicateExtension(oid.clone()));
        }
        let large = |e: &&Extension| e.extn_value.as_bytes().len() > MAX_PART;
        if let Some(large) = extensions.iter().find(large) {
            return Err(ReadCrlError::Extension(large.extn_id.clone()));
        }
        // 5.2.4: its entries only change another CRL.
        if find(extensions, ID_CE_DELTA_CRL_INDICATOR).is_some() {
            return Err(ReadCrlError::Delta);
        }
        // 5.2: a CRL with an unknown critical extension MUST NOT be used.
        if let Some(oid) = unknown_critical(extensions, &KNOWN) {
            return Err(ReadCrlError::UnknownCritical(oid));
        }
        let number = value::<UintRef<'_>>(extensions, ID_CE_CRL_NUMBER)?
            .map(|number| number.as_bytes().to_vec());
        if number
            .as_ref()
            .is_some_and(|octets| octets.len() > MAX_NUMBER)
        {
            return Err(ReadCrlError::Extension(ID_CE_CRL_NUMBER.into()));
        }
        let identifier =
            value::<AuthorityKeyIdentifier>(extensions, ID_CE_AUTHORITY_KEY_IDENTIFIER)?;
        let point =
            value::<IssuingDistributionPoint>(extensions, ID_CE_ISSUING_DISTRIBUTION_POINT)?;
        let (scope, points) = point.map_or(Ok((CrlScope::All, None)), |point| scope(&point))?;
        Ok(Self {
            number,
            authority_key_id: identifier
                .and_then(|identifier| identifier.key_identifier)
                .map(|identifier| identifier.as_bytes().to_vec()),
            scope,
            points,
        })
    }
}

/// Returns the first critical extension that is not known.
pub(super) fn unknown_critical(
    extensions: &[Extension],
    known: &[ObjectIdentifier],
) -> Option<Oid> {
    extensions
        .iter()
        .find(|e| e.critical && !known.iter().any(|known| e.extn_id == *known))
        .map(|extension| extension.extn_id.clone())
}

/// Decodes the value of an extension, if it is there.
pub(super) fn value<'a, T: Decode<'a, Error = der::Error>>(
    extensions: &'a [Extension],
    oid: ObjectIdentifier,
) -> Result<Option<T>, ReadCrlError> {
    find(extensions, oid)
        .map(|extension| T::from_der(extension.extn_value.as_bytes()))
        .transpose()
        .map_err(|_| ReadCrlError::Extension(oid.into()))
}

/// Returns which certificates a CRL is about, and the URLs of its distribution point.
fn scope(
    point: &IssuingDistributionPoint,
) -> Result<(CrlScope, Option<Vec<String>>), ReadCrlError> {
    if point.indirect_crl {
        return Err(ReadCrlError::Indirect);
    }
    if point.only_some_reasons.is_some() {
        return Err(ReadCrlError::SomeReasons);
    }
    let scope = match (
        point.only_contains_user_certs,
        point.only_contains_ca_certs,
        point.only_contains_attribute_certs,
    ) {
        (false, false, false) => CrlScope::All,
        (true, false, false) => CrlScope::EndEntities,
        (false, true, false) => CrlScope::Authorities,
        // 5.2.5: at most one may be TRUE, and that for attribute certificates MUST be FALSE.
        (_, _, true) | (true, true, false) => {
            return Err(ReadCrlError::Extension(
                ID_CE_ISSUING_DISTRIBUTION_POINT.into(),
            ));
        }
    };
    Ok((scope, point.distribution_point.as_ref().map(urls)))
}

/// Returns the URLs of a distribution point. It may have none, and names of other kinds.
fn urls(point: &DistributionPointName) -> Vec<String> {
    let DistributionPointName::FullName(names) = point else {
        return Vec::new();
    };
    let mut urls = Vec::new();
    for name in names {
        if let GeneralName::UniformResourceIdentifier(url) = name {
            urls.push(url.to_string());
        }
    }
    urls
}
