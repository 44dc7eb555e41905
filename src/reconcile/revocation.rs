//! One CertificateRevocation, from observation to status write: observe, decide, act.

mod act;
mod attend;
mod claim;
mod conclude;
mod decide;
mod deleted;
mod log;
mod observe;
mod renew;
mod standing;
mod write;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use kube::{Api, ResourceExt as _};

use self::{
    act::answer,
    conclude::{FirstCrl, RevocationReport},
    log::LoggedFacts,
    standing::{RevocationStanding, standing},
    write::write,
};
pub use self::{attend::run_revocations, deleted::DeletedCertificates};
use super::{
    Context,
    call::{LONGEST, delay, random},
    request::{Next, Remembered, full_name},
};
use crate::{
    api::{
        IssuerName,
        revocation::{CertificateRevocation, PublishedReason, RevocationReason, RevocationStatus},
        tolerant::Tolerant,
    },
    audit::ShowingCrl,
    issuance::crl::{CaId, SerialNumber},
    pipeline::now,
    telemetry::{ErrorChain, log_seldom},
};

/// The kind's name in errors.
const KIND: &str = "CertificateRevocation";
/// Pause before a look at an object that somebody has changed meanwhile.
const AFTER_CONFLICT: Duration = Duration::from_millis(500);
/// Pause until the register is expected to know every entry.
const UNTIL_KNOWN: Duration = Duration::from_secs(1);

/// Failure after which a revocation is looked at again although nothing about it has changed.
#[derive(Debug, thiserror::Error)]
pub(super) enum RevocationError {
    /// An object could not be read.
    #[error("failed to read {kind} {name}")]
    Read {
        /// Kind of the object.
        kind: &'static str,
        /// Namespace and name of the object.
        name: String,
        /// The API server's error.
        source: Box<kube::Error>,
    },
    /// An object could not be written.
    #[error("failed to write {kind} {name}")]
    Write {
        /// Kind of the object.
        kind: &'static str,
        /// Namespace and name of the object.
        name: String,
        /// The API server's error.
        source: Box<kube::Error>,
    },
}

impl RevocationError {
    fn read(kind: &'static str, namespace: &str, name: &str, source: kube::Error) -> Self {
        Self::Read {
            kind,
            name: format!("{namespace}/{name}"),
            source: Box::new(source),
        }
    }

    /// Returns whether the controller has no right for the call.
    fn is_forbidden(&self) -> bool {
        let (Self::Read { source, .. } | Self::Write { source, .. }) = self;
        matches!(&**source, kube::Error::Api(status) if status.code == 403)
    }

    fn write(kind: &'static str, namespace: &str, name: &str, source: kube::Error) -> Self {
        Self::Write {
            kind,
            name: format!("{namespace}/{name}"),
            source: Box::new(source),
        }
    }
}

/// Memory of one revocation, kept from one look to the next.
#[derive(Debug, Default)]
pub(super) struct RevocationMemory {
    /// Consecutive failures.
    failures: u32,
    /// The certificate that no CRL has yet, and since when it is revoked.
    awaits: Option<(CaId, SerialNumber, Timestamp)>,
}

impl Remembered for RevocationMemory {
    fn has_unpublished(&self) -> bool {
        false
    }

    fn forgive(&mut self) {
        self.failures = 0;
    }
}

impl RevocationMemory {
    /// Notes one more failure and returns the time of the next look.
    fn failed(&mut self, now: Instant) -> Next {
        self.failures = self.failures.saturating_add(1);
        Next::At(now + delay(self.failures, random(), LONGEST))
    }
}

/// Looks at one revocation and takes the one action that is due.
async fn look(
    kept: &Tolerant<CertificateRevocation>,
    memory: &mut RevocationMemory,
    context: &Context,
) -> Next {
    memory.awaits = None;
    let kept = match &kept.0 {
        Ok(kept) => kept,
        Err(invalid) => {
            let error = ErrorChain(invalid).to_string();
            log_seldom!(warn, &error, revocation = %full_name(kept), error,
                         "ignored a revocation that cannot be parsed");
            return Next::OnChange;
        }
    };
    match act(kept, memory, context).await {
        Ok(next) => next,
        Err(error) => {
            let error = ErrorChain(&error).to_string();
            log_seldom!(warn, &error, revocation = %full_name(kept), error, "will try again");
            memory.failed(Instant::now())
        }
    }
}

