//! Fair order: turns go round the tenants, and each tenant's turns go round its issuers.
//!
//! Within one tenant and issuer the order is first in, first out. The module is pure: it uses neither clock nor cluster.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// Tenant and issuer that an item belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lane {
    /// A namespace. For a Kubernetes CSR whose author is not a service account, the author's user name.
    pub(crate) tenant: Arc<str>,
    /// The issuer's name, which is unique among all issuers.
    pub(crate) issuer: Arc<str>,
}

/// Waiting items, each in a lane. A tenant with many items or many issuers gets no more turns than a tenant with few.
#[derive(Debug)]
pub(crate) struct Lanes<T> {
    tenants: Round<Round<VecDeque<T>>>,
}

/// Members that take turns in the order in which they joined. A member is removed when it is empty.
#[derive(Debug)]
struct Round<M> {
    members: HashMap<Arc<str>, M>,
    order: VecDeque<Arc<str>>,
}

trait Member: Default {
    fn is_empty(&self) -> bool;
}

impl<T> Member for VecDeque<T> {
    fn is_empty(&self) -> bool {
        Self::is_empty(self)
    }
}

impl<M> Member for Round<M> {
    fn is_empty(&self) -> bool {
        self.members.is_empty()
    }
}

impl<M> Default for Round<M> {
    fn default() -> Self {
        Self {
            members: HashMap::new(),
            order: VecDeque::new(),
        }
    }
}

impl<M: Member> Round<M> {
    fn member(&mut self, name: &Arc<str>) -> &mut M {
        if !self.members.contains_key(name) {
            self.order.push_back(Arc::clone(name));
        }
        self.members.entry(Arc::clone(name)).or_default()
    }

    /// Takes an item from the member whose turn it is.
    fn turn<T>(&mut self, take: impl FnOnce(&mut M) -> Option<T>) -> Option<T> {
        let name = self.order.pop_front()?;
        let member = self.members.get_mut(&name)?;
        let taken = take(member);
        if member.is_empty() {
            self.members.remove(&name);
        } else {
            self.order.push_back(name);
        }
        taken
    }

    fn retain(&mut self, mut keep: impl FnMut(&mut M)) {
        let Self { members, order } = self;
        members.retain(|_, member| {
            keep(member);
            !member.is_empty()
        });
        order.retain(|name| members.contains_key(name));
    }
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self {
            tenants: Round::default(),
        }
    }
}

impl<T> Lanes<T> {
    /// Appends an item to its lane.
    pub(crate) fn push(&mut self, lane: &Lane, item: T) {
        let issuers = self.tenants.member(&lane.tenant);
        issuers.member(&lane.issuer).push_back(item);
    }

    /// Takes the item whose turn it is.
    pub(crate) fn pop(&mut self) -> Option<T> {
        self.tenants
            .turn(|issuers| issuers.turn(VecDeque::pop_front))
    }

    /// Returns how many items wait.
    pub(crate) fn count(&self) -> usize {
        let issuers = self.tenants.members.values();
        issuers
            .flat_map(|issuers| issuers.members.values())
            .map(VecDeque::len)
            .sum()
    }

    /// Returns whether no item waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// Removes the items that `keep` rejects. The others stay in order.
    pub(crate) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.tenants
            .retain(|issuers| issuers.retain(|items| items.retain(&keep)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lanes(items: &[(&str, &str, usize)]) -> Lanes<String> {
        let mut lanes = Lanes::default();
        for (tenant, issuer, count) in items {
            let lane = Lane {
                tenant: (*tenant).into(),
                issuer: (*issuer).into(),
            };
            for number in 0..*count {
                lanes.push(&lane, format!("{tenant}/{issuer}/{number}"));
            }
        }
        lanes
    }

    fn all(mut lanes: Lanes<String>) -> Vec<String> {
        std::iter::from_fn(|| lanes.pop()).collect()
    }

    #[test]
    fn the_length_counts_the_items_of_every_lane() {
        let mut lanes = lanes(&[("a", "x", 2), ("a", "y", 1), ("b", "x", 3)]);
        assert_eq!(lanes.count(), 6);
        lanes.pop();
        assert_eq!(lanes.count(), 5);
    }

    #[test]
    fn one_item_of_a_tenant_waits_for_one_item_of_each_other_tenant() {
        let order = all(lanes(&[
            ("noisy", "a", 10_000),
            ("quiet", "a", 1),
            ("other", "a", 2),
        ]));
        assert_eq!(
            order[..5],
            [
                "noisy/a/0",
                "quiet/a/0",
                "other/a/0",
                "noisy/a/1",
                "other/a/1"
            ]
        );
        assert_eq!(order.len(), 10_003);
    }

    #[test]
    fn a_tenant_with_many_issuers_gets_no_more_turns_than_one_with_one() {
        let order = all(lanes(&[
            ("many", "a", 2),
            ("many", "b", 2),
            ("many", "c", 2),
            ("one", "a", 3),
        ]));
        assert_eq!(
            order,
            [
                "many/a/0", "one/a/0", "many/b/0", "one/a/1", "many/c/0", "one/a/2", "many/a/1",
                "many/b/1", "many/c/1",
            ]
        );
    }

    #[test]
    fn removing_items_does_not_reorder_the_others() {
        let mut lanes = lanes(&[("a", "x", 2), ("b", "x", 2), ("c", "x", 1)]);
        assert_eq!(lanes.count(), 5);
        lanes.retain(|item| !item.starts_with('a') && item != "b/x/0");
        assert_eq!(lanes.count(), 2);
        assert_eq!(all(lanes), ["b/x/1", "c/x/0"]);
    }
}
