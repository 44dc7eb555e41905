//! What an issuer learns when its key is looked for: nothing of a key that no grant gives it. Pure.

use hsm::{HsmError, KeyName};

use super::protection::Unprotected;

/// Why an issuer gets no key.
#[derive(Debug, thiserror::Error)]
pub enum NoKey {
    /// The token, or no one key on it that the issuer may use.
    #[error(transparent)]
    Token(#[from] HsmError),
    /// It is granted the key that has this name, and not with its issuing certificate.
    #[error("key {0} is granted with other issuing certificates only")]
    Certificate(String),
    /// The key is not kept as the operator requires.
    #[error(transparent)]
    Unprotected(Unprotected),
}

/// What a failed look-up is for an issuer.
#[derive(Debug)]
pub(super) enum Narrowed {
    /// All but one of the keys that match are none of the issuer's: it means this one.
    One(KeyName),
    /// As if the token had no other keys than those granted.
    Failed(HsmError),
}

/// Takes every key out of the failure that is not `granted`. An issuer that may use none of the keys learns that there is
/// none, whatever it is that makes them unfit.
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
        HsmError::AlwaysAuthenticate(key) | HsmError::KeyType(key) if !granted(&key) => none(),
        // It names no key: only that more match than are read.
        other @ (HsmError::TooManyKeys { .. }
        | HsmError::AlwaysAuthenticate(_)
        | HsmError::KeyType(_)
        | HsmError::Overloaded
        | HsmError::TimedOut
        | HsmError::WorkerLost { .. }
        | HsmError::Unavailable { .. }
        | HsmError::TokenFailed(_)
        | HsmError::LoginRefused { .. }
        | HsmError::Misconfigured { .. }
        | HsmError::MechanismRefused { .. }
        | HsmError::TokenRefused(_)
        | HsmError::BadRequest { .. }
        | HsmError::WrongAnswer) => other,
    })
}

/// What a key is to an issuer that may not use it.
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

    /// For an issuer that may use keys whose label begins with `own`.
    fn seen(failure: HsmError) -> String {
        format!(
            "{:?}",
            narrowed(failure, |key| key.label.starts_with("own"))
        )
    }

    #[test]
    fn no_failure_tells_of_a_key_that_is_not_granted() {
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
    fn the_one_key_that_is_granted_among_several_is_the_one_that_is_meant() {
        let seen = seen(several(&["other", "own", "third"]));
        assert_eq!(seen, format!("One({:?})", key("own")));
    }
}
