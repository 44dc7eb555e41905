//! CRLs, well formed and malformed.

use const_oid::{
    ObjectIdentifier,
    db::{
        rfc5280::{
            ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_CRL_NUMBER, ID_CE_CRL_REASONS,
            ID_CE_INVALIDITY_DATE,
        },
        rfc5912::ECDSA_WITH_SHA_256,
    },
};

use super::{Authority, bit_string, common_name, extension, integer, oid_der, sequence, tlv};

/// A correct TBSCertList whose parts can be spoilt.
#[derive(Clone)]
pub(in crate::issuance) struct DraftCrl {
    pub(in crate::issuance) version: Vec<u8>,
    pub(in crate::issuance) algorithm: Vec<u8>,
    pub(in crate::issuance) issuer: Vec<u8>,
    pub(in crate::issuance) this_update: Vec<u8>,
    pub(in crate::issuance) next_update: Vec<u8>,
    pub(in crate::issuance) entries: Vec<DraftEntry>,
    /// Whether revokedCertificates is there.
    pub(in crate::issuance) has_list: bool,
    pub(in crate::issuance) extensions: Vec<(ObjectIdentifier, bool, Vec<u8>)>,
    /// Another extension, already encoded.
    pub(in crate::issuance) raw: Vec<u8>,
}

#[derive(Clone)]
pub(in crate::issuance) struct DraftEntry {
    pub(in crate::issuance) serial: Vec<u8>,
    pub(in crate::issuance) at: Vec<u8>,
    pub(in crate::issuance) extensions: Vec<u8>,
}

impl DraftCrl {
    pub(in crate::issuance) fn new() -> Self {
        let reason = extension(ID_CE_CRL_REASONS, false, &[10, 1, 1]);
        let invalidity = extension(ID_CE_INVALIDITY_DATE, false, &tlv(0x18, b"20231101000000Z"));
        Self {
            version: integer(&[1]),
            algorithm: sequence(&[&oid_der(ECDSA_WITH_SHA_256)]),
            issuer: common_name("root"),
            this_update: tlv(0x17, b"231114221320Z"),
            next_update: tlv(0x17, b"231121221320Z"),
            entries: vec![
                DraftEntry {
                    serial: integer(&[0x5a; 16]),
                    at: tlv(0x17, b"231114220000Z"),
                    extensions: Vec::new(),
                },
                DraftEntry {
                    serial: integer(&[0x5b; 16]),
                    at: tlv(0x17, b"231114220000Z"),
                    extensions: sequence(&[&reason, &invalidity]),
                },
            ],
            has_list: true,
            extensions: vec![
                (
                    ID_CE_AUTHORITY_KEY_IDENTIFIER,
                    false,
                    sequence(&[&tlv(0x80, b"key id")]),
                ),
                (ID_CE_CRL_NUMBER, false, integer(&[0x12, 0x34])),
            ],
            raw: Vec::new(),
        }
    }

    /// Encodes the TBSCertList.
    pub(in crate::issuance) fn der(&self) -> Vec<u8> {
        let entry = |entry: &DraftEntry| sequence(&[&entry.serial, &entry.at, &entry.extensions]);
        let entries: Vec<_> = self.entries.iter().map(entry).collect();
        let list = if self.has_list {
            sequence(&[&entries.concat()])
        } else {
            Vec::new()
        };
        let extensions: Vec<_> = self
            .extensions
            .iter()
            .map(|(kind, critical, value)| extension(*kind, *critical, value))
            .collect();
        sequence(&[
            &self.version,
            &self.algorithm,
            &self.issuer,
            &self.this_update,
            &self.next_update,
            &list,
            &tlv(0xa0, &sequence(&[&extensions.concat(), &self.raw])),
        ])
    }

    /// Replaces an extension, or adds it.
    pub(in crate::issuance) fn set(
        &mut self,
        kind: ObjectIdentifier,
        critical: bool,
        value: Vec<u8>,
    ) {
        self.extensions.retain(|(present, ..)| *present != kind);
        self.extensions.push((kind, critical, value));
    }

    /// Signs the CRL with the authority's key.
    pub(in crate::issuance) fn signed(&self, authority: &Authority) -> Vec<u8> {
        let tbs = self.der();
        let signature = authority.key().sign(authority.key().scheme(), &tbs);
        sequence(&[&tbs, &self.algorithm, &bit_string(&signature)])
    }
}

/// The value of an issuing distribution point with this URL.
pub(in crate::issuance) fn distribution_point(url: &[u8]) -> Vec<u8> {
    sequence(&[&tlv(0xa0, &tlv(0xa0, &tlv(0x86, url)))])
}
