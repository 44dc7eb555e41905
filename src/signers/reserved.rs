//! The key that signs the checkpoints of the issuance log, which no issuer may use.

use hsm::KeyName;
use parking_lot::Mutex;

use crate::{audit::note::NotePublicKey, config::Checkpoints};

/// What is known of the key that signs checkpoints.
///
/// Grants name keys of one configured token. The configuration may name the same token twice, by label and by serial number
/// for example, or the key may have been copied; only the public key tells.
#[derive(Debug, Default)]
pub struct ReservedKey {
    /// How the configuration names the key; `None` if checkpoints are not signed.
    named: Option<Checkpoints>,
    /// The public keys that were found under this name since the start. Never held across an await.
    found: Mutex<Vec<NotePublicKey>>,
}

impl ReservedKey {
    /// Returns the key that signs checkpoints according to the configuration, before it is found on its token.
    #[must_use]
    pub fn new(named: Option<&Checkpoints>) -> Self {
        Self {
            named: named.cloned(),
            found: Mutex::default(),
        }
    }

    /// Notes that this public key signs checkpoints. Returns whether that is news.
    pub(super) fn learn(&self, public: NotePublicKey) -> bool {
        let mut found = self.found.lock();
        let is_news = !found.contains(&public);
        if is_news {
            found.push(public);
        }
        is_news
    }

    /// Returns whether the key with this SubjectPublicKeyInfo (DER) and this name on its token signs checkpoints. Before the
    /// key was found, because its token is away, every key that is called like it and could sign checkpoints counts.
    pub(super) fn is(&self, spki: &[u8], name: &KeyName) -> bool {
        let (Some(named), Some(public)) = (&self.named, NotePublicKey::of_spki(spki)) else {
            return false;
        };
        let found = self.found.lock();
        match found.is_empty() {
            true => {
                named.label().is_none_or(|label| label == name.label)
                    && named.id().is_none_or(|id| id == name.id)
            }
            false => found.contains(&public),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Config;

    fn reserved(key: &str) -> ReservedKey {
        let text = format!(
            "modules: {{hsm: {{path: /lib/hsm.so}}}}\n\
             tokens: {{t: {{module: hsm, label: t, grants: [{{clusterIssuers: true, keys: [ca], keyIds: [a1]}}]}}}}\n\
             audit: {{cluster: prod, checkpoints: {{token: t, {key}}}}}\n"
        );
        let config = Config::parse(Path::new("config.yaml"), &text).unwrap();
        ReservedKey::new(config.checkpoints())
    }

    /// Returns the SubjectPublicKeyInfo of an Ed25519 key.
    fn ed25519(octet: u8) -> Vec<u8> {
        let head = [
            0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
        ];
        [&head[..], &[octet; 32]].concat()
    }

    fn name(label: &str, id: u8) -> KeyName {
        KeyName {
            label: label.to_owned(),
            id: vec![id],
        }
    }

    #[test]
    fn a_key_that_was_found_is_known_by_its_public_key_whatever_its_name() {
        let reserved = reserved("key: audit");
        assert!(reserved.learn(NotePublicKey::Ed25519([7; 32])));
        assert!(!reserved.learn(NotePublicKey::Ed25519([7; 32])));
        assert!(reserved.is(&ed25519(7), &name("ca", 1)));
        assert!(!reserved.is(&ed25519(8), &name("audit", 9)));
        // Another key was found under the name after the token was replaced.
        assert!(reserved.learn(NotePublicKey::Ed25519([8; 32])));
        assert!(reserved.is(&ed25519(7), &name("ca", 1)));
        assert!(reserved.is(&ed25519(8), &name("ca", 1)));
    }

    #[test]
    fn before_it_is_found_every_key_of_its_name_and_kind_counts() {
        for (key, label, id, is) in [
            ("key: audit", "audit", 1, true),
            ("key: audit", "ca", 1, false),
            ("keyId: b2", "any", 0xb2, true),
            ("keyId: b2", "any", 1, false),
            ("key: audit, keyId: b2", "audit", 0xb2, true),
            ("key: audit, keyId: b2", "audit", 1, false),
        ] {
            let reserved = reserved(key);
            assert_eq!(
                reserved.is(&ed25519(7), &name(label, id)),
                is,
                "{key} {label}"
            );
            assert!(!reserved.is(b"an RSA key", &name(label, id)));
        }
    }

    #[test]
    fn without_signed_checkpoints_no_key_is_reserved() {
        assert!(!ReservedKey::default().is(&ed25519(7), &name("audit", 1)));
    }
}
