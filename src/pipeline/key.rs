//! Finds out which private key an issuer's specification selects.

use hsm::{KeySelector, TokenInfo, TokenSelector, Uri, UriError};

use crate::api::issuer::KeySpec;

/// Key to look for on the token.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct KeyTarget {
    selector: KeySelector,
    /// The token, if a URI names it besides the key.
    token: Option<TokenSelector>,
    described: String,
}

/// Reason why the specification of a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySpecError {
    /// The specification has no fields, or fields that exclude each other.
    #[error("give label, idHex or both, or else uri")]
    Parts,
    /// The identifier is not hexadecimal.
    #[error("idHex needs two hexadecimal digits per octet")]
    IdHex(#[source] hex::FromHexError),
    /// The URI is not valid or not supported.
    #[error("uri cannot be used")]
    Uri(#[source] UriError),
    /// The URI names another token than `spec.token`.
    #[error("uri names the token with {0}, but spec.token is another token")]
    OtherToken(TokenSelector),
}

impl KeyTarget {
    /// Creates the selector of a key; `None` selects the key of the issuing certificate.
    ///
    /// The certificate's public key is always part of the selector, because a key with the right name and another public
    /// key is not the right one.
    pub(super) fn new(key: Option<&KeySpec>, spki: &[u8]) -> Result<Self, KeySpecError> {
        let (mut selector, token, described) = match key {
            None => (
                KeySelector::default(),
                None,
                "key of the issuing certificate".to_owned(),
            ),
            Some(KeySpec {
                label: None,
                id_hex: None,
                uri: Some(uri),
            }) => {
                let parsed: Uri = uri.parse().map_err(KeySpecError::Uri)?;
                (parsed.key(), parsed.token(), format!("key {uri}"))
            }
            Some(KeySpec {
                label,
                id_hex,
                uri: None,
            }) if label.is_some() || id_hex.is_some() => {
                let id = id_hex
                    .as_deref()
                    .map(hex::decode)
                    .transpose()
                    .map_err(KeySpecError::IdHex)?;
                let described = match (label, id_hex) {
                    (Some(label), _) => format!("key {label:?}"),
                    (None, id) => format!("key with id {}", id.as_deref().unwrap_or_default()),
                };
                (
                    KeySelector {
                        label: label.clone(),
                        id,
                        public_key: None,
                    },
                    None,
                    described,
                )
            }
            Some(KeySpec { .. }) => return Err(KeySpecError::Parts),
        };
        selector.public_key = Some(spki.to_vec());
        Ok(Self {
            selector,
            token,
            described,
        })
    }

    pub(super) fn selector(&self) -> &KeySelector {
        &self.selector
    }

    /// Returns a description of the key for messages.
    pub(super) fn described(&self) -> &str {
        &self.described
    }

    /// Checks that the key was found on the token that the URI names, if there is a URI that names one.
    pub(super) fn check_token(&self, found: &TokenInfo) -> Result<(), KeySpecError> {
        match &self.token {
            Some(other) if !other.matches(found) => Err(KeySpecError::OtherToken(other.clone())),
            Some(_) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(
        label: Option<&str>,
        id_hex: Option<&str>,
        uri: Option<&str>,
    ) -> Result<KeyTarget, KeySpecError> {
        let text = |text: Option<&str>| text.map(str::to_owned);
        let key = KeySpec {
            label: text(label),
            id_hex: text(id_hex),
            uri: text(uri),
        };
        KeyTarget::new(Some(&key), b"spki")
    }

    #[test]
    fn a_key_is_always_looked_up_with_the_public_key_of_the_certificate() {
        let spki = Some(b"spki".to_vec());
        let named = wanted(Some("ca"), Some("A1b2"), None).unwrap();
        assert_eq!(named.selector().id, Some(vec![0xa1, 0xb2]));
        assert_eq!(named.selector().public_key, spki);
        let by_uri = wanted(None, None, Some("pkcs11:object=ca;id=%A1%B2")).unwrap();
        assert_eq!(by_uri.selector(), named.selector());
        assert_eq!(
            KeyTarget::new(None, b"spki").unwrap().selector().public_key,
            spki
        );
    }

    #[test]
    fn a_key_with_no_name_or_with_both_label_and_uri_is_refused() {
        assert!(matches!(wanted(None, None, None), Err(KeySpecError::Parts)));
        let both = wanted(Some("ca"), None, Some("pkcs11:object=ca"));
        assert!(matches!(both, Err(KeySpecError::Parts)));
        assert!(matches!(
            wanted(None, Some("a"), None),
            Err(KeySpecError::IdHex(_))
        ));
    }

    #[test]
    fn a_pin_in_a_uri_is_refused_and_not_repeated() {
        let error = wanted(None, None, Some("pkcs11:object=ca?pin-value=8642")).unwrap_err();
        assert!(
            !crate::telemetry::ErrorChain(&error)
                .to_string()
                .contains("8642")
        );
    }

    #[test]
    fn a_uri_of_another_token_is_refused() {
        let wanted = wanted(None, None, Some("pkcs11:token=issuing;object=ca")).unwrap();
        let token = |label: &str| TokenInfo {
            label: label.to_owned(),
            serial: "1".to_owned(),
            manufacturer: String::new(),
            model: String::new(),
            firmware: String::new(),
            slot: hsm::Slot::default(),
            login_required: true,
            pin: hsm::PinFlags::default(),
            max_sessions: None,
        };
        wanted.check_token(&token("issuing")).unwrap();
        assert!(matches!(
            wanted.check_token(&token("other")),
            Err(KeySpecError::OtherToken(_))
        ));
    }
}
