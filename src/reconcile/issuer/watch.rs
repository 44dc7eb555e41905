//! The watches of issuers and tokens.

use std::collections::BTreeSet;

use futures::{StreamExt as _, stream::BoxStream};
use kube::{
    Api, Client,
    runtime::{
        WatchStreamExt as _,
        reflector::{self, Store},
        watcher,
    },
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{issuer::IssuerKind, tolerant::Tolerant},
    reconcile::backoff::WatchPause,
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
    let told = watcher(Api::<Tolerant<K>>::all(client.clone()), pages)
        .backoff(WatchPause::default())
        .reflect(writer);
    (told.boxed(), reader)
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
