//! Answers a revocation: stores or removes the entry, or says why not.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt as _;
use tracing::info;

use super::{
    RevocationError, RevocationMemory,
    claim::{ClaimedCertificate, Way},
    conclude::RevocationReport,
    decide::{RevocationStep, decide},
    log::LoggedFacts,
    observe::{Sighting, deadline, observe},
    renew::{remember, renew_before},
    write::write,
};
use crate::{
    api::{
        IssuerName,
        revocation::{AcceptedReason, CertificateRevocation, RenewalStatus},
    },
    audit::{LogPosition, LoggedRevocation},
    issuance::crl,
    metrics::RevocationResult,
    pipeline::{aside, now},
    reconcile::{
        Context,
        request::{Next, full_name},
    },
    revocation::{Entry, Recorded, RegisterError, Released, RevocationRef},
    telemetry::{ErrorChain, log_seldom},
};

/// Shortest and longest pause between two looks at a Certificate that is being renewed.
const RENEWAL_PAUSES: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(30)];

/// A revocation at one moment, with everything that an answer depends on.
struct Case<'a> {
    revocation: &'a CertificateRevocation,
    issuer: &'a IssuerName,
    sighting: Sighting,
    now: Timestamp,
    context: &'a Context,
}

/// Answers a revocation.
///
/// # Errors
/// An object could not be read or written.
pub(super) async fn answer(
    revocation: &CertificateRevocation,
    issuer: &IssuerName,
    memory: &mut RevocationMemory,
    context: &Context,
) -> Result<Next, RevocationError> {
    let now = now();
    let case = Case {
        revocation,
        issuer,
        sighting: observe(revocation, issuer, now, context).await?,
        now,
        context,
    };
    let step = decide(&case.sighting.facts);
    let claimed = case.sighting.claimed.as_ref();
    match (step, claimed.and_then(|claimed| claimed.as_ref().ok())) {
        (RevocationStep::Leave, _) => Ok(Next::OnChange),
        (RevocationStep::Wait(reason), _) => case.wait(reason, memory).await,
        (RevocationStep::Refuse(reason), _) => case.refuse(reason, memory).await,
        (RevocationStep::Renew, _) => case.renew().await,
        (RevocationStep::Store, Some(claimed)) => case.store(claimed, memory).await,
        (RevocationStep::ConfirmStored, Some(claimed)) => {
            let at = case.sighting.entry.as_ref().map(|entry| entry.revoked.at());
            case.stored(claimed, at.unwrap_or(now), memory).await
        }
        (RevocationStep::Release, Some(claimed)) => case.release(claimed, memory).await,
        (RevocationStep::ConfirmReleased, Some(_)) => {
            write(revocation, &case.report().released(), context).await
        }
        // Each of these steps needs a certificate, and none is taken without one.
        (
            RevocationStep::Store
            | RevocationStep::ConfirmStored
            | RevocationStep::Release
            | RevocationStep::ConfirmReleased,
            None,
        ) => Ok(Next::OnChange),
    }
}

