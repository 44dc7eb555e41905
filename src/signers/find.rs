//! Reduces the errors of a key look-up to the keys that the issuer may use. Pure.

use hsm::{HsmError, KeyName};

use super::protection::Unprotected;

/// Why an issuer gets no key.
#[derive(Debug, thiserror::Error)]
pub enum NoKey {
    /// The token failed, or it does not hold exactly one matching key that the issuer may use.
    #[error(transparent)]
    Token(#[from] HsmError),
    /// The issuer may use the key with this name, but not with its issuing certificate.
    #[error("key {0} is granted with other issuing certificates only")]
    Certificate(String),
    /// The key with this name signs the checkpoints of the issuance log.
    #[error("key {0} signs the checkpoints of the issuance log")]
    Reserved(String),
    /// The key is not protected as the operator requires.
    #[error(transparent)]
    Unprotected(Unprotected),
}

/// A failed key look-up, reduced to the keys that the issuer may use.
#[derive(Debug)]
pub(super) enum Narrowed {
    /// Several keys match and the issuer may use exactly this one, so the issuer gets it.
    One(KeyName),
    /// The failure as it would be if the token held granted keys only.
    Failed(HsmError),
}

/// Removes every key that is not `granted` from the failure. An issuer that may use none of the keys learns only that
/// there is no key, whatever the real reason.
pub(super) fn narrowed(failure: HsmError, granted: impl Fn(&KeyName) -> bool) -> Narrowed {
    let only_granted = |mut keys: Vec<KeyName>| {
        keys.retain(&granted);
        keys
    };
    Narrowed::Failed(match failure {
        HsmError::KeyNotFound { differing } => HsmError::KeyNotFound {
            differing: only_granted(differing),
        },
        HsmError::SeveralKeys { matching } => {
            let several = matching.len();
            let mut matching = only_granted(matching);
            match matching.pop() {
                None => none(),
                Some(one) if matching.is_empty() && several > 1 => return Narrowed::One(one),
                Some(last) => {
                    matching.push(last);
                    HsmError::SeveralKeys { matching }
                }
            }
        }
        HsmError::KeysHidden { hidden } => match only_granted(hidden) {
            hidden if hidden.is_empty() => none(),
            hidden => HsmError::KeysHidden { hidden },
        },
        HsmError::AlwaysAuthenticate(key)
        | HsmError::KeyType(key)
        | HsmError::KeyTypeUnknown(key)
            if !granted(&key) =>
        {
            none()
        }
        // `TooManyKeys` names no key: it says only that more keys match than the worker reads.
        other @ (HsmError::TooManyKeys { .. }
        | HsmError::AlwaysAuthenticate(_)
        | HsmError::KeyType(_)
        | HsmError::KeyTypeUnknown(_)
        | HsmError::Overloaded
        | HsmError::TimedOut
        | HsmError::WorkerLost { .. }
        | HsmError::Unavailable { .. }
        | HsmError::NotLoggedIn
        | HsmError::TokenFailed(_)
        | HsmError::LoginRefused { .. }
        | HsmError::Misconfigured { .. }
        | HsmError::MechanismRefused { .. }
        | HsmError::TokenRefused(_)
        | HsmError::BadRequest { .. }
        | HsmError::WrongAnswer) => other,
    })
}

/// Returns the error for a key that the issuer may not use. It says that the key does not exist.
pub(super) const fn none() -> HsmError {
    HsmError::KeyNotFound {
        differing: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(label: &str) -> KeyName {
        KeyName {
            label: label.to_owned(),
            id: vec![1],
        }
    }

    fn keys(labels: &[&str]) -> Vec<KeyName> {
        labels.iter().map(|label| key(label)).collect()
    }

    fn several(labels: &[&str]) -> HsmError {
        HsmError::SeveralKeys {
            matching: keys(labels),
        }
    }

    fn differing(labels: &[&str]) -> HsmError {
        HsmError::KeyNotFound {
            differing: keys(labels),
        }
    }

    /// Returns the failure as seen by an issuer that may use keys whose label begins with `own`.
    fn seen(failure: HsmError) -> String {
        format!(
            "{:?}",
            narrowed(failure, |key| key.label.starts_with("own"))
        )
    }

    #[test]
    fn no_failure_reveals_a_key_without_a_grant() {
        let of_each = [
            (differing(&["other", "own", "third"]), differing(&["own"])),
            (differing(&["other"]), none()),
            (several(&["other", "third"]), none()),
            (
                several(&["other", "own-1", "own-2"]),
                several(&["own-1", "own-2"]),
            ),
            (HsmError::AlwaysAuthenticate(key("other")), none()),
            (
                HsmError::AlwaysAuthenticate(key("own")),
                HsmError::AlwaysAuthenticate(key("own")),
            ),
            (HsmError::KeyType(key("other")), none()),
            (HsmError::KeyType(key("own")), HsmError::KeyType(key("own"))),
            (HsmError::TimedOut, HsmError::TimedOut),
        ];
        for (failure, expected) in of_each {
            let told = format!("{failure:?}");
            assert_eq!(seen(failure), format!("Failed({expected:?})"), "{told}");
        }
    }

    #[test]
    fn the_only_granted_key_among_several_matches_is_chosen() {
        let seen = seen(several(&["other", "own", "third"]));
        assert_eq!(seen, format!("One({:?})", key("own")));
    }
}
