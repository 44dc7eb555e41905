//! Looks at one issuer of either kind: finds out whether it can sign, and writes the result to its status.

mod anchors;
mod attend;
mod census;
mod claims;
mod crls;
mod establish;
mod expiry;
mod found_rollover;
mod health;
mod logged;
mod material;
mod not_ready;
mod notices;
mod pace;
mod rollover;
mod rounds;
mod seen;
mod state;
mod status;
mod stored;
mod watch;
mod write;
mod written;

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::ResourceExt as _;
use parking_lot::Mutex;
use tracing::{info, warn};

use self::{
    anchors::anchors,
    census::{Census, Counted},
    claims::{Claims, WhoAnswers},
    establish::{Earliers, Found, establish, prepare},
    expiry::next_change,
    found_rollover::FoundRollover,
    material::Reads,
    not_ready::NotReady,
    notices::notices,
    pace::LookPace,
    rollover::next_step_at,
    seen::Seen,
    status::differs,
    write::{IssuerStatusError, StatusWrite, tell, write},
    written::Written,
};
pub use self::{
    attend::run_issuers,
    expiry::expiry_of,
    health::{Issuers, Waiter, Woken},
    stored::StoredIssuers,
    watch::{ToldIssuers, issuers, publish_usable_tokens},
};
pub(super) use self::{
    health::{Health, KnownHealth, Wake},
    seen::ca_of,
    state::{IssuerState, issuer_states},
    stored::{Reissuing, Stored},
};
use super::{Context, call::random, issuer_id, trust};
use crate::{
    api::{
        IssuerName,
        issuer::{IssuerKind, IssuerSpec, IssuerStatus, Reason, ReissueStatus},
        tolerant::Tolerant,
    },
    metrics::Metrics,
    pipeline::{Earlier, Proven, ReadyIssuer, now},
    telemetry::{ErrorChain, log_seldom},
};

/// The longest time between two readings of Secrets, ConfigMaps and PINs, however rarely the token signs a probe.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// The pause after a status that somebody else changed first.
const AFTER_CONFLICT: Duration = Duration::from_secs(1);
/// Jitter shortens a pause by at most `1 / JITTER` of the pause.
const JITTER: u32 = 4;

/// Memory of every issuer from one look to the next.
#[derive(Debug)]
pub struct Notes {
    /// Statuses that were written and that the cache may not show yet.
    written: Written,
    /// How often each issuer is looked at.
    pace: LookPace,
    /// What the metrics show of each issuer.
    census: Census,
    /// Which installation of the controller answers each issuer.
    claims: Claims,
    /// The next keys that are proved beside the present ones.
    next: Mutex<HashMap<IssuerName, KnownNext>>,
    /// Progress of re-issues, by the issuer.
    pub(super) reissues: Mutex<HashMap<IssuerName, ReissueStatus>>,
}

/// The proof of the next key of one version of an issuer.
#[derive(Debug)]
struct KnownNext {
    uid: String,
    generation: i64,
    ready: Arc<ReadyIssuer>,
}

impl Notes {
    /// Creates empty notes.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            written: Written::default(),
            pace: LookPace::default(),
            census: Census::new(metrics),
            claims: Claims::default(),
            next: Mutex::default(),
            reissues: Mutex::default(),
        }
    }

    fn forget(&self, name: &IssuerName) {
        self.written.forget(name);
        self.census.forget(name);
        self.claims.forget(name);
        self.next.lock().remove(name);
        self.reissues.lock().remove(name);
    }
}

/// Looks at one issuer, and at the objects it names as they are at `since` or later. Returns when to look again if that
/// is before the next round.
///
/// # Errors
/// Its status could not be written.
async fn reconcile<K: IssuerKind>(
    issuer: &Tolerant<K>,
    since: Instant,
    reads: &Reads,
    context: &Context,
) -> Result<Option<Instant>, IssuerStatusError> {
    match &issuer.0 {
        Ok(issuer) => Box::pin(look(issuer, since, reads, context)).await,
        Err(invalid) => {
            let error = ErrorChain(invalid).to_string();
            log_seldom!(warn, &error, kind = K::KIND, name = %issuer.name_any(), error,
                         "ignoring an issuer that cannot be read");
            Ok(None)
        }
    }
}

