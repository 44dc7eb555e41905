//! Statuses that we wrote and that the cache may not show yet.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::api::{IssuerName, issuer::IssuerStatus};

/// Our last write to each issuer.
///
/// A look that follows at once, because a token has changed, would otherwise find the old status, and write and
/// announce the same status again.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<IssuerName, Write>>);

#[derive(Debug)]
struct Write {
    /// The `resourceVersion` that the object had before the write.
    read_at: Option<String>,
    status: IssuerStatus,
}

impl Written {
    /// Returns the status that we wrote after we had read this version. A cache that still has this version has not
    /// seen the write. Forgets the status once the cache has another version.
    pub(super) fn since(&self, name: &IssuerName, version: Option<&str>) -> Option<IssuerStatus> {
        let mut all = self.0.lock();
        let write = all.get(name)?;
        if write.read_at.is_some() && write.read_at.as_deref() == version {
            return Some(write.status.clone());
        }
        all.remove(name);
        None
    }

    /// Remembers the status that was written to the object read at this version.
    pub(super) fn remember(
        &self,
        name: &IssuerName,
        read_at: Option<String>,
        status: IssuerStatus,
    ) {
        self.0
            .lock()
            .insert(name.clone(), Write { read_at, status });
    }

    /// Forgets a deleted issuer.
    pub(super) fn forget(&self, name: &IssuerName) {
        self.0.lock().remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_status_counts_until_the_cache_has_another_version() {
        let name = IssuerName {
            namespace: None,
            name: "issuing".to_owned(),
        };
        let written = Written::default();
        assert_eq!(written.since(&name, Some("1")), None);
        written.remember(&name, Some("1".to_owned()), IssuerStatus::default());
        assert!(written.since(&name, Some("1")).is_some());
        assert_eq!(written.since(&name, Some("2")), None);
        assert!(written.0.lock().is_empty());
        written.remember(&name, Some("1".to_owned()), IssuerStatus::default());
        written.forget(&name);
        assert_eq!(written.since(&name, Some("1")), None);
        written.remember(&name, None, IssuerStatus::default());
        assert_eq!(written.since(&name, None), None);
    }
}
