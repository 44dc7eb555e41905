//! Attends to the issuers of one kind: takes in the events of the watch, and looks at each issuer when it is due.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use kube::{
    Resource as _, ResourceExt as _,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};
use tokio::{task::JoinSet, time::sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    READ_AGAIN_AFTER, ToldIssuers, forget, jittered,
    material::Reads,
    reconcile,
    rounds::{AfterLook, Look, Places, Rounds, WatchedIssuer},
    write::IssuerStatusError,
};
use crate::{
    api::{
        IssuerName,
        issuer::{IssuerKind, IssuerStatus, LOOK_ANNOTATION},
        tolerant::Tolerant,
    },
    reconcile::{
        Context,
        call::{Trouble, delay, longest_for_a_write, random, until},
    },
    signers::{ConfiguredToken, Tokens},
    telemetry::{ErrorChain, log_seldom},
};

/// How many looks at issuers of a kind run at the same time. Each look holds what it has read, and has at most one call
/// to the API server in flight.
const PLACES: Places = Places {
    of_all: 32,
    of_a_token: 8,
};

/// Attends to the issuers of a kind until `stop`. Looks that are in flight then are dropped: the next look, on any
/// replica, does the same again. `told` are the events of the watch; `stored` is updated before each of them.
pub async fn run_issuers<K: IssuerKind>(
    (mut told, stored): (ToldIssuers<K>, Store<Tolerant<K>>),
    context: Arc<Context>,
    stop: &CancellationToken,
) {
    let mut shares = context.ownership.changes();
    let mut changes = context.tokens.changes();
    let mut tokens = Seen::of(&context.tokens);
    let mut own = HashSet::new();
    let mut rounds = Rounds::new(PLACES, Instant::now());
    let mut looks = JoinSet::new();
    let mut failures = HashMap::new();
    let mut trouble = Trouble::of(K::KIND, &context.metrics);
    let reads = Arc::new(Reads::default());
    let mut round = Instant::now() + pause(&context);
    // The store takes the objects of a list only at the end of the list.
    let mut listed = Vec::new();
    loop {
        for name in context.issuers.newly_awaited(K::KIND) {
            if let Some(issuer) = stored.get(&reference(&name)) {
                rounds.hurry(&issuer.uid().unwrap_or_default());
            }
        }
        while let Some(look) = rounds.next() {
            let (stored, reads, context) =
                (stored.clone(), Arc::clone(&reads), Arc::clone(&context));
            looks.spawn(async move { look_at(look, &stored, &reads, &context).await });
        }
        if looks.is_empty() {
            reads.clear();
        }
        let awaited = || context.issuers.awaited();
        tokio::select! {
            () = stop.cancelled() => return,
            // A look cannot fail to join: a panic in it has ended the process.
            Some(Ok((uid, looked))) = looks.join_next() => {
                let next = after(&uid, looked, &mut failures);
                rounds.looked(&uid, next);
            }
            () = sleep_until(round.into()) => {
                rounds.wake_those(|_| true, &awaited(), Instant::now());
                round = Instant::now() + pause(&context);
            }
            Ok(()) = changes.changed() => {
                let changed = tokens.renew(&context.tokens);
                rounds.wake_those(|issuer| changed.contains(&issuer.token), &awaited(), Instant::now());
            }
            Ok(()) = shares.changed() => {
                let before = std::mem::take(&mut own);
                own = owned(&stored, &context);
                rounds.wake_those(|issuer| own.contains(&issuer.uid) && !before.contains(&issuer.uid), &awaited(), Instant::now());
            }
            () = until(rounds.next_wake()) => rounds.wake_due(Instant::now()),
            Some(event) = told.next() => match event {
                Ok(event) => take(event, &mut rounds, &mut listed, &context),
                Err(error) => trouble.report(&error),
            },
        }
    }
}

/// Returns the pause from one round to the next, with jitter, so that replicas do not get in step.
fn pause(context: &Context) -> Duration {
    jittered(
        context.settings.probe_interval.min(READ_AGAIN_AFTER),
        random(),
    )
}

fn take<K: IssuerKind>(
    event: Event<Tolerant<K>>,
    rounds: &mut Rounds,
    listed: &mut Vec<WatchedIssuer>,
    context: &Context,
) {
    let now = Instant::now();
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(issuer) | Event::Apply(issuer) if !is_ours(&issuer, context) => {
            debug!(kind = K::KIND, name = %issuer.name_any(), "ignored an issuer of another class");
        }
        Event::InitApply(issuer) => listed.push(told_of(&issuer, context)),
        Event::InitDone => {
            let all = std::mem::take(listed);
            rounds.list(all, &context.issuers.awaited(), now);
        }
        Event::Apply(issuer) => {
            let told = told_of(&issuer, context);
            let awaited = context.issuers.is_awaited(&told.name);
            if awaited && !told.is_elsewhere && rounds.is_elsewhere(&told.uid) {
                context.issuers.wake(&told.name);
            }
            rounds.put(told, awaited, now);
        }
        Event::Delete(issuer) => rounds.delete(&issuer.uid().unwrap_or_default(), now),
    }
}

