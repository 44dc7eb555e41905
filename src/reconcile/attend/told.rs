//! Reports of the API server about all objects of a kind: a list, and a watch that runs beside it from the start.
//!
//! kube's own watcher reads the list to its end before it starts the watch. With many finished requests in the list, a new
//! request would have to wait for that.

use std::fmt::Debug;

use kube::{Api, Resource, runtime::watcher::Event};
use serde::de::DeserializeOwned;

use super::{
    interrupted::Interrupted,
    list::{List, Step},
    newer::Newer,
    uid::Uid,
    watch::{Change, Watch},
};

/// Endless stream of events about the objects of a kind.
pub(in crate::reconcile) struct ListAndWatch<K: Clone> {
    list: List<K>,
    watch: Watch<K>,
    newer: Newer,
}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + 'static> ListAndWatch<K> {
    /// Creates a stream for the objects that match these field selectors.
    pub(in crate::reconcile) fn new(api: &Api<K>, fields: Option<&str>) -> Self {
        let fields = fields.map(str::to_owned);
        Self {
            list: List::new(api.clone(), fields.clone()),
            watch: Watch::new(api.clone(), fields),
            newer: Newer::default(),
        }
    }

    /// Reads the list again, after a pause.
    pub(in crate::reconcile) fn read_again(&mut self) {
        self.list.begin_anew();
    }

    /// Waits for the next event. Between `Init` and `InitDone`, changes come between the objects of the list; an object of
    /// the list is never older than an earlier event about it. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the list or the watch is interrupted. It starts again after a pause.
    pub(in crate::reconcile) async fn next(&mut self) -> Result<Event<K>, Interrupted> {
        loop {
            tokio::select! {
                biased;
                change = self.watch.next() => match change? {
                    Change::Applied(object) => {
                        self.newer.watch_told(Uid::of(&object));
                        return Ok(Event::Apply(object));
                    }
                    Change::Deleted(object) => {
                        self.newer.watch_told(Uid::of(&object));
                        return Ok(Event::Delete(object));
                    }
                    Change::Missed => self.list.begin_anew(),
                },
                step = self.list.next() => match step? {
                    Step::Begins => {
                        self.newer.begin_list();
                        return Ok(Event::Init);
                    }
                    Step::At(version) => self.watch.begin(version),
                    Step::Object(object) if self.newer.admits(&Uid::of(&object)) => {
                        return Ok(Event::InitApply(object));
                    }
                    Step::Object(_) => {}
                    Step::Ends => {
                        self.newer.end_list();
                        return Ok(Event::InitDone);
                    }
                },
            }
        }
    }
}
