//! Certificate authorities, well formed and malformed.

use const_oid::db::rfc5280::{
    ID_CE_AUTHORITY_KEY_IDENTIFIER, ID_CE_BASIC_CONSTRAINTS, ID_CE_KEY_USAGE,
    ID_CE_SUBJECT_KEY_IDENTIFIER,
};
use der::{DateTime, Encode as _};
use jiff::Timestamp;
use x509_cert::time::Time;

use super::{TestKey, bit_string, common_name, extension, integer, key_usage, sequence, tlv};
use crate::issuance::{IssuerChain, oid::Oid, pem};

pub(in crate::issuance) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A CA certificate and its key.
pub(in crate::issuance) struct Authority {
    subject: Vec<u8>,
    key: &'static TestKey,
    der: Vec<u8>,
}

pub(in crate::issuance) struct AuthorityBuilder {
    subject: Vec<u8>,
    key: &'static TestKey,
    version: u8,
    validity: (Timestamp, Timestamp),
    constraints: Option<(bool, Option<u8>)>,
    key_usage: Vec<u8>,
    subject_key_id: Option<Vec<u8>>,
    duplicate: bool,
    others: Vec<Vec<u8>>,
    /// The algorithm that the certificate names, if it differs from the one that signs it.
    algorithm: Option<Vec<u8>>,
}

impl Authority {
    pub(in crate::issuance) fn builder(subject: &str) -> AuthorityBuilder {
        AuthorityBuilder {
            subject: common_name(subject),
            key: Box::leak(Box::new(TestKey::p256())),
            version: 2,
            validity: (at(0), at(4_000_000_000)),
            constraints: Some((true, None)),
            key_usage: vec![5, 6],
            subject_key_id: Some(b"key id".to_vec()),
            duplicate: false,
            others: Vec::new(),
            algorithm: None,
        }
    }

    pub(in crate::issuance) fn root(subject: &str) -> Self {
        Self::builder(subject).root()
    }

    /// Makes another authority certify the same name and key.
    pub(in crate::issuance) fn crossed(&self, subject: &str, issuer: &Self) -> Self {
        let crossed = Self::builder(subject).key(self.key).under(issuer);
        assert_eq!(crossed.subject, self.subject);
        crossed
    }

    pub(in crate::issuance) fn subordinate(&self, subject: &str) -> Self {
        Self::builder(subject).under(self)
    }

    pub(in crate::issuance) fn pem(&self) -> String {
        pem::encode("CERTIFICATE", &self.der)
    }

    pub(in crate::issuance) fn subject(&self) -> &[u8] {
        &self.subject
    }

    pub(in crate::issuance) const fn key(&self) -> &'static TestKey {
        self.key
    }

    /// Returns a chain of only this certificate.
    pub(in crate::issuance) fn chain(&self) -> IssuerChain {
        IssuerChain::parse(self.pem().as_bytes(), None).unwrap()
    }
}

/// First and last second of a certificate.
type Validity = (Timestamp, Timestamp);

/// Returns the chain of an issuing certificate and a root with these validities.
pub(crate) fn chain_valid(issuing: Validity, root: Validity) -> IssuerChain {
    let root = Authority::builder("root").validity(root.0, root.1).root();
    let issuing = Authority::builder("issuing").validity(issuing.0, issuing.1);
    let pem = bundle(&[&issuing.under(&root), &root]);
    IssuerChain::parse(pem.as_bytes(), None).unwrap()
}

pub(in crate::issuance) fn bundle(authorities: &[&Authority]) -> String {
    authorities
        .iter()
        .map(|authority| authority.pem())
        .collect()
}

impl AuthorityBuilder {
    pub(in crate::issuance) fn key(self, key: &'static TestKey) -> Self {
        Self { key, ..self }
    }

    /// Sets the DER of the subject.
    pub(in crate::issuance) fn called(self, subject: Vec<u8>) -> Self {
        Self { subject, ..self }
    }

    /// Names this signature algorithm (DER) in the certificate instead of the one that signs it.
    pub(in crate::issuance) fn claiming(self, algorithm: Vec<u8>) -> Self {
        Self {
            algorithm: Some(algorithm),
            ..self
        }
    }

