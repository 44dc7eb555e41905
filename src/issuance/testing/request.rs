//! Certification requests, well formed and malformed, and the parameters of the object that carries them.

use const_oid::db::{rfc5280::ID_CE_SUBJECT_ALT_NAME, rfc5912::ID_EXTENSION_REQ};
use jiff::SignedDuration;

use super::{
    TestKey, bit_string, common_name, extension, large_oid, name, oid_der, san, sequence, set, tlv,
};
use crate::issuance::{Wanted, oid::Oid, pattern::Variables, pem, scheme::SignatureScheme};

/// A certification request under construction. Tests can make any part wrong.
pub(in crate::issuance) struct Request {
    pub(in crate::issuance) version: Vec<u8>,
    pub(in crate::issuance) subject: Vec<u8>,
    pub(in crate::issuance) spki: Vec<u8>,
    pub(in crate::issuance) extensions: Vec<Vec<u8>>,
    pub(in crate::issuance) attributes: Vec<Vec<u8>>,
    pub(in crate::issuance) algorithm: Option<Vec<u8>>,
    pub(in crate::issuance) scheme: SignatureScheme,
}

impl Request {
    /// Starts a request for this subject and this key, without extensions.
    pub(in crate::issuance) fn new(subject: &str, key: &TestKey) -> Self {
        Self {
            version: vec![0],
            subject: if subject.is_empty() {
                name(&[])
            } else {
                common_name(subject)
            },
            spki: key.spki().to_vec(),
            extensions: Vec::new(),
            attributes: Vec::new(),
            algorithm: None,
            scheme: key.scheme(),
        }
    }

    pub(in crate::issuance) fn extension(mut self, kind: impl Into<Oid>, value: &[u8]) -> Self {
        self.extensions.push(extension(kind, false, value));
        self
    }

    pub(in crate::issuance) fn critical_extension(
        mut self,
        kind: impl Into<Oid>,
        value: &[u8],
    ) -> Self {
        self.extensions.push(extension(kind, true, value));
        self
    }

    pub(in crate::issuance) fn names(self, names: &[(u8, &[u8])]) -> Self {
        self.extension(ID_CE_SUBJECT_ALT_NAME, &san(names))
    }

    pub(in crate::issuance) fn attribute(mut self, kind: &str, values: &[&[u8]]) -> Self {
        self.attributes
            .push(sequence(&[&oid_der(large_oid(kind)), &set(values)]));
        self
    }

    pub(in crate::issuance) fn info(&self) -> Vec<u8> {
        let mut attributes = self.attributes.concat();
        if !self.extensions.is_empty() {
            let extensions = tlv(0x30, &self.extensions.concat());
            attributes.extend(sequence(&[
                &oid_der(ID_EXTENSION_REQ),
                &set(&[&extensions]),
            ]));
        }
        sequence(&[
            &tlv(2, &self.version),
            &self.subject,
            &self.spki,
            &tlv(0xa0, &attributes),
        ])
    }

    pub(in crate::issuance) fn der(&self, key: &TestKey) -> Vec<u8> {
        let info = self.info();
        let algorithm = self
            .algorithm
            .clone()
            .unwrap_or_else(|| self.scheme.to_der().unwrap());
        let signature = key.sign(self.scheme, &info);
        sequence(&[&info, &algorithm, &bit_string(&signature)])
    }

    /// Signs the request with this key and returns it as PEM.
    pub(in crate::issuance) fn pem(&self, key: &TestKey) -> String {
        pem::encode("CERTIFICATE REQUEST", &self.der(key))
    }
}

/// Namespace and name of the requests in tests.
pub(in crate::issuance) const HERE: Variables<'static> = Variables {
    namespace: Some("shop"),
    name: "web",
};

/// The parameters of most requests: the default usages and duration.
pub(in crate::issuance) const DEFAULT: Wanted<'static> = Wanted {
    variables: HERE,
    usages: &[],
    is_ca: false,
    by_annotation: false,
    duration: None,
};

pub(in crate::issuance) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

pub(in crate::issuance) fn wanting(usages: &[String]) -> Wanted<'_> {
    Wanted { usages, ..DEFAULT }
}

pub(in crate::issuance) fn lasting(duration: SignedDuration) -> Wanted<'static> {
    Wanted {
        duration: Some(duration),
        ..DEFAULT
    }
}
