//! A list of all objects of a kind, read page by page.

use std::{fmt::Debug, pin::Pin, time::Instant, vec};

use futures::{FutureExt as _, future, future::BoxFuture};
use kube::{
    Api,
    api::{ListParams, ObjectList},
};
use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};

use super::interrupted::Interrupted;
use crate::reconcile::{backoff::WatchPause, trouble::is_right_or_kind_missing};

/// Objects per page. Each page is held in memory as a whole.
const PAGE: u32 = 250;

/// Next step of reading a list.
pub(super) enum Step<K> {
    /// The first page is about to be requested, for the first time or again.
    Begins,
    /// The version of the list: all pages show the objects as of this version.
    At(String),
    Object(K),
    /// The list is complete.
    Ends,
}

/// A list that starts again, after a pause, until it has been read to its end.
pub(super) struct List<K: Clone> {
    api: Api<K>,
    params: ListParams,
    state: State<K>,
    pause: WatchPause,
}

enum State<K: Clone> {
    New,
    Pausing(Pin<Box<Sleep>>),
    /// The page with this continue token has to be requested; `None` is the first page.
    Due(Option<String>),
    Asked {
        is_first: bool,
        page: BoxFuture<'static, kube::Result<ObjectList<K>>>,
    },
    Page {
        objects: vec::IntoIter<K>,
        next: Option<String>,
    },
    Over,
}

impl<K: Clone + Debug + DeserializeOwned + Send + 'static> List<K> {
    /// Creates a list of the objects that match these field selectors.
    pub(super) fn new(api: Api<K>, fields: Option<String>) -> Self {
        let params = ListParams {
            field_selector: fields,
            limit: Some(PAGE),
            ..ListParams::default()
        };
        Self {
            api,
            params,
            state: State::New,
            pause: WatchPause::new(),
        }
    }

    /// Starts the list again after a pause, whatever its state is.
    pub(super) fn begin_anew(&mut self) {
        self.rest(false);
    }

    fn rest(&mut self, refused: bool) {
        let pause = self.pause.after(refused, Instant::now());
        self.state = State::Pausing(Box::pin(sleep(pause)));
    }

    /// Waits for the next step, or for ever when the list has ended. Dropping the future loses nothing.
    ///
    /// # Errors
    /// If a page cannot be read. The list then starts again.
    pub(super) async fn next(&mut self) -> Result<Step<K>, Interrupted> {
        loop {
            match &mut self.state {
                State::New => {
                    self.state = State::Due(None);
                    return Ok(Step::Begins);
                }
                State::Pausing(pause) => {
                    pause.await;
                    self.state = State::New;
                }
                State::Due(token) => {
                    let token = token.take();
                    self.state = self.ask(token);
                }
                State::Asked { is_first, page } => {
                    let (is_first, page) = (*is_first, page.await);
                    let page = page.map_err(Interrupted::List);
                    let version = page.and_then(|page| self.take(page));
                    match version {
                        Ok(version) if is_first => return Ok(Step::At(version)),
                        Ok(_) => {}
                        Err(interrupted) => {
                            self.rest(is_right_or_kind_missing(&interrupted));
                            return Err(interrupted);
                        }
                    }
                }
                State::Page { objects, next } => match (objects.next(), next.take()) {
                    (Some(object), token) => {
                        *next = token;
                        return Ok(Step::Object(object));
                    }
                    (None, Some(token)) => self.state = State::Due(Some(token)),
                    (None, None) => {
                        self.state = State::Over;
                        return Ok(Step::Ends);
                    }
                },
                State::Over => future::pending().await,
            }
        }
    }

    fn ask(&self, token: Option<String>) -> State<K> {
        let (api, mut params) = (self.api.clone(), self.params.clone());
        let is_first = token.is_none();
        params.continue_token = token;
        State::Asked {
            is_first,
            page: async move { api.list(&params).await }.boxed(),
        }
    }

    /// Takes in a page and returns its version.
    fn take(&mut self, page: ObjectList<K>) -> Result<String, Interrupted> {
        let ObjectList {
            metadata, items, ..
        } = page;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let version = set(metadata.resource_version).ok_or(Interrupted::NoVersion)?;
        self.pause.reset();
        self.state = State::Page {
            objects: items.into_iter(),
            next: set(metadata.continue_),
        };
        Ok(version)
    }
}
