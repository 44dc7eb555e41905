//! Finds the objects of a list that the watch beside it has reported since the list began.

use std::collections::HashSet;

use super::uid::Uid;

/// The objects that the watch has reported since the list in progress began.
///
/// All pages of a list show the objects at one moment, which is after the list was requested. The watch reports each change
/// after that moment, in order. So the list is not needed for an object that the watch has reported since the request: the
/// report is at least as new as the page, or a newer report follows.
#[derive(Debug, Default)]
pub(super) struct Newer {
    told: HashSet<Uid>,
    listing: bool,
}

impl Newer {
    /// Notes that a list is about to be requested.
    pub(super) fn begin_list(&mut self) {
        self.told.clear();
        self.listing = true;
    }

    /// Notes that the watch has reported a change or the deletion of this object.
    pub(super) fn watch_told(&mut self, uid: Uid) {
        if self.listing {
            self.told.insert(uid);
        }
    }

    /// Returns whether the watch has not reported this object since the list in progress began.
    pub(super) fn admits(&self, uid: &Uid) -> bool {
        !self.told.contains(uid)
    }

    /// Notes that the list has ended.
    pub(super) fn end_list(&mut self) {
        // Unlike `clear`, this frees the memory.
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn uid(number: u8) -> Uid {
        number.to_string().as_str().into()
    }

    #[test]
    fn a_list_includes_every_change_that_was_watched_before_it_was_requested() {
        let mut newer = Newer::default();
        newer.watch_told(uid(1));
        newer.begin_list();
        assert!(newer.admits(&uid(1)));
        newer.watch_told(uid(1));
        assert!(!newer.admits(&uid(1)));
        newer.begin_list();
        assert!(newer.admits(&uid(1)), "reported before the second list");
    }

    #[test]
    fn nothing_is_remembered_while_no_list_is_in_progress() {
        let mut newer = Newer::default();
        newer.begin_list();
        newer.watch_told(uid(1));
        newer.end_list();
        newer.watch_told(uid(2));
        assert!(newer.told.is_empty());
    }

    /// The version of each object that exists, by the object's number.
    type Objects = BTreeMap<u8, usize>;

    proptest! {
        /// Objects change before and after the moment that the list shows. Pages and changes arrive in any order.
        #[test]
        fn no_object_goes_back_to_an_older_version_and_the_result_is_the_newest_state(
            before in prop::collection::vec((0..8u8, any::<bool>()), 0..20),
            after in prop::collection::vec((0..8u8, any::<bool>()), 0..20),
            pages_first in prop::collection::vec(any::<bool>(), 40),
        ) {
            let mut objects = Objects::new();
            let mut version = 0;
            let mut change = |objects: &mut Objects, number: u8, exists: bool| {
                version += 1;
                match exists {
                    true => objects.insert(number, version),
                    false => objects.remove(&number),
                };
                (number, exists.then_some(version))
            };
            for (number, exists) in before {
                change(&mut objects, number, exists);
            }
            let mut pages = objects.clone().into_iter();
            let changes: Vec<_> = after
                .into_iter()
                .map(|(number, exists)| change(&mut objects, number, exists))
                .collect();
            let mut changes = changes.into_iter();

            let (mut newer, mut known) = (Newer::default(), Objects::new());
            newer.begin_list();
            let mut order = pages_first.into_iter();
            loop {
                let page_first = order.next().unwrap_or(true);
                let page = if page_first { pages.next() } else { None };
                if let Some((number, listed)) = page {
                    if newer.admits(&uid(number)) {
                        prop_assert!(known.insert(number, listed).is_none());
                    }
                } else if let Some((number, exists)) = changes.next() {
                    newer.watch_told(uid(number));
                    let earlier = match exists {
                        Some(changed) => known.insert(number, changed),
                        None => known.remove(&number),
                    };
                    prop_assert!(exists.is_none() || earlier < exists);
                } else if !page_first {
                    continue;
                } else {
                    break;
                }
            }
            newer.end_list();
            prop_assert_eq!(known, objects);
        }
    }
}
