//! The due requests of each token. Tokens take turns, and each has a limited number of looks at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use crate::{lanes::Lanes, reconcile::Seat};

/// Due items by token.
#[derive(Debug)]
pub(super) struct DueByToken<T> {
    by_name: HashMap<Option<Arc<str>>, AtToken<T>>,
    order: VecDeque<Option<Arc<str>>>,
}

#[derive(Debug)]
struct AtToken<T> {
    due: Lanes<T>,
    looks: usize,
}

impl<T> Default for DueByToken<T> {
    fn default() -> Self {
        Self {
            by_name: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<T> DueByToken<T> {
    pub(super) fn push(&mut self, seat: &Seat, item: T) {
        let order = &mut self.order;
        let at = self.by_name.entry(seat.token.clone()).or_insert_with(|| {
            order.push_back(seat.token.clone());
            AtToken {
                due: Lanes::default(),
                looks: 0,
            }
        });
        at.due.push(&seat.lane, item);
    }

    /// Returns the next item with its token. The caller must call [`ended`](Self::ended) with that token after the look. At
    /// most `most_looks` items of each token are looked at at a time.
    pub(super) fn next(&mut self, most_looks: usize) -> Option<(T, Option<Arc<str>>)> {
        for _ in 0..self.order.len() {
            let token = self.order.pop_front()?;
            self.order.push_back(token.clone());
            let Some(at) = self.by_name.get_mut(&token) else {
                continue;
            };
            if at.looks < most_looks
                && let Some(item) = at.due.pop()
            {
                at.looks += 1;
                return Some((item, token));
            }
        }
        None
    }

    /// Notes that a look at an item of this token has ended.
    pub(super) fn ended(&mut self, token: &Option<Arc<str>>) {
        let Some(at) = self.by_name.get_mut(token) else {
            return;
        };
        at.looks = at.looks.saturating_sub(1);
        if at.looks == 0 && at.due.is_empty() {
            self.by_name.remove(token);
            self.order.retain(|other| other != token);
        }
    }

    /// Removes the items that `keep` rejects.
    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        for at in self.by_name.values_mut() {
            at.due.retain(&keep);
        }
        let Self { by_name, order, .. } = self;
        by_name.retain(|_, at| at.looks > 0 || !at.due.is_empty());
        order.retain(|token| by_name.contains_key(token));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lanes::Lane;

    fn seat(token: &str, tenant: &str) -> Seat {
        Seat {
            lane: Lane {
                tenant: tenant.into(),
                issuer: "issuing".into(),
            },
            token: Some(token.into()),
        }
    }

    fn next(tokens: &mut DueByToken<&'static str>) -> Option<&'static str> {
        tokens.next(2).map(|(item, _)| item)
    }

    #[test]
    fn a_token_whose_looks_do_not_end_does_not_delay_other_tokens() {
        let mut tokens = DueByToken::default();
        for _ in 0..1000 {
            tokens.push(&seat("hangs", "a"), "hangs");
        }
        assert_eq!(next(&mut tokens), Some("hangs"));
        assert_eq!(next(&mut tokens), Some("hangs"));
        assert_eq!(next(&mut tokens), None);
        tokens.push(&seat("works", "a"), "works");
        assert_eq!(next(&mut tokens), Some("works"));
        assert_eq!(next(&mut tokens), None);
        tokens.ended(&Some("hangs".into()));
        assert_eq!(next(&mut tokens), Some("hangs"));
    }

    #[test]
    fn a_token_without_due_items_is_forgotten() {
        let mut tokens = DueByToken::default();
        tokens.push(&seat("one", "a"), "first");
        tokens.push(&seat("one", "b"), "second");
        tokens.retain(|item| *item == "first");
        let (item, token) = tokens.next(1).unwrap();
        assert_eq!(item, "first");
        tokens.ended(&token);
        assert!(tokens.by_name.is_empty() && tokens.order.is_empty());
    }
}