fn is_ours<K: IssuerKind>(issuer: &Tolerant<K>, context: &Context) -> bool {
    let spec = issuer.0.as_ref().ok().map(IssuerKind::issuer_spec);
    context.stored.answers(spec)
}

fn told_of<K: IssuerKind>(issuer: &Tolerant<K>, context: &Context) -> WatchedIssuer {
    let readable = issuer.0.as_ref().ok();
    let spec = readable.map(IssuerKind::issuer_spec);
    let status = readable.and_then(IssuerKind::issuer_status);
    WatchedIssuer {
        uid: issuer.uid().unwrap_or_default(),
        name: IssuerName {
            namespace: issuer.namespace(),
            name: issuer.name_any(),
        },
        generation: issuer.meta().generation.unwrap_or_default(),
        token: spec.map(|spec| spec.token.clone()).unwrap_or_default(),
        is_elsewhere: context.stored.is_elsewhere(status),
        rollover: status
            .and_then(IssuerStatus::rollover_step)
            .map(|(state, ca)| (state, ca.to_owned())),
        asked: issuer.annotations().get(LOOK_ANNOTATION).cloned(),
    }
}

fn reference<K: IssuerKind>(name: &IssuerName) -> ObjectRef<Tolerant<K>> {
    let reference = ObjectRef::new(&name.name);
    match &name.namespace {
        Some(namespace) => reference.within(namespace),
        None => reference,
    }
}

/// Returns the UIDs of the issuers whose status this replica writes.
fn owned<K: IssuerKind>(stored: &Store<Tolerant<K>>, context: &Context) -> HashSet<String> {
    let all = stored.state().into_iter();
    let ours = all.filter(|issuer| is_ours(&**issuer, context));
    let own = ours
        .map(|issuer| told_of(&*issuer, context))
        .filter(|told| context.ownership.owns(Some(&told.token), &told.uid));
    own.map(|told| told.uid).collect()
}

/// Looks once at the issuer with this UID.
async fn look_at<K: IssuerKind>(
    look: Look,
    stored: &Store<Tolerant<K>>,
    reads: &Reads,
    context: &Context,
) -> (String, Result<AfterLook, IssuerStatusError>) {
    let Look {
        uid,
        name,
        deleted,
        since,
    } = look;
    if deleted {
        forget(&name, context);
        return (uid, Ok(AfterLook::Ended));
    }
    let issuer = stored.get(&reference(&name));
    let Some(issuer) = issuer.filter(|issuer| issuer.meta().uid.as_ref() == Some(&uid)) else {
        // Deleted; the watch is about to report it.
        return (uid, Ok(AfterLook::Round));
    };
    let again = reconcile(&issuer, since, reads, context).await;
    let next = again.map(|again| again.map_or(AfterLook::Round, AfterLook::At));
    debug!(kind = K::KIND, %name, ?next, "looked at");
    (uid, next)
}

/// Returns what follows a look. `failures` counts, by UID, how often in a row an issuer's status could not be written.
fn after(
    uid: &str,
    looked: Result<AfterLook, IssuerStatusError>,
    failures: &mut HashMap<String, u32>,
) -> AfterLook {
    match looked {
        Ok(next) => {
            failures.remove(uid);
            next
        }
        Err(error) => {
            let error = ErrorChain(&error).to_string();
            log_seldom!(warn, &error, error, "will try again");
            let longest = longest_for_a_write(failures.len());
            let in_a_row = failures.entry(uid.to_owned()).or_default();
            *in_a_row = in_a_row.saturating_add(1);
            AfterLook::At(Instant::now() + delay(*in_a_row, random(), longest))
        }
    }
}

/// The tokens as they were last seen.
struct Seen(BTreeMap<String, (Arc<ConfiguredToken>, BTreeMap<&'static str, u64>)>);

impl Seen {
    fn of(tokens: &Tokens) -> Self {
        let all = tokens.all().into_iter();
        Self(
            all.map(|token| {
                // How often the token entered each state, because it may enter several between two calls of `renew`.
                let states = token.token().tally().entered;
                (token.name().to_owned(), (token, states))
            })
            .collect(),
        )
    }

    /// Takes in the tokens as they are now. Returns the names of those that have changed.
    fn renew(&mut self, tokens: &Tokens) -> HashSet<String> {
        let now = Self::of(tokens);
        let before = std::mem::replace(&mut self.0, now.0);
        let same = |name: &String| match (before.get(name), self.0.get(name)) {
            (Some((before, states)), Some((now, states_now))) => {
                Arc::ptr_eq(before, now) && states == states_now
            }
            (_, _) => false,
        };
        let names = before.keys().chain(self.0.keys());
        names.filter(|name| !same(name)).cloned().collect()
    }
}
