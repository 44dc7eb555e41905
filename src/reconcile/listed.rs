//! Lists of bounded length for people, which count what they leave out.

use serde::Serialize;

/// The most entries that a list shows.
const MOST: usize = 100;

/// A list with how many entries it has, and the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed<T> {
    /// Number of all entries.
    count: usize,
    /// At most a hundred of them.
    shown: Vec<T>,
}

impl<T> Default for Listed<T> {
    fn default() -> Self {
        Self::from_iter([])
    }
}

impl<T> FromIterator<T> for Listed<T> {
    fn from_iter<I: IntoIterator<Item = T>>(all: I) -> Self {
        let mut all = all.into_iter();
        let shown: Vec<T> = all.by_ref().take(MOST).collect();
        Self {
            count: shown.len() + all.count(),
            shown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_shows_its_first_hundred_entries_and_counts_all() {
        let listed: Listed<usize> = (0..1_000_000).collect();
        assert_eq!(listed.count, 1_000_000);
        assert_eq!(listed.shown, (0..MOST).collect::<Vec<_>>());
        let short: Listed<usize> = [7].into_iter().collect();
        let json = serde_json::to_value(&short).unwrap();
        assert_eq!(json, serde_json::json!({"count": 1, "shown": [7]}));
    }
}