    /// Sets the subject key identifier and the authority key identifier.
    pub(in crate::issuance) fn key_ids(self, subject: &[u8], authority: &[u8]) -> Self {
        let value = sequence(&[&tlv(0x80, authority)]);
        Self {
            subject_key_id: Some(subject.to_vec()),
            ..self.extension(ID_CE_AUTHORITY_KEY_IDENTIFIER, false, &value)
        }
    }

    pub(in crate::issuance) fn version(self, version: u8) -> Self {
        Self { version, ..self }
    }

    pub(in crate::issuance) fn validity(self, from: Timestamp, to: Timestamp) -> Self {
        Self {
            validity: (from, to),
            ..self
        }
    }

    pub(in crate::issuance) fn ca(self, ca: bool) -> Self {
        Self {
            constraints: Some((ca, None)),
            ..self
        }
    }

    pub(in crate::issuance) fn path_length(self, length: u8) -> Self {
        Self {
            constraints: Some((true, Some(length))),
            ..self
        }
    }

    pub(in crate::issuance) fn without_basic_constraints(self) -> Self {
        Self {
            constraints: None,
            ..self
        }
    }

    /// Sets the bits of keyUsage; without a bit, the extension is left out.
    pub(in crate::issuance) fn key_usage(self, bits: &[u8]) -> Self {
        Self {
            key_usage: bits.to_vec(),
            ..self
        }
    }

    pub(in crate::issuance) fn without_subject_key_id(self) -> Self {
        Self {
            subject_key_id: None,
            ..self
        }
    }

    pub(in crate::issuance) fn duplicate_extension(self) -> Self {
        Self {
            duplicate: true,
            ..self
        }
    }

    /// Adds an extension.
    pub(in crate::issuance) fn extension(
        mut self,
        kind: impl Into<Oid>,
        critical: bool,
        value: &[u8],
    ) -> Self {
        self.others.push(extension(kind, critical, value));
        self
    }

    pub(in crate::issuance) fn root(self) -> Authority {
        self.signed(None)
    }

    pub(in crate::issuance) fn under(self, issuer: &Authority) -> Authority {
        self.signed(Some(issuer))
    }

    fn signed(self, issuer: Option<&Authority>) -> Authority {
        let (issuer, key) = issuer.map_or((&self.subject, self.key), |issuer| {
            (&issuer.subject, issuer.key)
        });
        let scheme = key.scheme();
        let algorithm = self.algorithm.unwrap_or_else(|| scheme.to_der().unwrap());
        let mut extensions = Vec::new();
        if let Some((ca, length)) = self.constraints {
            let ca = if ca { vec![1, 1, 0xff] } else { Vec::new() };
            let length = length.map(|length| integer(&[length])).unwrap_or_default();
            extensions.push(extension(
                ID_CE_BASIC_CONSTRAINTS,
                true,
                &sequence(&[&ca, &length]),
            ));
        }
        let usage = extension(ID_CE_KEY_USAGE, true, &key_usage(&self.key_usage));
        if self.duplicate {
            extensions.push(usage.clone());
        }
        if !self.key_usage.is_empty() {
            extensions.push(usage);
        }
        if let Some(id) = &self.subject_key_id {
            extensions.push(extension(ID_CE_SUBJECT_KEY_IDENTIFIER, false, &tlv(4, id)));
        }
        extensions.extend(self.others);
        let time = |timestamp: Timestamp| {
            let unix = std::time::Duration::from_secs(timestamp.as_second().unsigned_abs());
            Time::from(DateTime::from_unix_duration(unix).unwrap())
                .to_der()
                .unwrap()
        };
        // DER omits the default, version 1 (0). Only version 3 (2) has extensions.
        let version = match self.version {
            0 => Vec::new(),
            later => tlv(0xa0, &integer(&[later])),
        };
        let extensions = match self.version {
            0 | 1 => Vec::new(),
            _ => tlv(0xa3, &tlv(0x30, &extensions.concat())),
        };
        let tbs = sequence(&[
            &version,
            &integer(&[1, 2, 3]),
            &algorithm,
            issuer,
            &sequence(&[&time(self.validity.0), &time(self.validity.1)]),
            &self.subject,
            self.key.spki(),
            &extensions,
        ]);
        let signature = key.sign(scheme, &tbs);
        let der = sequence(&[&tbs, &algorithm, &bit_string(&signature)]);
        Authority {
            subject: self.subject,
            key: self.key,
            der,
        }
    }
}
