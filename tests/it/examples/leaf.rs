//! Reads the first certificate of a chain.

use anyhow::{Context as _, Result};
use x509_parser::{
    extensions::GeneralName,
    pem::{Pem, parse_x509_pem},
    prelude::X509Certificate,
};

/// The first certificate of a chain.
pub(super) struct Leaf(Pem);

impl Leaf {
    pub(super) fn of(chain: &str) -> Result<Self> {
        let (_, pem) = parse_x509_pem(chain.as_bytes()).context("no PEM")?;
        Ok(Self(pem))
    }

    pub(super) fn certificate(&self) -> Result<X509Certificate<'_>> {
        Ok(self.0.parse_x509()?)
    }

    /// Returns the DNS names and URIs, and whether they are critical.
    pub(super) fn names(&self) -> Result<(Vec<String>, bool)> {
        let certificate = self.certificate()?;
        let extension = certificate
            .subject_alternative_name()?
            .context("no names")?;
        let text = |name: &GeneralName<'_>| {
            if let GeneralName::DNSName(text) | GeneralName::URI(text) = name {
                (*text).to_owned()
            } else {
                format!("{name:?}")
            }
        };
        let names = &extension.value.general_names;
        Ok((names.iter().map(text).collect(), extension.critical))
    }

    /// Returns the lifetime in seconds.
    pub(super) fn seconds(&self) -> Result<i64> {
        let certificate = self.certificate()?;
        let validity = certificate.validity();
        Ok(validity.not_after.timestamp() - validity.not_before.timestamp())
    }
}