/// Forgets a deleted issuer, unless an issuer of this name exists again.
fn forget(name: &IssuerName, context: &Context) {
    if context
        .stored
        .get(name)
        .is_some_and(|stored| stored.is_ours)
    {
        return;
    }
    context.issuers.forget(name);
    context.register.withdraw(name);
    context.limiter.forget(&name.to_string());
    context.notes.forget(name);
    context.tokens.forget_issuer(&name.to_string(), None);
}

async fn look<K: IssuerKind>(
    issuer: &K,
    since: Instant,
    reads: &Reads,
    context: &Context,
) -> Result<Option<Instant>, IssuerStatusError> {
    let name = IssuerName {
        namespace: issuer.namespace(),
        name: issuer.name_any(),
    };
    let begun = Instant::now();
    if let Err(wait) = context
        .notes
        .pace
        .look(&name, context.settings.probe_interval, begun)
    {
        return Ok(Some(begun + wait));
    }
    let uid = issuer.uid().unwrap_or_default();
    let generation = issuer.meta().generation.unwrap_or_default();
    let version = issuer.resource_version();
    let written = context.notes.written.since(&name, version.as_deref());
    let reissue = context.notes.reissues.lock().get(&name).cloned();
    let seen = Seen {
        reissue: reissue.as_ref(),
        spec: issuer.issuer_spec(),
        generation: issuer.meta().generation,
        status: written.as_ref().or_else(|| issuer.issuer_status()),
        installation: &context.settings.cluster_resource_namespace,
    };
    let mut found = match prepare(seen.spec, &name, since, reads, context).await {
        Ok(prepared) => {
            if let Some(until) = prepared.token.starts_until() {
                // The token is starting, which takes a moment. The change of its state at the end of the start makes the
                // issuer due. A start is not reported as an outage.
                return Ok(Some(until));
            }
            let before = context.issuers.get(&name).filter(|known| known.uid == uid);
            let next = context.notes.next.lock().remove(&name);
            let next = next.filter(|next| next.uid == uid);
            let earlier = Earliers(earlier(before.as_ref(), next.as_ref(), generation, context));
            establish(&prepared, seen, &name, &earlier, since, reads, context).await
        }
        Err(why) => why.into(),
    };
    let crls = crls::offer(issuer, &name, &mut found, since, reads, context).await;
    let retry = if found.proven.is_ok() {
        context.notes.pace.succeeded(&name);
        None
    } else {
        let now = Instant::now();
        let pause = context.notes.pace.failed(&name, &uid, generation, now);
        Some(now + jittered(pause, random()))
    };
    if let Some(other) = found.rollover.as_ref().and_then(FoundRollover::other) {
        let known = KnownNext {
            uid: uid.clone(),
            generation,
            ready: Arc::clone(&other.ready),
        };
        context.notes.next.lock().insert(name.clone(), known);
    }
    let health = match &found.proven {
        Ok(Proven { ready, .. }) => Health::Ready(Arc::clone(ready)),
        Err(why) => Health::NotReady(why.reason().as_str()),
    };
    let known = KnownHealth {
        uid: uid.clone(),
        generation,
        health,
    };
    if context.issuers.set(&name, known) {
        logged::change(&name, &uid, generation, &found.proven, context);
    }
    // Every replica proves issuers on its own tokens; only the owner writes the result.
    let is_own = context.ownership.owns(Some(&seen.spec.token), &uid)
        && answers(&seen, &name, &uid, context);
    if is_own && let Some(anchors) = anchors(&found, seen) {
        let unpublished = trust::publish(&anchors, &name, context).await;
        if let Some(known) = &mut found.rollover {
            known.unpublished = unpublished;
        }
    }
    let time = now();
    let mut status = seen.status(&found, time);
    if let Some(crls) = crls {
        crls.show(seen, &mut status, time);
    }
    let again = match (retry, due(&found, &status, seen.spec, time)) {
        (Some(retry), Some(due)) => Some(retry.min(due)),
        (one, other) => one.or(other),
    };
    context
        .notes
        .census
        .count(&name, counted(&seen, &found.proven, &status, context));
    if let Ok(Proven { ready, .. }) = &found.proven {
        let seconds = ready.proof.at().as_second();
        context.metrics.issuer_signed(issuer_id(&name), seconds);
    }
    if !is_own || !differs(seen.status, &status) {
        return Ok(again);
    }
    match write(issuer, &name, &status, context).await? {
        StatusWrite::Stored => {
            tell(
                issuer,
                &name,
                notices(seen.status, &status),
                &status,
                context,
            );
            context.notes.written.remember(&name, version, status);
            Ok(again)
        }
        StatusWrite::Outdated => Ok(Some(Instant::now() + AFTER_CONFLICT)),
    }
}

