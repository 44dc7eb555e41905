//! OpenSSH signatures (PROTOCOL.sshsig) by Ed25519 and P-256 keys, in software or on a security key (PROTOCOL.u2f).

use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use der::{Encode as _, Sequence, asn1::UintRef};

use crate::hash::Hash;

/// The namespace of approvals: a signature for another use is none.
pub(crate) const NAMESPACE: &str = "plan@pkcs11-issuer.dev";

const MAGIC: &[u8] = b"SSHSIG";
const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// The flag by which a security key says that somebody touched it (FIDO CTAP2, section 6.1).
const USER_PRESENT: u8 = 0x01;

/// A public key as OpenSSH encodes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SshKey(Vec<u8>);

/// Why a signature approves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SshError {
    #[error("it is not an OpenSSH signature")]
    Form,
    #[error("it is not a line of an OpenSSH public key")]
    Line,
    #[error("its namespace is not {NAMESPACE}")]
    Namespace,
    #[error(
        "its key is of an unsupported type: use ed25519, ecdsa (P-256), ed25519-sk or ecdsa-sk"
    )]
    Type,
    #[error("nobody touched the security key")]
    NoPresence,
    #[error(
        "it does not verify: it is for another plan or another list of approvers, or was changed"
    )]
    Wrong,
}

/// Reader of SSH's wire format (RFC 4251, section 5).
struct Wire<'a>(&'a [u8]);

impl<'a> Wire<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(length.try_into().ok()?)
    }

    fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

impl SshKey {
    /// Reads a line such as `ssh-ed25519 AAAA… comment`.
    pub(crate) fn parse(line: &str) -> Result<Self, SshError> {
        let mut words = line.split_whitespace();
        let (Some(kind), Some(base64)) = (words.next(), words.next()) else {
            return Err(SshError::Line);
        };
        let octets = STANDARD.decode(base64).map_err(|_| SshError::Line)?;
        let named = Wire(&octets).string().ok_or(SshError::Line)?;
        if named != kind.as_bytes() {
            return Err(SshError::Line);
        }
        Ok(Self(octets))
    }

    /// Returns the fingerprint as ssh-keygen prints it.
    pub(crate) fn fingerprint(&self) -> String {
        let base64 = STANDARD.encode(Hash::of(&self.0).octets());
        format!("SHA256:{}", base64.trim_end_matches('='))
    }

    /// Verifies the signature of an SSHSIG over its signed data.
    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), SshError> {
        let mut key = Wire(&self.0);
        let mut signature = Wire(signature);
        let kind = key.string().ok_or(SshError::Form)?;
        if signature.string().ok_or(SshError::Form)? != kind {
            return Err(SshError::Wrong);
        }
        let octets = signature.string().ok_or(SshError::Form)?;
        let elliptic = kind.ends_with(b"nistp256") || kind.ends_with(b"nistp256@openssh.com");
        if elliptic && key.string() != Some(b"nistp256") {
            return Err(SshError::Type);
        }
        let public = key.string().ok_or(SshError::Form)?;
        let signed = match kind {
            b"ssh-ed25519" | b"ecdsa-sha2-nistp256" => data.to_vec(),
            b"sk-ssh-ed25519@openssh.com" | b"sk-ecdsa-sha2-nistp256@openssh.com" => {
                let application = key.string().ok_or(SshError::Form)?;
                let flags = signature.take(1).ok_or(SshError::Form)?;
                let counter = signature.take(4).ok_or(SshError::Form)?;
                if flags.first().is_none_or(|flags| flags & USER_PRESENT == 0) {
                    return Err(SshError::NoPresence);
                }
                let (application, message) = (Hash::of(application), Hash::of(data));
                [
                    application.octets().as_slice(),
                    flags,
                    counter,
                    message.octets(),
                ]
                .concat()
            }
            _ => return Err(SshError::Type),
        };
        key.end().ok_or(SshError::Form)?;
        signature.end().ok_or(SshError::Form)?;
        let verified = if elliptic {
            let octets = ecdsa(octets).ok_or(SshError::Form)?;
            UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, public).verify(&signed, &octets)
        } else {
            UnparsedPublicKey::new(&ED25519, public).verify(&signed, octets)
        };
        verified.map_err(|_| SshError::Wrong)
    }
}

/// Converts the two `mpint` of RFC 5656, section 3.1.2.
fn ecdsa(octets: &[u8]) -> Option<Vec<u8>> {
    #[derive(Sequence)]
    struct EcdsaSignature<'a> {
        r: UintRef<'a>,
        s: UintRef<'a>,
    }
    let mut wire = Wire(octets);
    let (r, s) = (wire.string()?, wire.string()?);
    wire.end()?;
    let (r, s) = (UintRef::new(r).ok()?, UintRef::new(s).ok()?);
    EcdsaSignature { r, s }.to_der().ok()
}

/// Verifies a signature over a message, and returns the key that made it.
pub(crate) fn verify(armoured: &str, message: &[u8]) -> Result<SshKey, SshError> {
    let body = armoured
        .trim()
        .strip_prefix(BEGIN)
        .and_then(|rest| rest.strip_suffix(END))
        .ok_or(SshError::Form)?;
    let base64: String = body.split_whitespace().collect();
    let octets = STANDARD.decode(&base64).map_err(|_| SshError::Form)?;
    let blob = octets.strip_prefix(MAGIC).ok_or(SshError::Form)?;
    let mut blob = Wire(blob);
    if blob.number() != Some(1) {
        return Err(SshError::Form);
    }
    let mut part = || blob.string().ok_or(SshError::Form);
    let (key, namespace, reserved, hash, signature) = (part()?, part()?, part()?, part()?, part()?);
    blob.end().ok_or(SshError::Form)?;
    if namespace != NAMESPACE.as_bytes() {
        return Err(SshError::Namespace);
    }
    let digest = match hash {
        b"sha256" => Hash::of(message).octets().to_vec(),
        b"sha512" => {
            let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, message);
            digest.as_ref().to_vec()
        }
        _ => return Err(SshError::Form),
    };
    let mut data = MAGIC.to_vec();
    for part in [namespace, reserved, hash, &digest] {
        let length = u32::try_from(part.len()).map_err(|_| SshError::Form)?;
        data.extend(length.to_be_bytes());
        data.extend_from_slice(part);
    }
    let key = SshKey(key.to_vec());
    key.verify(&data, signature)?;
    Ok(key)
}

#[cfg(test)]
mod tests;