/// `kept` is what the queue has of the object: too little to decide on.
async fn act(
    kept: &CertificateRevocation,
    memory: &mut RevocationMemory,
    context: &Context,
) -> Result<Next, RevocationError> {
    let (namespace, name) = (kept.namespace().unwrap_or_default(), kept.name_any());
    let issuer = kept.spec.0.issuer_ref.of(&namespace);
    let token = context.stored.token(&issuer);
    let uid = kept.metadata.uid.as_deref().unwrap_or_default();
    if !context.ownership.owns(token.as_deref(), uid) {
        return Ok(Next::OnChange);
    }
    if !context.register.is_known() {
        // Until then, a certificate that is on hold would wrongly count as one that is not.
        return Ok(Next::At(Instant::now() + UNTIL_KNOWN));
    }
    let api = Api::<CertificateRevocation>::namespaced(context.client.clone(), &namespace);
    let read = api.get_opt(&name).await;
    let read = read.map_err(|source| RevocationError::read(KIND, &namespace, &name, source))?;
    let Some(revocation) = read.filter(|read| read.metadata.uid == kept.metadata.uid) else {
        return Ok(Next::Ended);
    };
    match standing(&revocation, now()) {
        RevocationStanding::Settled => Ok(Next::Ended),
        RevocationStanding::Stored => follow(&revocation, &issuer, memory, context).await,
        RevocationStanding::Open => answer(&revocation, &issuer, memory, context).await,
    }
}

/// Follows a stored revocation until a CRL has the certificate, and until the entry is dropped.
async fn follow(
    revocation: &CertificateRevocation,
    issuer: &IssuerName,
    memory: &mut RevocationMemory,
    context: &Context,
) -> Result<Next, RevocationError> {
    let report = RevocationReport {
        revocation,
        now: now(),
    };
    let status = revocation.status.as_ref();
    let Some((ca, serial)) = status.and_then(certificate) else {
        return Ok(Next::Ended);
    };
    let Some(entry) = context.register.entry(&ca, &serial) else {
        let end = status.and_then(|status| status.not_after.as_ref());
        let has_ended = end.is_some_and(|end| end.0 < report.now);
        if !has_ended && revocation.spec.0.reason != RevocationReason::CertificateHold {
            // Nobody can have released it, so the register has lost it.
            return answer(revocation, issuer, memory, context).await;
        }
        return write(revocation, &report.without_entry(has_ended), context).await;
    };
    if status.and_then(RevocationStatus::published) == Some(PublishedReason::OnCrl) {
        return Ok(Next::Ended);
    }
    let Some(crl) = context.register.published(&ca, &serial) else {
        memory.awaits = Some((ca, serial, entry.revoked.at()));
        return Ok(Next::OnChange);
    };
    let written = write(
        revocation,
        &report.published(FirstCrl {
            number: crl.number,
            shard: crl.shard,
            this_update: crl.this_update,
        }),
        context,
    )
    .await?;
    let by = entry.by.as_ref().map(|by| by.uid());
    if by == revocation.metadata.uid.as_deref() && written == Next::Ended {
        let shown = ShowingCrl {
            shard: crl.shard,
            number: crl.number,
            this_update: crl.this_update,
        };
        LoggedFacts::stored(revocation, &entry)
            .write(|logged| context.log.revocation_published(&logged, &shown));
    }
    Ok(written)
}

/// Returns the certificate that a status names.
fn certificate(status: &RevocationStatus) -> Option<(CaId, SerialNumber)> {
    let ca = status.ca.as_deref()?.parse().ok()?;
    let serial = status.serial_number.as_deref()?.parse().ok()?;
    Some((ca, serial))
}
