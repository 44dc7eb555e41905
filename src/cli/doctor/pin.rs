//! Checks of the PIN in its file and of its record, and the login with it. A PIN is given to the token only if the record says
//! that the token accepted it.

use std::{
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::Duration,
};

use hsm::{TokenInfo, TokenState};
use tokio::time::{Instant, timeout, timeout_at};

use super::{
    check::{CheckId, CheckState, FailedCheck},
    findings::Findings,
};
use crate::{
    cli::machine,
    config::{PinSource, TokenConfig},
    metrics::Metrics,
    pins::{
        TokenPin,
        source::PinOrigin,
        standing::{PinStanding, standing},
        store::{FileStore, PinStore},
    },
    signers::{ConfiguredToken, ReservedKey},
    telemetry::ErrorChain,
};

/// Checks of the PIN and its record.
pub(super) const PIN: [CheckId; 3] = [
    CheckId::PinReadable,
    CheckId::PinRecord,
    CheckId::PinAccepted,
];
/// Time limit for a worker to start and log in, on top of the time that one call may hang.
const START_WITHIN: Duration = Duration::from_secs(30);
/// Time limit for a worker to end. It ends with this process in any case.
const END_WITHIN: Duration = Duration::from_secs(5);

/// How the token may be used.
pub(super) enum TokenAccess {
    /// Without a login.
    Public,
    /// With a PIN that the token accepted at the last login, as its record says.
    Accepted {
        /// The file of the PIN.
        pin: PathBuf,
        /// The file of the record.
        record: PathBuf,
    },
}

/// Checks the PIN and its record.
///
/// # Errors
/// No login may follow; the error is the check that says why.
pub(super) async fn access(
    findings: &mut Findings,
    subject: &str,
    token: &TokenConfig,
    info: &TokenInfo,
) -> Result<TokenAccess, CheckId> {
    let (path, record) = match token.pin() {
        PinSource::File { path, record } => (path, record),
        PinSource::None => {
            findings.skip(&PIN, subject, "the token is used without a login");
            return Ok(TokenAccess::Public);
        }
        PinSource::Secret { .. } | PinSource::ClusterIssuers | PinSource::IssuersIn(_) => {
            findings.skip(
                &PIN,
                subject,
                "the PIN is in a Secret, which only the controller reads",
            );
            return Err(CheckId::PinAccepted);
        }
    };
    let pin = PinOrigin::File(path.clone()).read().await;
    let read = pin.map_err(|why| FailedCheck::new(CheckId::PinReadable, ErrorChain(&why)));
    let judged = read.and_then(|pin| {
        let most = u32::from(token.max_rejected_logins().get());
        match standing(record, info, &pin, most) {
            Ok(PinStanding::Refused(why)) => Err(FailedCheck::new(CheckId::PinAccepted, why)),
            Ok(known) => Ok(known),
            Err(why) => Err(FailedCheck::new(CheckId::PinRecord, ErrorChain(&why))),
        }
    });
    match judged {
        Ok(PinStanding::Unknown) => {
            let message = format!("the PIN in {} can be read", path.display());
            findings.add(CheckId::PinReadable, CheckState::Ok, subject, message);
            let message = format!(
                "no login with this PIN is on record in {}",
                record.display()
            );
            findings.add(CheckId::PinRecord, CheckState::Ok, subject, message);
            let why = "this PIN was not tried with the record yet, and doctor spends no try; `pkcs11-issuer sign` tries it once";
            findings.skip(&[CheckId::PinAccepted], subject, why);
            Err(CheckId::PinAccepted)
        }
        judged => {
            let ok = format_args!(
                "the token accepted the PIN in {} at the last login",
                path.display()
            );
            findings.chain(&PIN, subject, judged, ok)?;
            Ok(TokenAccess::Accepted {
                pin: path.clone(),
                record: record.clone(),
            })
        }
    }
}

/// A token with a running worker.
pub(super) struct OpenToken(ConfiguredToken);

impl OpenToken {
    /// Starts a worker and waits for the login. As with every login, the try is on record before the token sees the PIN; if
    /// somebody has changed the PIN on the token since, this one is not tried again.
    ///
    /// # Errors
    /// The login failed, or the token is not ready in time.
    pub(super) async fn open(
        token: &TokenConfig,
        worker: &Path,
        access: TokenAccess,
        reserved: &Arc<ReservedKey>,
        metrics: &Arc<Metrics>,
    ) -> Result<Self, FailedCheck> {
        let failed = |why: &dyn std::fmt::Display| FailedCheck::new(CheckId::Login, why);
        let host = machine::host_name().map_err(|why| failed(&why))?;
        let (origin, record) = match access {
            TokenAccess::Accepted { pin, record } => (PinOrigin::File(pin), record),
            TokenAccess::Public => (PinOrigin::None, PathBuf::new()),
        };
        let gate = TokenPin::new(
            PinStore::File(FileStore::new(record)),
            origin,
            format!("{host}/{}", process::id()),
            u32::from(token.max_rejected_logins().get()),
        );
        let session = Self(ConfiguredToken::start(
            token, worker, gate, reserved, metrics,
        ));
        match session.ready(token.hang_after() + START_WITHIN).await {
            Ok(()) => Ok(session),
            Err(why) => {
                session.close().await;
                Err(failed(&why))
            }
        }
    }

    async fn ready(&self, patience: Duration) -> Result<(), String> {
        let mut state = self.0.token().state();
        let deadline = Instant::now() + patience;
        loop {
            let now = state.borrow_and_update().clone();
            match now {
                TokenState::Ready { .. } => return Ok(()),
                TokenState::Starting | TokenState::Restarting { .. } => {}
                TokenState::LoginRefused { .. }
                | TokenState::AwaitingToken { .. }
                | TokenState::Misconfigured { .. }
                | TokenState::Stopped => return Err(now.to_string()),
            }
            match timeout_at(deadline, state.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => {
                    return Err(format!("not ready in time: {}", *state.borrow()));
                }
            }
        }
    }

    pub(super) const fn token(&self) -> &ConfiguredToken {
        &self.0
    }

    /// Ends the worker.
    pub(super) async fn close(&self) {
        drop(timeout(END_WITHIN, self.0.token().shutdown()).await);
    }
}