impl Case<'_> {
    fn report(&self) -> RevocationReport<'_> {
        RevocationReport {
            revocation: self.revocation,
            now: self.now,
        }
    }

    async fn wait(
        &self,
        reason: AcceptedReason,
        memory: &mut RevocationMemory,
    ) -> Result<Next, RevocationError> {
        if reason == AcceptedReason::Renewing {
            let status = match self.renewal() {
                Some(renewal) if !self.sighting.may_not_renew => self.report().renewing(renewal),
                Some(_) | None => self.report().cannot_renew(),
            };
            let written = write(self.revocation, &status, self.context).await?;
            return Ok(self.unless_settled(written, self.next_look_at_renewal()));
        }
        let why = format!("{} cannot be used at present; see its status", self.issuer);
        let again = memory.failed(Instant::now());
        let status = self.report().waiting(reason, &why);
        let written = write(self.revocation, &status, self.context).await?;
        Ok(self.unless_settled(written, again))
    }

    /// Returns when to look again: as the write says, or else `again`.
    fn unless_settled(&self, written: Next, again: Next) -> Next {
        match written {
            Next::OnChange => again,
            Next::Ended | Next::Settled | Next::At(_) => written,
        }
    }

    /// Looks often at first, and at the latest when the time is over.
    fn next_look_at_renewal(&self) -> Next {
        let [shortest, longest] = RENEWAL_PAUSES;
        let since = |time: Timestamp| Duration::try_from(self.now.duration_since(time)).ok();
        let created = self.revocation.metadata.creation_timestamp.as_ref();
        let age = created
            .and_then(|created| since(created.0))
            .unwrap_or_default();
        let left = deadline(self.revocation)
            .and_then(|end| Duration::try_from(end.duration_since(self.now)).ok())
            .unwrap_or_default();
        Next::At(Instant::now() + (age / 8).clamp(shortest, longest).min(left))
    }

    async fn refuse(
        &self,
        reason: AcceptedReason,
        memory: &mut RevocationMemory,
    ) -> Result<Next, RevocationError> {
        let line = self.log(|logged| {
            self.context
                .log
                .revocation_refused(&logged, reason.as_str())
        });
        if let Some(next) = self.until_logged(line, memory).await {
            return Ok(next);
        }
        let why = match &self.sighting.claimed {
            Some(Err(objection)) if objection.reason == reason => objection.message.clone(),
            Some(Ok(_) | Err(_)) | None => self.why(reason),
        };
        let revocation = full_name(self.revocation);
        info!(revocation, issuer = %self.issuer, reason = reason.as_str(), why, "refused a revocation");
        self.context.metrics.revocation(RevocationResult::Refused);
        write(
            self.revocation,
            &self.report().refused(reason, &why),
            self.context,
        )
        .await
    }

    /// Returns what is wrong, and what to do, if it is not about the certificate itself.
    fn why(&self, reason: AcceptedReason) -> String {
        let issuer = self.issuer;
        let before = self
            .sighting
            .entry
            .as_ref()
            .map(|entry| entry.revoked.reason());
        let before = before.map_or("another reason", |reason| reason.as_str());
        match reason {
            AcceptedReason::IssuerNotFound => format!("{issuer} does not exist; correct issuerRef"),
            AcceptedReason::CrlNotEnabled => {
                format!("{issuer} publishes no CRL; set its spec.crl, then create the revocation anew")
            }
            AcceptedReason::IssuerNotAllowed => {
                "only revocations in the controller's namespace may name an issuer of another namespace".to_owned()
            }
            AcceptedReason::InvalidityDateInvalid => {
                "invalidityDate must be a time since 1970 that has passed".to_owned()
            }
            AcceptedReason::CertificateEnded => {
                "the certificate has ended, so no CRL would have it".to_owned()
            }
            AcceptedReason::AlreadyRevoked => {
                format!("the certificate is revoked already, for {before}, and that is final")
            }
            AcceptedReason::NotOnHold => "the certificate is not on hold".to_owned(),
            AcceptedReason::HeldByOthers => {
                let by = self.sighting.entry.as_ref().and_then(|entry| entry.by.as_ref());
                let by = by.map_or_else(
                    || "somebody else".to_owned(),
                    |by| format!("CertificateRevocation {}/{}", by.namespace(), by.name()),
                );
                format!("{by} put the certificate on hold; set release there")
            }
            AcceptedReason::NothingToRenew => {
                "no Certificate of cert-manager owns the CertificateRequest; create the revocation without renew".to_owned()
            }
            AcceptedReason::Revoked
            | AcceptedReason::Released
            | AcceptedReason::IssuerNotReady
            | AcceptedReason::Renewing
            | AcceptedReason::NotStored
            | AcceptedReason::RequestNotFound
            | AcceptedReason::RequestOfOtherIssuer
            | AcceptedReason::NotIssued
            | AcceptedReason::CertificateInvalid
            | AcceptedReason::NotOurs
            | AcceptedReason::KeyMismatch
            | AcceptedReason::ProofMissing
            | AcceptedReason::ProofWrong
            | AcceptedReason::SerialNotAllowed
            | AcceptedReason::SerialInvalid => reason.to_string(),
        }
    }

    /// Returns the renewal as the status has it, or as it is to be.
    fn renewal(&self) -> Option<RenewalStatus> {
        let status = self.revocation.status.as_ref();
        let known = status.and_then(|status| status.renewal.clone());
        known.or_else(|| remember(self.sighting.request.as_ref()?))
    }

    /// Asks for the renewal, once the status has what is needed after it.
    async fn renew(&self) -> Result<Next, RevocationError> {
        let (Some(certificate), Some(mut renewal)) = (&self.sighting.certificate, self.renewal())
        else {
            return Ok(Next::OnChange);
        };
        let status = self.revocation.status.as_ref();
        if status.is_some_and(|status| status.renewal.is_some()) {
            let revocation = self.revocation.name_any();
            renew_before(&revocation, certificate, self.now, &self.context.client).await?;
            renewal.requested_at = Some(Time(self.now));
        }
        let status = self.report().renewing(renewal);
        let written = write(self.revocation, &status, self.context).await?;
        Ok(self.unless_settled(written, self.next_look_at_renewal()))
    }

    async fn store(
        &self,
        claimed: &ClaimedCertificate,
        memory: &mut RevocationMemory,
    ) -> Result<Next, RevocationError> {
        let spec = &self.revocation.spec.0;
        let invalidity = spec.invalidity_date.as_ref().map(|date| date.0);
        let revoked = crl::Revoked::new(claimed.serial, self.now, spec.reason.into(), invalidity);
        let Ok(revoked) = revoked else {
            return self
                .refuse(AcceptedReason::InvalidityDateInvalid, memory)
                .await;
        };
        let entry = Entry {
            revoked,
            not_after: Some(claimed.not_after),
            by: Some(RevocationRef::new(
                &self.revocation.namespace().unwrap_or_default(),
                &self.revocation.name_any(),
                &self.revocation.uid().unwrap_or_default(),
            )),
        };
        match self.context.register.revoke(&claimed.ca, entry).await {
            Ok(Recorded::New) => self.stored(claimed, revoked.at(), memory).await,
            Ok(Recorded::Already(entry)) if entry.revoked.reason() == revoked.reason() => {
                self.stored(claimed, entry.revoked.at(), memory).await
            }
            Ok(Recorded::Already(_)) => self.refuse(AcceptedReason::AlreadyRevoked, memory).await,
            Err(error) => self.not_stored(&error, memory).await,
        }
    }

    async fn release(
        &self,
        claimed: &ClaimedCertificate,
        memory: &mut RevocationMemory,
    ) -> Result<Next, RevocationError> {
        let released = self
            .context
            .register
            .release(&claimed.ca, &claimed.serial)
            .await;
        match released {
            Ok(Released::Done | Released::NotRevoked) => {
                let line = self.log(|logged| self.context.log.released(&logged));
                if let Some(next) = self.until_logged(line, memory).await {
                    return Ok(next);
                }
                let (revocation, serial) = (full_name(self.revocation), claimed.serial);
                info!(revocation, issuer = %self.issuer, serial = %serial, "released a certificate");
                self.context.metrics.revocation(RevocationResult::Released);
                write(self.revocation, &self.report().released(), self.context).await
            }
            Ok(Released::Final(_)) => self.refuse(AcceptedReason::AlreadyRevoked, memory).await,
            Err(error) => self.not_stored(&error, memory).await,
        }
    }

    /// Reports that the entry is stored, after the issuance log has it.
    async fn stored(
        &self,
        claimed: &ClaimedCertificate,
        at: Timestamp,
        memory: &mut RevocationMemory,
    ) -> Result<Next, RevocationError> {
        let reason = crl::RevocationReason::from(self.revocation.spec.0.reason);
        let line = self.log(|logged| self.context.log.revoked(&logged, reason.as_str()));
        if let Some(next) = self.until_logged(line, memory).await {
            return Ok(next);
        }
        let (revocation, serial) = (full_name(self.revocation), claimed.serial);
        info!(revocation, issuer = %self.issuer, serial = %serial, reason = reason.as_str(), "revoked a certificate");
        self.context.metrics.revocation(RevocationResult::Revoked);
        let in_log = match claimed.way {
            Way::Serial => {
                let log = self.context.log.clone();
                aside(move || log.has_signed(&serial.to_string())).await
            }
            Way::Request | Way::Proof | Way::Certificate => None,
        };
        let status = self.report().stored(claimed, at, in_log);
        write(self.revocation, &status, self.context).await
    }

    async fn not_stored(
        &self,
        error: &RegisterError,
        memory: &mut RevocationMemory,
    ) -> Result<Next, RevocationError> {
        let why = ErrorChain(error).to_string();
        let again = memory.failed(Instant::now());
        log_seldom!(
            warn,
            &why,
            revocation = full_name(self.revocation),
            error = why,
            "a revocation could not be stored and is tried again"
        );
        let status = self.report().waiting(AcceptedReason::NotStored, &why);
        let written = write(self.revocation, &status, self.context).await?;
        Ok(self.unless_settled(written, again))
    }

    /// Waits until the issuance log has a line. Returns when to try again if it does not take it.
    async fn until_logged(&self, line: LogPosition, memory: &mut RevocationMemory) -> Option<Next> {
        // The author of a revocation must not learn where the issuance log is stored; the operator's log says it.
        let accepted = self.context.log.accepted(line).await;
        accepted.err().map(|_| memory.failed(Instant::now()))
    }

    fn log<T>(&self, write: impl FnOnce(LoggedRevocation<'_>) -> T) -> T {
        let claimed = self.sighting.claimed.as_ref();
        let claimed = claimed.and_then(|claimed| claimed.as_ref().ok());
        let request = self.sighting.request.as_ref();
        LoggedFacts::of(self.revocation, self.issuer, claimed, request).write(write)
    }
}
