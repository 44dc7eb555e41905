//! The PIN belongs to the token: it has one owner, and tries of a PIN are remembered across restarts and replicas.

pub mod place;
pub mod record;
pub mod source;
pub mod standing;
pub mod store;

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::{Mutex, MutexGuard};

use hsm::{
    BoxFuture, LoginGate, LoginOutcome, LoginPermit, LoginRefused, TokenCode, TokenInfo,
    answered_within,
};
use tokio::time::Instant;
use tracing::{info, warn};

use self::{
    place::{RecordKeys, ReportedIdentities},
    record::{LoginAttempt, PinRecord, Verdict, decide},
    source::{PinError, PinOrigin, PinSecret},
    store::{PinStore, StoreError},
};
use crate::{
    audit::IssuanceLog,
    config::MAX_HANG_AFTER,
    telemetry::{ErrorChain, RepeatFilter},
};

/// How long another replica's unsettled try may stay unchanged, by this replica's own clock, before its holder counts
/// as gone. Covers the slowest login that a configuration allows, and the time to record it. Replicas may have
/// different values of `hangAfter` while the configuration changes, so the largest allowed value counts.
const HOLDER_GONE_AFTER: Duration = answered_within(MAX_HANG_AFTER).saturating_add(TIME_TO_RECORD);
const TIME_TO_RECORD: Duration = Duration::from_secs(28);
const READ_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Gate that lets a worker log in to one token, no more often than the PIN record allows.
///
/// *Guarantees*: the record says Trying before the PIN leaves this type; a version that was rejected is not given out
/// again; after the configured number of rejected logins in a row no PIN is given out until the operator clears the
/// record.
/// *Assumptions*: two replicas never run under one `holder` name at the same time.
pub struct TokenPin {
    store: PinStore,
    origin: PinOrigin,
    holder: String,
    max_rejected: u32,
    /// Configured name of the token, and what all tokens of this process report of themselves.
    beside: Option<(String, Arc<ReportedIdentities>)>,
    /// Record that was written, or may have been, for a permit that was never given, so that no login followed.
    unused: Mutex<Option<PinRecord>>,
    /// Where logins are logged, and under which name of the token.
    log: Option<(IssuanceLog, String)>,
}

impl TokenPin {
    /// Creates the gate of one token.
    #[must_use]
    pub fn new(store: PinStore, origin: PinOrigin, holder: String, max_rejected: u32) -> Self {
        Self {
            store,
            origin,
            holder,
            max_rejected,
            beside: None,
            unused: Mutex::default(),
            log: None,
        }
    }

    /// Returns the gate of the token with this configured name. `reported` shows which other tokens report the same of
    /// themselves.
    #[must_use]
    pub fn beside(self, name: &str, reported: &Arc<ReportedIdentities>) -> Self {
        Self {
            beside: Some((name.to_owned(), Arc::clone(reported))),
            ..self
        }
    }

    /// Returns the gate that logs the logins to the token with this configured name.
    #[must_use]
    pub fn logging(self, log: &IssuanceLog, name: &str) -> Self {
        Self {
            log: Some((log.clone(), name.to_owned())),
            ..self
        }
    }

    fn place(&self, token: &TokenInfo) -> RecordKeys {
        match &self.beside {
            Some((name, reported)) => reported.place(name, token),
            None => RecordKeys::of(token),
        }
    }

    /// Takes the Secret that an issuer names, if the token's issuers own the PIN.
    ///
    /// # Errors
    /// The Secret that another issuer of the token names, if it is a different one: a token has one PIN.
    pub fn name_secret(&self, issuer: &str, secret: &PinSecret) -> Result<(), PinSecret> {
        match &self.origin {
            PinOrigin::Issuers(_, named) => named.name(issuer, secret),
            PinOrigin::File(_)
            | PinOrigin::Once { .. }
            | PinOrigin::Secret(..)
            | PinOrigin::None => Ok(()),
        }
    }

    /// Forgets an issuer that is deleted or uses another token.
    pub fn forget_issuer(&self, issuer: &str) {
        match &self.origin {
            PinOrigin::Issuers(_, named) => named.forget(issuer),
            PinOrigin::File(_)
            | PinOrigin::Once { .. }
            | PinOrigin::Secret(..)
            | PinOrigin::None => {}
        }
    }

    async fn ask(&self, token: &TokenInfo) -> Result<LoginPermit, LoginRefused> {
        if matches!(self.origin, PinOrigin::None) {
            return Err(refused(PinError::NotConfigured));
        }
        let asked = self.ask_store(token).await;
        if asked.is_err() {
            self.store.let_go();
        }
        asked
    }

