//! The watches of issuers and tokens.

use std::{
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use futures::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher,
    },
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{issuer::IssuerKind, tolerant::Tolerant},
    reconcile::call::{WatchPause, is_missing, is_right_or_kind_missing},
    signers::Tokens,
};

/// How many issuers a page of a list has. Each page is held in memory as a whole.
const PAGE: u32 = 50;

/// Watch events about the issuers of a kind.
pub type ToldIssuers<K> = BoxStream<'static, watcher::Result<watcher::Event<Tolerant<K>>>>;

/// Watches the issuers of a kind. Returns the events, and a store that is updated before each event. The store takes the
/// objects of a list only at the end of the list.
#[must_use]
pub fn issuers<K: IssuerKind>(client: &Client) -> (ToldIssuers<K>, Store<Tolerant<K>>) {
    let (reader, writer) = reflector::store();
    let pages = watcher::Config::default().page_size(PAGE);
    let api = Api::<Tolerant<K>>::all(client.clone());
    let told = move || watcher(api.clone(), pages.clone()).boxed();
    (paced(told).reflect(writer).boxed(), reader)
}

/// Follows a watch, pauses after each failure, and begins a new watch when the kind is missing.
///
/// kube's own back-off restarts at the `Init` before each list, even if that list fails, so it would never slow down for a
/// list that always fails. The pauses stay short even while a right or the kind is missing, because the controller can do
/// nothing without issuers.
fn paced<T: Send + 'static>(
    begin: impl Fn() -> BoxStream<'static, watcher::Result<watcher::Event<T>>> + Send,
) -> impl Stream<Item = watcher::Result<watcher::Event<T>>> + Send {
    let paced = Paced {
        told: begin(),
        begin,
        pause: WatchPause::short(),
        wait: None,
        is_listed: false,
        untold: VecDeque::new(),
    };
    stream::unfold(paced, async |mut paced| Some((paced.next().await?, paced)))
}

struct Paced<T, B> {
    begin: B,
    told: BoxStream<'static, watcher::Result<watcher::Event<T>>>,
    pause: WatchPause,
    /// How long to wait before the watch goes on.
    wait: Option<Duration>,
    /// Whether a list has been completed, so that objects may be known.
    is_listed: bool,
    untold: VecDeque<watcher::Event<T>>,
}

impl<T, B> Paced<T, B>
where
    B: Fn() -> BoxStream<'static, watcher::Result<watcher::Event<T>>>,
{
    async fn next(&mut self) -> Option<watcher::Result<watcher::Event<T>>> {
        if let Some(event) = self.untold.pop_front() {
            return Some(Ok(event));
        }
        if let Some(wait) = self.wait.take() {
            sleep(wait).await;
        }
        let event = self.told.next().await?;
        match &event {
            Ok(watcher::Event::Init) => {}
            Ok(event) => {
                self.is_listed |= matches!(event, watcher::Event::InitDone);
                self.pause.reset();
            }
            Err(error) => {
                self.wait = Some(
                    self.pause
                        .after(is_right_or_kind_missing(error), Instant::now()),
                );
                if is_missing(error) {
                    // A missing kind has no objects. The watch may have missed their deletion.
                    self.told = (self.begin)();
                    if std::mem::take(&mut self.is_listed) {
                        let none = [watcher::Event::Init, watcher::Event::InitDone];
                        self.untold.extend(none);
                    }
                }
            }
        }
        Some(event)
    }
}

/// Sends the names of the tokens that can sign, whenever they change, until `stop`.
pub async fn publish_usable_tokens(
    tokens: &Tokens,
    usable: &watch::Sender<BTreeSet<String>>,
    stop: &CancellationToken,
) {
    let mut changes = tokens.changes();
    loop {
        let now = tokens.usable();
        usable.send_if_modified(|before| {
            let changed = *before != now;
            *before = now;
            changed
        });
        tokio::select! {
            Ok(()) = changes.changed() => {}
            () = stop.cancelled() => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use parking_lot::Mutex;

    use super::*;

    type Told = watcher::Result<watcher::Event<u8>>;

    fn missing() -> Told {
        let status = Status {
            code: 404,
            ..Status::default()
        };
        Err(watcher::Error::WatchStartFailed(kube::Error::Api(
            status.boxed(),
        )))
    }

    #[tokio::test]
    async fn the_objects_of_a_kind_that_is_missing_are_gone_until_it_is_listed_again() {
        use watcher::Event::{Init, InitApply, InitDone};
        let watches = [
            vec![Ok(Init), Ok(InitApply(1)), Ok(InitDone), missing()],
            vec![Ok(Init), missing()],
            vec![Ok(Init), Ok(InitApply(2)), Ok(InitDone)],
        ];
        let watches = Mutex::new(watches.into_iter());
        let begin = move || stream::iter(watches.lock().next().unwrap()).boxed();
        let told: Vec<_> = paced(begin)
            .map(|told| told.map_err(|_| "missing"))
            .collect()
            .await;
        let expected = [
            Ok(Init),
            Ok(InitApply(1)),
            Ok(InitDone),
            Err("missing"),
            Ok(Init),
            Ok(InitDone),
            Ok(Init),
            Err("missing"),
            Ok(Init),
            Ok(InitApply(2)),
            Ok(InitDone),
        ];
        assert_eq!(format!("{told:?}"), format!("{expected:?}"));
    }
}
