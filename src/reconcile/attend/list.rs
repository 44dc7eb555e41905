//! A list of all objects of a kind, read page by page.

mod page;

use std::{fmt::Debug, pin::Pin, time::Instant, vec};

use futures::{FutureExt as _, future, future::BoxFuture};
use kube::{
    Api, Client, Resource,
    api::{ListParams, ObjectList},
};
use serde::de::DeserializeOwned;
use tokio::time::{Sleep, sleep};

use self::page::{Page, PageSize, page};
use super::interrupted::Interrupted;
use crate::reconcile::call::{WatchPause, is_right_or_kind_missing};

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
    client: Client,
    api: Api<K>,
    params: ListParams,
    size: PageSize,
    state: State<K>,
    pause: WatchPause,
}

enum State<K: Clone> {
    New,
    Pausing(Pin<Box<Sleep>>),
    /// The page with this continue token has to be requested; `None` is the first page.
    Due(Option<String>),
    Asked {
        token: Option<String>,
        page: BoxFuture<'static, kube::Result<Page<K>>>,
    },
    Page {
        objects: vec::IntoIter<K>,
        next: Option<String>,
    },
    Over,
}

impl<K: Resource + Clone + Debug + DeserializeOwned + Send + 'static> List<K> {
    /// Creates a list of the objects that match these field selectors.
    pub(super) fn new(api: Api<K>, fields: Option<String>) -> Self {
        let params = ListParams {
            field_selector: fields,
            ..ListParams::default()
        };
        Self {
            client: api.clone().into_client(),
            api,
            params,
            size: PageSize::default(),
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
                State::Asked { token, page } => {
                    let page = page.await.map_err(Interrupted::List);
                    let token = token.take();
                    let version = page.and_then(|page| self.take(page, token));
                    match version {
                        Ok(Some(version)) => return Ok(Step::At(version)),
                        Ok(None) => {}
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
        let mut params = self.params.clone();
        params.limit = Some(self.size.objects());
        params.continue_token.clone_from(&token);
        let path = self.api.resource_url().to_owned();
        State::Asked {
            token,
            page: page(self.client.clone(), path, params, self.size).boxed(),
        }
    }

    /// Takes in the page that was requested with this continue token. Returns its version if it is the first page. A page
    /// that is too long is requested again with fewer objects.
    fn take(
        &mut self,
        page: Page<K>,
        token: Option<String>,
    ) -> Result<Option<String>, Interrupted> {
        let (list, octets) = match page {
            Page::Read { list, octets } => (list, octets),
            Page::TooLong => {
                self.size = self.size.smaller();
                self.state = State::Due(token);
                return Ok(None);
            }
        };
        let ObjectList {
            metadata, items, ..
        } = list;
        let is_first = token.is_none();
        self.size = PageSize::after(items.len(), octets);
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let version = set(metadata.resource_version).ok_or(Interrupted::NoVersion)?;
        self.pause.reset();
        self.state = State::Page {
            objects: items.into_iter(),
            next: set(metadata.continue_),
        };
        Ok(is_first.then_some(version))
    }
}