    async fn ask_store(&self, token: &TokenInfo) -> Result<LoginPermit, LoginRefused> {
        let mut unchanged: Option<(Option<String>, Instant)> = None;
        let mut waiting = RepeatFilter::default();
        loop {
            let states = match self.store.read().await {
                Ok(states) => states,
                // Another replica that is starting wrote the HMAC key at the same time.
                Err(StoreError::Conflict) => continue,
                Err(other) => return Err(refused(other)),
            };
            let place = self.place(token);
            let record = self.store.record(&states, &place).map_err(refused)?;
            let unused = self.unused().clone();
            let record = record.map(|record| match Some(&record) == unused.as_ref() {
                true => record.untried(),
                false => record,
            });
            let pin = self.origin.read().await.map_err(refused)?;
            let version = states.version_of(pin.expose());
            let seen = states.resource_version().map(str::to_owned);
            let since = match &unchanged {
                Some((version, since)) if *version == seen => *since,
                Some(_) | None => Instant::now(),
            };
            unchanged = Some((seen, since));
            let attempt = LoginAttempt {
                version: &version,
                holder: &self.holder,
                holder_is_gone: self.store.is_exclusive() || since.elapsed() >= HOLDER_GONE_AFTER,
                count_low_is_reliable: sets_count_low_at_once(&token.manufacturer),
                max_rejected: self.max_rejected,
            };
            match decide(record.as_ref(), token.pin, attempt) {
                Verdict::Refuse(why) => {
                    let how = self.store.how_to_clear(&states, &place);
                    return Err(LoginRefused {
                        why: format!(
                            "{why} (the PIN comes from {}{how}){}",
                            self.origin,
                            token.pin.other_reason()
                        ),
                    });
                }
                Verdict::WaitFor(other) => {
                    let holder = other.to_string();
                    if waiting.is_news(&holder, Instant::now().into_std()) {
                        info!(token_serial = %token.serial, holder, "waiting for another replica's login");
                    }
                    tokio::time::sleep(READ_AGAIN_AFTER).await;
                }
                Verdict::Try(trying) => {
                    *self.unused() = Some(trying.clone());
                    match self.store.write(states, &place, &trying).await {
                        Ok(()) => {
                            *self.unused() = None;
                            return Ok(LoginPermit { pin, version });
                        }
                        Err(StoreError::Conflict) => {}
                        Err(other) => return Err(refused(other)),
                    }
                }
            }
        }
    }

    /// Records a permit that was never given as untried.
    async fn take_back(&self, token: &TokenInfo, unused: &PinRecord) -> Result<(), StoreError> {
        let states = self.store.read().await?;
        let place = self.place(token);
        match self.store.record(&states, &place)? {
            Some(record) if record == *unused => {
                self.store.write(states, &place, &record.untried()).await
            }
            Some(_) | None => {
                self.store.let_go();
                Ok(())
            }
        }
    }

    fn unused(&self) -> MutexGuard<'_, Option<PinRecord>> {
        self.unused.lock()
    }

    async fn settle(
        &self,
        token: &TokenInfo,
        version: &str,
        outcome: LoginOutcome,
    ) -> Result<(), StoreError> {
        let states = self.store.read().await?;
        let place = self.place(token);
        let ours = self
            .store
            .record(&states, &place)?
            .filter(|record| record.holder == self.holder && record.version == version);
        let Some(record) = ours else {
            warn!(token_serial = %token.serial, "somebody changed the PIN record during a login");
            self.store.let_go();
            return Ok(());
        };
        let settled = match outcome {
            LoginOutcome::Accepted => record.accepted(),
            LoginOutcome::Rejected { .. } => record.rejected(),
            LoginOutcome::NotTried => record.untried(),
            // The state stays Trying. The next request for a permit counts it as rejected, unless the token's flags
            // show that no wrong PIN was tried.
            LoginOutcome::Unknown => return Ok(()),
        };
        self.store.write(states, &place, &settled).await
    }
}

impl fmt::Debug for TokenPin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPin")
            .field("origin", &self.origin)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

impl LoginGate for TokenPin {
    fn has_pin(&self) -> bool {
        self.origin.is_known()
    }

    fn permit<'a>(
        &'a self,
        token: &'a TokenInfo,
    ) -> BoxFuture<'a, Result<LoginPermit, LoginRefused>> {
        Box::pin(self.ask(token))
    }

    fn answered(&self, rejected: Option<&TokenCode>) {
        if let Some((log, token)) = &self.log {
            log.login(token, rejected.map(|code| code.code.as_str()));
        }
    }

    /// If the record cannot be written, only this process knows that there was no try. Another process counts it as a
    /// login with an unknown outcome.
    fn withdraw<'a>(&'a self, token: &'a TokenInfo) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            loop {
                let Some(unused) = self.unused().clone() else {
                    return;
                };
                match self.take_back(token, &unused).await {
                    Ok(()) => *self.unused() = None,
                    Err(StoreError::Conflict) => {}
                    Err(failure) => {
                        warn!(token_serial = %token.serial, error = %ErrorChain(&failure),
                              "failed to record that a login was not tried");
                        return;
                    }
                }
            }
        })
    }

    /// Retries until the outcome is written: a login that is not on record could cost a second try.
    fn record<'a>(
        &'a self,
        token: &'a TokenInfo,
        version: &'a str,
        outcome: LoginOutcome,
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut said = RepeatFilter::default();
            while let Err(failure) = self.settle(token, version, outcome).await {
                if !matches!(failure, StoreError::Conflict) {
                    let text = ErrorChain(&failure).to_string();
                    if said.is_news(&text, Instant::now().into_std()) {
                        warn!(token_serial = %token.serial, error = text,
                              "failed to record a login; will try again");
                    }
                    tokio::time::sleep(READ_AGAIN_AFTER).await;
                }
            }
        })
    }
}

fn refused(why: impl std::error::Error + 'static) -> LoginRefused {
    LoginRefused {
        why: ErrorChain(&why).to_string(),
    }
}

/// Returns whether the token is known to set `CKF_USER_PIN_COUNT_LOW` with the first wrong PIN (measured;
/// docs/reference/pkcs11.md, "PIN counters and flags").
fn sets_count_low_at_once(manufacturer: &str) -> bool {
    manufacturer.starts_with("SoftHSM")
}

#[cfg(test)]
mod tests;
