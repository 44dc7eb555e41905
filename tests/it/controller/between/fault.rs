//! Faults of the API server behind the proxy: it refuses every call, or its clock is off.

use anyhow::Result;
use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp, fmt::rfc2822};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The faults in force.
pub(crate) struct Fault {
    /// Status that replaces every response, if any.
    code: Mutex<Option<StatusCode>>,
    /// How far the clock of the API server is ahead.
    ahead: Mutex<SignedDuration>,
    /// Notifies every response in flight that it must end.
    cuts: watch::Sender<()>,
}

impl Default for Fault {
    fn default() -> Self {
        Self {
            code: Mutex::new(None),
            ahead: Mutex::new(SignedDuration::ZERO),
            cuts: watch::Sender::new(()),
        }
    }
}

impl Fault {
    /// Answers every call with this status and ends every watch; `None` forwards calls again.
    pub(crate) fn refuse(&self, code: Option<u16>) -> Result<()> {
        *self.code.lock() = code.map(StatusCode::from_u16).transpose()?;
        self.cuts.send_replace(());
        Ok(())
    }

    /// Sets how far the clock of the API server seems to be ahead.
    pub(crate) fn be_ahead(&self, ahead: SignedDuration) {
        *self.ahead.lock() = ahead;
    }

    pub(super) fn code(&self) -> Option<StatusCode> {
        *self.code.lock()
    }

    /// Shifts the date of a response to the clock of the API server.
    pub(super) fn shift(&self, headers: &mut HeaderMap) -> Result<()> {
        let ahead = *self.ahead.lock();
        if let Some(date) = headers.get_mut(header::DATE)
            && !ahead.is_zero()
        {
            let now: Timestamp = rfc2822::parse(date.to_str()?)?.timestamp();
            let printed =
                rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&(now + ahead))?;
            *date = HeaderValue::from_str(&printed)?;
        }
        Ok(())
    }

    /// Returns a body that ends at the next fault.
    pub(super) fn cut(&self, body: Body) -> Body {
        let mut cuts = self.cuts.subscribe();
        let cut = async move {
            // An error means that the proxy has ended.
            cuts.changed().await.ok();
        };
        Body::from_stream(body.into_data_stream().take_until(Box::pin(cut)))
    }
}