/// Returns whether this installation answers the issuer, and reports another installation that also does.
fn answers(seen: &Seen<'_>, name: &IssuerName, uid: &str, context: &Context) -> bool {
    let named = seen
        .status
        .and_then(|status| status.installation.as_deref());
    let verdict = context
        .notes
        .claims
        .judge(name, uid, named, seen.installation, Instant::now());
    let other = named.unwrap_or_default();
    match verdict {
        WhoAnswers::Ours => true,
        WhoAnswers::TakeOver => {
            info!(issuer = %name, other, "took over an issuer from an installation in another namespace");
            true
        }
        WhoAnswers::Reclaim => {
            context.metrics.clashed();
            warn!(issuer = %name, other, "an installation in another namespace also answers this issuer; give that installation a --class of its own");
            true
        }
        WhoAnswers::Yield { is_news } => {
            if is_news {
                context.metrics.clashed();
                warn!(issuer = %name, other, "left an issuer to an installation in another namespace, which also answers it; give this installation a --class of its own");
            }
            false
        }
    }
}

/// Returns the proofs of earlier looks, of the key that signs and of the next one. Each counts for the probe interval less the
/// largest jitter.
fn earlier<'a>(
    before: Option<&'a KnownHealth>,
    next: Option<&'a KnownNext>,
    generation: i64,
    context: &Context,
) -> Vec<Earlier<'a>> {
    let present = before.and_then(|known| match &known.health {
        Health::Ready(ready) => Some((ready, known.generation)),
        Health::NotReady(_) => None,
    });
    let next = next.map(|known| (&known.ready, known.generation));
    let known = present.into_iter().chain(next);
    let earlier = known.map(|(ready, of)| Earlier {
        ready,
        of_this_spec: of == generation,
        counts_for: context.settings.probe_interval - context.settings.probe_interval / JITTER,
    });
    earlier.collect()
}

/// Returns when the status next changes by the passing of time alone, if that may be before the next round.
fn due(found: &Found, status: &IssuerStatus, spec: &IssuerSpec, now: Timestamp) -> Option<Instant> {
    let chain = found.chain.as_deref();
    let switch = spec.next.as_ref().and_then(|next| next.switch.as_ref());
    let step = next_step_at(status.rollover.as_ref(), switch, now);
    let change = next_change(chain, status.certificate.as_ref(), spec, now);
    let change = change.into_iter().chain(step).min()?;
    let left = Duration::try_from(change.duration_since(now)).ok()?;
    // Later rounds handle later changes, because the clock may be adjusted before then.
    (left <= 2 * READ_AGAIN_AFTER).then(|| Instant::now() + left)
}

fn counted(
    seen: &Seen<'_>,
    found: &Result<Proven, NotReady>,
    status: &IssuerStatus,
    context: &Context,
) -> Counted {
    let certificate = status.certificate.as_ref();
    Counted {
        reason: found
            .as_ref()
            .map_or_else(NotReady::reason, |_| Reason::Verified),
        // Only names of configured tokens become values of a metric label: issuers can name any number of other tokens.
        token: context
            .tokens
            .get(&seen.spec.token)
            .map(|token| token.name().to_owned()),
        // A certificate counts only after its issuer has proved a key on the token. Otherwise anybody who may write issuers
        // could make the metric of any token show any time.
        not_after: certificate
            .filter(|_| status.key.is_some())
            .and_then(expiry::first_end),
        too_short: certificate
            .filter(|_| status.key.is_some())
            .is_some_and(|known| expiry::is_too_short(known, seen.spec, now())),
    }
}

/// Shortens a pause by up to a quarter at random, so that many issuers do not get in step.
fn jittered(whole: Duration, random: u8) -> Duration {
    whole - (whole / JITTER).mul_f64(f64::from(random) / 255.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_takes_a_quarter_of_a_pause_at_most() {
        let whole = Duration::from_secs(60);
        assert_eq!(jittered(whole, 0), whole);
        assert_eq!(jittered(whole, u8::MAX), Duration::from_secs(45));
    }
}
