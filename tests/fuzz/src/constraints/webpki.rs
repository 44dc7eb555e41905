//! The verdict of rustls-webpki on the same constraints and names. It compares DNS names and IP addresses, and refuses every
//! name of another constrained type.

use std::{net::IpAddr, time::Duration};

use const_oid::db::rfc5280::{ID_CE_KEY_USAGE, ID_CE_NAME_CONSTRAINTS, ID_CE_SUBJECT_ALT_NAME};
use pkcs11_issuer::issuance::san::GeneralName;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter,
    anchor_from_trusted_cert,
};

use crate::{
    authority::{SUBJECT, certificate, root},
    der::{DNS, IP, extension, names, tlv},
};

/// 2030-01-01T00:00:00Z.
const NOW: Duration = Duration::from_secs(1_893_456_000);

/// Whether webpki refuses a certificate below a root with these constraints because of its DNS names and IP addresses, while
/// it accepts one without names.
pub(super) fn forbids(constraints: &[u8], all: &[GeneralName]) -> bool {
    let compared: Vec<(u8, Vec<u8>)> = all.iter().filter_map(octets).collect();
    let compared: Vec<(u8, &[u8])> = compared
        .iter()
        .map(|(tag, octets)| (*tag, octets.as_slice()))
        .collect();
    let root = root(&extension(ID_CE_NAME_CONSTRAINTS, true, constraints));
    let refused = |names: &[u8]| verdict(&root, names) == Err(Error::NameConstraintViolation);
    !compared.is_empty() && refused(&names(&compared)) && !refused(&[])
}

fn octets(name: &GeneralName) -> Option<(u8, Vec<u8>)> {
    match name {
        GeneralName::Dns(name) => Some((DNS, name.clone().into_bytes())),
        GeneralName::Ip(IpAddr::V4(address)) => Some((IP, address.octets().to_vec())),
        GeneralName::Ip(IpAddr::V6(address)) => Some((IP, address.octets().to_vec())),
        GeneralName::Uri(_)
        | GeneralName::Email(_)
        | GeneralName::OtherName(_)
        | GeneralName::Directory(_)
        | GeneralName::RegisteredId(_)
        | GeneralName::Other(_) => None,
    }
}

fn verdict(root: &[u8], names: &[u8]) -> Result<(), Error> {
    let mut extensions = extension(ID_CE_KEY_USAGE, true, &[3, 2, 7, 0x80]);
    if !names.is_empty() {
        extensions.extend(extension(ID_CE_SUBJECT_ALT_NAME, true, &tlv(0x30, names)));
    }
    let leaf = certificate(&[0x30, 0], &SUBJECT.spki, &extensions);
    let (root, leaf) = (CertificateDer::from(root), CertificateDer::from(leaf));
    let anchors = [anchor_from_trusted_cert(&root)?];
    let now = UnixTime::since_unix_epoch(NOW);
    EndEntityCert::try_from(&leaf)?
        .verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &anchors,
            &[],
            now,
            AnyPurpose,
            None,
            None,
        )
        .map(|_| ())
}

struct AnyPurpose;

impl ExtendedKeyUsageValidator for AnyPurpose {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}
