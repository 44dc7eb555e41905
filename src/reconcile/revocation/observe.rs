//! Reads the facts for a decision about a revocation: from the caches, the register and, as far as the revocation names them,
//! from the API server.

use std::{iter, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use kube::{Api, ResourceExt as _};

use super::{
    RevocationError,
    claim::{ClaimedCertificate, NamedCertificate, Objection, Reach, claimed},
    decide::{EntryFact, Renewal, RevocationFacts, Signatory, Wish},
    renew::{RenewalFacts, read_owner, remembered},
};
use crate::{
    api::{
        IssuerName,
        certificate::Certificate,
        certificate_request::CertificateRequest,
        revocation::{AcceptedReason, CertificateRevocation, RevocationSpec, RevocationStatus},
    },
    issuance::crl,
    pipeline::ReadyIssuer,
    reconcile::{Context, issuer::Health},
    revocation::Entry,
};

/// The kind's name in errors.
const REQUEST: &str = "CertificateRequest";

/// Observation of a revocation at one moment.
pub(super) struct Sighting {
    /// The facts that the decision depends on.
    pub(super) facts: RevocationFacts,
    /// The certificate, or why it may not be revoked; `None` if the issuer cannot be used.
    pub(super) claimed: Option<Result<ClaimedCertificate, Objection>>,
    /// The entry of the certificate.
    pub(super) entry: Option<Entry>,
    /// The request that the revocation names.
    pub(super) request: Option<CertificateRequest>,
    /// The Certificate that owns it.
    pub(super) certificate: Option<Certificate>,
    /// Whether the controller has no right to renew Certificates.
    pub(super) may_not_renew: bool,
}

/// Observes a revocation.
///
/// # Errors
/// An object that it names could not be read.
pub(super) async fn observe(
    revocation: &CertificateRevocation,
    issuer: &IssuerName,
    now: Timestamp,
    context: &Context,
) -> Result<Sighting, RevocationError> {
    let spec = &revocation.spec.0;
    let namespace = revocation.namespace().unwrap_or_default();
    let status = revocation.status.as_ref();
    let (signatory, ready) = signatory(issuer, &namespace, context);
    let mut sighting = Sighting {
        facts: RevocationFacts {
            signatory,
            claim: Ok(()),
            wish: match spec.release {
                true => Wish::Release,
                false => Wish::Revoke,
            },
            entry: EntryFact::None,
            same_reason: false,
            accepted_before: accepted_before(status),
            date_is_valid: date_is_valid(spec, now),
            has_ended: false,
            renewal: Renewal::NotWanted,
        },
        claimed: None,
        entry: None,
        request: None,
        certificate: None,
        may_not_renew: false,
    };
    let Some(ready) = ready else {
        return Ok(sighting);
    };
    if let Some(named) = &spec.certificate_request_ref {
        sighting.request = read_request(&namespace, &named.name, context).await?;
        let renewal = status.and_then(|status| status.renewal.as_ref());
        if let (None, Some(renewal)) = (&sighting.request, renewal) {
            sighting.request = remembered(renewal, &namespace, &named.name, spec);
        }
    }
    let reach = reach(issuer, &namespace, &ready, context);
    // The present CA first; beside it, during a rollover, the other one.
    let others = context.register.authorities(issuer);
    let others = others.iter().map(|other| other.issuer.chain().issuing());
    let authorities: Vec<_> = iter::once(ready.issuer.chain().issuing())
        .chain(others)
        .collect();
    let named = NamedCertificate::by(spec, sighting.request.as_ref());
    let claim = match named {
        Some(named) => claimed(named, issuer, reach, &authorities),
        None => Err(Objection::unnamed()),
    };
    match &claim {
        Err(objection) => sighting.facts.claim = Err(objection.reason),
        Ok(claimed) => {
            let entry = context.register.entry(&claimed.ca, &claimed.serial);
            sighting.facts.entry = entry_fact(entry.as_ref(), revocation, reach);
            let reason = crl::RevocationReason::from(spec.reason);
            sighting.facts.same_reason = entry
                .as_ref()
                .is_some_and(|entry| entry.revoked.reason() == reason);
            sighting.facts.has_ended = claimed.not_after < now;
            sighting.entry = entry;
        }
    }
    sighting.claimed = Some(claim);
    if spec.renew && sighting.facts.claim.is_ok() {
        if let Some(request) = &sighting.request {
            match read_owner(request, &context.client).await {
                Ok(certificate) => sighting.certificate = certificate,
                Err(error) if error.is_forbidden() => sighting.may_not_renew = true,
                Err(error) => return Err(error),
            }
        }
        let facts = RenewalFacts {
            request: sighting.request.as_ref(),
            certificate: sighting.certificate.as_ref(),
            may_not_read: sighting.may_not_renew,
            was_requested: status
                .and_then(|status| status.renewal.as_ref()?.requested_at.as_ref())
                .is_some(),
            is_late: deadline(revocation).is_none_or(|deadline| deadline <= now),
        };
        sighting.facts.renewal = facts.progress();
    }
    Ok(sighting)
}

/// Returns when the renewal is over in any case.
pub(super) fn deadline(revocation: &CertificateRevocation) -> Option<Timestamp> {
    let created = revocation.metadata.creation_timestamp.as_ref()?.0;
    let within = SignedDuration::try_from(revocation.spec.0.renew_within()).ok()?;
    created.checked_add(within).ok()
}

/// Returns the state of the issuer, and the issuer itself if it can be used.
fn signatory(
    issuer: &IssuerName,
    namespace: &str,
    context: &Context,
) -> (Signatory, Option<Arc<ReadyIssuer>>) {
    let of_other = issuer
        .namespace
        .as_deref()
        .is_some_and(|of| of != namespace);
    if of_other && !is_operators(namespace, context) {
        return (Signatory::NotAllowed, None);
    }
    let Some(stored) = context.stored.get(issuer) else {
        return (Signatory::Missing, None);
    };
    if !stored.is_ours || stored.is_elsewhere {
        return (Signatory::Elsewhere, None);
    }
    if !stored.publishes_crls {
        return (Signatory::WithoutCrl, None);
    }
    let issuers = &context.issuers;
    match issuers.health(issuer, &stored.uid, stored.generation) {
        Some(Health::Ready(ready)) => (Signatory::Ready, Some(ready)),
        Some(Health::NotReady(_)) | None => (Signatory::NotReady, None),
    }
}

fn is_operators(namespace: &str, context: &Context) -> bool {
    namespace == context.settings.cluster_resource_namespace
}

/// Returns which certificates the revocations of this namespace may name.
fn reach(issuer: &IssuerName, namespace: &str, ready: &ReadyIssuer, context: &Context) -> Reach {
    let own_issuer = issuer.namespace.as_deref() == Some(namespace);
    match is_operators(namespace, context) || (own_issuer && ready.key.revokes_any()) {
        true => Reach::Any,
        false => Reach::Held,
    }
}

fn entry_fact(
    entry: Option<&Entry>,
    revocation: &CertificateRevocation,
    reach: Reach,
) -> EntryFact {
    let Some(entry) = entry else {
        return EntryFact::None;
    };
    if entry.revoked.reason() != crl::RevocationReason::CertificateHold {
        return EntryFact::Final;
    }
    let by = entry.by.as_ref().map(|by| by.uid());
    EntryFact::Hold {
        may_release: reach == Reach::Any
            || (by.is_some() && by == revocation.metadata.uid.as_deref()),
    }
}

fn accepted_before(status: Option<&RevocationStatus>) -> bool {
    match status.and_then(RevocationStatus::accepted) {
        Some(AcceptedReason::Revoked | AcceptedReason::Released) => true,
        Some(_) | None => false,
    }
}

/// Returns whether a CRL can carry the date of invalidity: it is not in the future, and not before 1970.
fn date_is_valid(spec: &RevocationSpec, now: Timestamp) -> bool {
    let date = spec.invalidity_date.as_ref();
    date.is_none_or(|date| (Timestamp::UNIX_EPOCH..=now).contains(&date.0))
}

async fn read_request(
    namespace: &str,
    name: &str,
    context: &Context,
) -> Result<Option<CertificateRequest>, RevocationError> {
    let api = Api::<CertificateRequest>::namespaced(context.client.clone(), namespace);
    let read = api.get_opt(name).await;
    match read.map_err(|source| RevocationError::read(REQUEST, namespace, name, source)) {
        // Without the right to read requests, the controller has answered none.
        Err(error) if error.is_forbidden() => Ok(None),
        read => read,
    }
}
