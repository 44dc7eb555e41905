//! Remembers which issuers name a key that no grant covers, so that the log has one line for each and not one per look.

use std::collections::HashMap;

use hsm::KeyName;
use parking_lot::Mutex;

/// The last key without a grant that each issuer named.
#[derive(Debug, Default)]
pub(super) struct Ungranted(Mutex<HashMap<String, String>>);

impl Ungranted {
    /// Notes that an issuer names a key that no grant covers. Returns whether it did not name this key before.
    pub(super) fn is_news(&self, issuer: &str, key: &KeyName) -> bool {
        let key = key.to_string();
        let before = self.0.lock().insert(issuer.to_owned(), key.clone());
        before.as_ref() != Some(&key)
    }

    /// Forgets an issuer that is deleted or names another key now.
    pub(super) fn forget(&self, issuer: &str) {
        self.0.lock().remove(issuer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_news_once_for_each_key_that_it_names_without_a_grant() {
        let ungranted = Ungranted::default();
        let key = |label: &str| KeyName {
            label: label.to_owned(),
            id: vec![1],
        };
        assert!(ungranted.is_news("a", &key("root")));
        assert!(!ungranted.is_news("a", &key("root")));
        assert!(ungranted.is_news("b", &key("root")));
        assert!(ungranted.is_news("a", &key("other")));
        ungranted.forget("b");
        assert!(ungranted.is_news("b", &key("root")));
    }
}
