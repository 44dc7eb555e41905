//! A watch of all objects of a kind that resumes after interruptions.

use std::{fmt::Debug, pin::Pin, time::Instant};

use futures::{FutureExt as _, StreamExt as _, future, future::BoxFuture, stream::BoxStream};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};

use super::interrupted::Interrupted;
use crate::reconcile::call::{WatchPause, is_right_or_kind_missing};

/// 410 Gone: the API server no longer has the changes after the requested version. 404 Not Found: it no longer has the kind,
/// and the known version means nothing once the kind is installed again.
const GONE: [u16; 2] = [410, 404];

/// A report of a watch.
pub(super) enum Change<K> {
    /// The object is new or has changed.
    Applied(K),
    Deleted(K),
    /// Changes were missed for good and the watch has stopped. A new list is needed.
    Missed,
}

/// A watch that resumes where it was interrupted.
pub(super) struct Watch<K> {
    api: Api<K>,
    params: WatchParams,
    /// The version up to which all changes are known.
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
        /// Whether an event has arrived since the watch was opened.
        told: bool,
    },
}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + 'static> Watch<K> {
    /// Creates a watch of the objects that match these field selectors. It is not started yet.
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
            pause: WatchPause::new(),
        }
    }

    /// Starts the watch with the changes after this version, unless it is already running.
    pub(super) fn begin(&mut self, version: String) {
        if matches!(self.state, State::Stopped) {
            self.version = version;
            self.open();
        }
    }

    /// Waits for the next change, or for ever while the watch is stopped. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If the watch is interrupted. It resumes after a pause.
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
                    None => self.rest(false),
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
        let interrupted = Interrupted::Watch(error);
        self.rest(is_right_or_kind_missing(&interrupted));
        Err(interrupted)
    }

    fn rest(&mut self, refused: bool) {
        let pause = self.pause.after(refused, Instant::now());
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
    matches!(error, kube::Error::Api(status) if GONE.contains(&status.code))
}
