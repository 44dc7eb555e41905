//! Looks at one issuer of either kind: finds out whether it can sign, and writes the result to its status.

mod attend;
mod census;
mod claims;
mod crls;
mod establish;
mod expiry;
mod health;
mod logged;
mod material;
mod pace;
mod rounds;
mod state;
mod status;
mod stored;
mod watch;
mod written;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams, Request},
};
use serde::de::IgnoredAny;
use serde_json::json;
use tracing::{info, warn};

pub use self::{
    attend::run_issuers,
    health::{Issuers, Waiter, Woken},
    stored::StoredIssuers,
    watch::{ToldIssuers, issuers, publish_usable_tokens},
};
use self::{
    census::{Census, Counted},
    claims::{Claims, WhoAnswers},
    establish::{Found, NotReady, establish, prepare},
    expiry::next_change,
    material::Reads,
    pace::LookPace,
    status::{Seen, differs, notices},
    written::Written,
};
pub(super) use self::{
    health::{Health, KnownHealth, Wake},
    state::{IssuerState, issuer_states},
    stored::Stored,
};
use super::{Context, backoff::random, call::call, events::Notice, trust};
use crate::{
    api::{
        FIELD_MANAGER, GROUP, IssuerName,
        issuer::{IssuerKind, IssuerSpec, IssuerStatus, Reason},
        tolerant::Tolerant,
    },
    metrics::Metrics,
    pipeline::{Earlier, Proven, now},
    telemetry::ErrorChain,
};

/// The longest time between two readings of Secrets, ConfigMaps and PINs, however rarely the token signs a probe.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(60);
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
        }
    }

    fn forget(&self, name: &IssuerName) {
        self.written.forget(name);
        self.census.forget(name);
        self.claims.forget(name);
    }
}

/// Failure to write an issuer's status.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status of {issuer}{}", cure(source))]
pub(super) struct IssuerStatusError {
    issuer: IssuerName,
    source: Box<kube::Error>,
}

/// Returns what to do about an error, or nothing if that is unknown. Server-side apply refuses a status with a field that
/// the CRD lacks.
fn cure(error: &kube::Error) -> &'static str {
    if let kube::Error::Api(status) = error
        && status.message.contains("field not declared in schema")
    {
        return " (the CRDs are older than this controller: apply those of its version, which `pkcs11-issuer crds` prints)";
    }
    ""
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
        Ok(issuer) => look(issuer, since, reads, context).await,
        Err(invalid) => {
            warn!(kind = K::KIND, name = %issuer.name_any(), error = %ErrorChain(invalid),
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
    let seen = Seen {
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
            let earlier = earlier(before.as_ref(), generation, context);
            establish(&prepared, seen.spec, &name, earlier, since, reads, context).await
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
    let time = now();
    let mut status = seen.status(&found, time);
    if let Some(crls) = crls {
        crls.show(seen, &mut status, time);
    }
    let again = match (retry, due(&found, &status, seen.spec, time)) {
        (Some(retry), Some(due)) => Some(retry.min(due)),
        (one, other) => one.or(other),
    };
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
    context
        .notes
        .census
        .count(&name, counted(&seen, &found.proven, &status, context));
    // Every replica proves issuers on its own tokens; only the owner writes the result.
    if !context.ownership.owns(Some(&seen.spec.token), &uid) {
        return Ok(again);
    }
    if !answers(&seen, &name, &uid, context) {
        return Ok(again);
    }
    if let Ok(Proven { ready, .. }) = &found.proven {
        trust::publish(ready, &name, context).await;
    }
    if differs(seen.status, &status) {
        write(issuer, &name, &status, context).await?;
        tell(issuer, &name, notices(seen.status, &status), context);
        context.notes.written.remember(&name, version, status);
    }
    Ok(again)
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

/// Returns the proof of an earlier look. The proof counts for the probe interval less the largest jitter.
fn earlier<'a>(
    before: Option<&'a KnownHealth>,
    generation: i64,
    context: &Context,
) -> Option<Earlier<'a>> {
    match before {
        Some(KnownHealth {
            health: Health::Ready(ready),
            generation: of,
            ..
        }) => Some(Earlier {
            ready,
            of_this_spec: *of == generation,
            counts_for: context.settings.probe_interval - context.settings.probe_interval / JITTER,
        }),
        Some(KnownHealth {
            health: Health::NotReady(_),
            ..
        })
        | None => None,
    }
}

/// Returns when the status next changes by the passing of time alone, if that may be before the next round.
fn due(found: &Found, status: &IssuerStatus, spec: &IssuerSpec, now: Timestamp) -> Option<Instant> {
    let chain = found.chain.as_deref();
    let change = next_change(chain, status.certificate.as_ref(), spec, now)?;
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

async fn write<K: IssuerKind>(
    issuer: &K,
    name: &IssuerName,
    status: &IssuerStatus,
    context: &Context,
) -> Result<(), IssuerStatusError> {
    let body = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": K::KIND,
        "metadata": {"name": name.name, "namespace": name.namespace, "uid": issuer.uid()},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let failed = |source| IssuerStatusError {
        issuer: name.clone(),
        source: Box::new(source),
    };
    // This builds paths for both scopes; the typed client supports only one of them per type.
    let request = Request::new(K::url_path(&(), name.namespace.as_deref()))
        .patch_subresource("status", &name.name, &params, &Patch::Apply(body))
        .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
    match call::<IgnoredAny>(&context.client, request).await {
        Ok(_) => Ok(()),
        // The issuer was deleted, or another object of the same name replaced it: there is no status to write.
        Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

/// Writes one log line and one Event for each transition.
fn tell<K: IssuerKind>(issuer: &K, name: &IssuerName, notices: Vec<Notice>, context: &Context) {
    for notice in notices {
        let (reason, why) = (notice.reason().as_str(), notice.note());
        if notice.reason().is_warning() {
            warn!(issuer = %name, reason, why, "a condition has changed");
        } else {
            info!(issuer = %name, reason, why, "a condition has changed");
        }
        context
            .events
            .publish(notice, issuer.object_ref(&()), now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_of_a_status_that_an_older_crd_refuses_says_what_to_do() {
        let refused = |message: &str| IssuerStatusError {
            issuer: IssuerName {
                namespace: None,
                name: "issuing".to_owned(),
            },
            source: Box::new(kube::Error::Api(Box::new(
                kube::core::Status::failure(message, "InternalError").with_code(500),
            ))),
        };
        let old = refused(
            "failed to create typed patch object: .status.class: field not declared in schema",
        );
        assert!(
            old.to_string()
                .ends_with("which `pkcs11-issuer crds` prints)")
        );
        assert!(!refused("etcd is away").to_string().contains("CRDs"));
    }

    #[test]
    fn jitter_takes_a_quarter_of_a_pause_at_most() {
        let whole = Duration::from_secs(60);
        assert_eq!(jittered(whole, 0), whole);
        assert_eq!(jittered(whole, u8::MAX), Duration::from_secs(45));
    }
}
