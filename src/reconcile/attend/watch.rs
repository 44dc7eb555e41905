//! A watch of all objects of a kind, kept up over interruptions.

use std::{fmt::Debug, pin::Pin};

use futures::{FutureExt as _, StreamExt as _, future, future::BoxFuture, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{WatchEvent, WatchParams},
    runtime::utils::Backoff as _,
};
use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};

use super::interrupted::Interrupted;
use crate::reconcile::backoff::WatchPause;

/// The API server has forgotten what came after the version: 410 Gone.
const GONE: u16 = 410;

/// What a watch tells.
pub(super) enum Change<K> {
    /// The object is new or has changed.
    Applied(K),
    Deleted(K),
    /// What happened meanwhile cannot be told any more. The watch has stopped; a new list tells what there is.
    Missed,
}

/// A watch, which goes on from where it was interrupted.
pub(super) struct Watch<K> {
    api: Api<K>,
    params: WatchParams,
    /// What has happened up to this version is known.
    version: String,
    state: State<K>,
    pause: WatchPause,
}

type Events<K> = BoxStream<'static, kube::Result<WatchEvent<K>>>;

enum State<K> {
    Stopped,
    Pausing(Pin<Box<Sleep>>),
    Opening(BoxFuture<'static, kube::Result<Events<K>>>),
    Open {
        events: Events<K>,
        /// It has told something.
        told: bool,
    },
}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + 'static> Watch<K> {
    /// Of the objects that match these field selectors, and not begun.
    pub(super) fn new(api: Api<K>, fields: Option<String>) -> Self {
        let params = WatchParams {
            field_selector: fields,
            ..WatchParams::default()
        };
        Self {
            api,
            params,
            version: String::new(),
            state: State::Stopped,
            pause: WatchPause::default(),
        }
    }

    /// Begins with what happened after this version, unless it has begun already.
    pub(super) fn begin(&mut self, version: String) {
        if matches!(self.state, State::Stopped) {
            self.version = version;
            self.open();
        }
    }

    /// Waits for the next change; for ever, when the watch has not begun or has stopped. A call that is dropped loses
    /// nothing.
    ///
    /// # Errors
    /// When the watch is interrupted. It goes on after a pause.
    pub(super) async fn next(&mut self) -> Result<Change<K>, Interrupted> {
        loop {
            match &mut self.state {
                State::Stopped => future::pending().await,
                State::Pausing(pause) => {
                    pause.await;
                    self.open();
                }
                State::Opening(opening) => match opening.await {
                    Ok(events) => {
                        self.state = State::Open {
                            events,
                            told: false,
                        };
                    }
                    Err(error) => return self.interrupted(error),
                },
                State::Open { events, told } => match events.next().await {
                    Some(Ok(event)) => {
                        *told = true;
                        if let Some(change) = self.take(event)? {
                            return Ok(change);
                        }
                    }
                    Some(Err(error)) => return self.interrupted(error),
                    // The API server ends every watch after some minutes.
                    None if *told => self.open(),
                    None => self.rest(),
                },
            }
        }
    }

    fn take(&mut self, event: WatchEvent<K>) -> Result<Option<Change<K>>, Interrupted> {
        let (version, change) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                (object.resource_version(), Some(Change::Applied(object)))
            }
            WatchEvent::Deleted(object) => {
                (object.resource_version(), Some(Change::Deleted(object)))
            }
            WatchEvent::Bookmark(mark) => (Some(mark.metadata.resource_version), None),
            WatchEvent::Error(status) => {
                return self.interrupted(kube::Error::Api(status)).map(Some);
            }
        };
        self.pause.reset();
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            self.version = version;
        }
        Ok(change)
    }

    fn interrupted(&mut self, error: kube::Error) -> Result<Change<K>, Interrupted> {
        if is_gone(&error) {
            self.state = State::Stopped;
            return Ok(Change::Missed);
        }
        self.rest();
        Err(Interrupted::Watch(error))
    }

    fn rest(&mut self) {
        let pause = self.pause.next().unwrap_or_default();
        self.state = State::Pausing(Box::pin(sleep(pause)));
    }

    fn open(&mut self) {
        let (api, params) = (self.api.clone(), self.params.clone());
        let version = self.version.clone();
        let opening = async move {
            api.watch(&params, &version)
                .await
                .map(|events| events.boxed())
        };
        self.state = State::Opening(opening.boxed());
    }
}

fn is_gone(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == GONE)
}
