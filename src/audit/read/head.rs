//! The fields of a line by which it is placed in its log.

use std::borrow::Cow;

use serde::Deserialize;

use super::last_beginning;

/// What the tree needs to know of a line; the rest is under its hash.
#[derive(Debug, Deserialize)]
pub(in crate::audit) struct Head<'a> {
    #[serde(borrow)]
    pub(in crate::audit) run: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::audit) event: Cow<'a, str>,
    pub(in crate::audit) seq: Option<u64>,
    #[serde(borrow)]
    pub(in crate::audit) origin: Option<Cow<'a, str>>,
    pub(in crate::audit) lost: Option<String>,
    pub(in crate::audit) checkpoint: Option<String>,
    pub(in crate::audit) frontier: Option<Vec<String>>,
    #[serde(borrow)]
    pub(in crate::audit) heads: Option<Vec<Cow<'a, str>>>,
}

/// Parses a line. If a process was killed while it wrote, its last line has no end, and the first line of the next run follows
/// in the same line of the file: then that one is returned.
pub(in crate::audit) fn parsed(octets: &[u8]) -> Option<(&[u8], Head<'_>)> {
    if let Ok(head) = serde_json::from_slice(octets) {
        return Some((octets, head));
    }
    let rest = octets.get(last_beginning(octets)?..)?;
    serde_json::from_slice(rest).ok().map(|head| (rest, head))
}
