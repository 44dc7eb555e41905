//! Which certificates on a token belong to a key. Pure.

use hsm::{SeenCertificate, SeenKey};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, public_key::PublicKey};

/// How a certificate was found to belong to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bond {
    /// It certifies the key's public half.
    PublicKey,
    /// The token does not show the public half, and both have the same `CKA_ID`.
    Id,
}

/// Returns how a certificate belongs to a key, if it does. A certificate with the same `CKA_ID` and another public key does
/// not: anyone may have stored it.
pub(super) fn bond(key: &SeenKey, certificate: &SeenCertificate) -> Option<Bond> {
    let certified = certificate.der.as_deref().and_then(certified);
    match (&key.public, certified) {
        (Some(public), Some(certified)) => (*public == certified).then_some(Bond::PublicKey),
        (None, _) | (_, None) => {
            (!key.id.is_empty() && key.id == certificate.id).then_some(Bond::Id)
        }
    }
}

/// Returns the public key of a certificate in the form of [`SeenKey::public`].
fn certified(der: &[u8]) -> Option<Vec<u8>> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    let spki = certificate.public_key();
    let octets = match spki.parsed() {
        Ok(PublicKey::RSA(key)) => {
            let zeros = key.modulus.iter().take_while(|octet| **octet == 0).count();
            key.modulus.get(zeros..)?
        }
        Ok(_) | Err(_) => &spki.subject_public_key.data,
    };
    Some(octets.to_vec())
}
