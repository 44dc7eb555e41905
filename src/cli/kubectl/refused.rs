//! Says why a request was refused, in the words of `docs/refusals.md`. Pure.

use anyhow::Context as _;
use serde::Serialize;

use super::{
    pages::{RefusalPage, of_refusal},
    read::{Gap, Read},
    snapshot::Snapshot,
};
use crate::{issuance::RefusalReason, message::shown, reconcile::Progress};

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefusedRecord {
    /// The request.
    pub(super) request: String,
    /// Whether it is refused by an issuer of ours.
    pub(super) is_refused: bool,
    /// The word of the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    /// What the controller says about this request, or how far the request is.
    pub(super) message: String,
    /// What the word means.
    #[serde(flatten)]
    pub(super) page: Option<RefusalPage>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<Gap>,
}

/// Says why a request was refused.
///
/// # Errors
/// The Certificate that the user names has no request, or it could not be read.
pub(super) fn of(snapshot: &Snapshot) -> anyhow::Result<RefusedRecord> {
    if let Read::Unknown(gap) = &snapshot.request {
        anyhow::bail!("{gap}");
    }
    let request = snapshot.request.found();
    let request =
        request.context("the Certificate has no CertificateRequest; explain it instead")?;
    let said = request.message.as_deref().unwrap_or_default();
    let failed = request.has_failed();
    let slug = said.split_once(": ").filter(|_| failed);
    let reason = slug.and_then(|(slug, _)| {
        let mut all = RefusalReason::ALL.iter().copied();
        all.find(|reason| reason.as_str() == slug)
    });
    let message = match (reason.and(slug), request.stage.progress) {
        (Some((_, why)), _) => shown(why),
        (None, _) if failed => format!(
            "it failed, with a message that is not one of this controller's: {}",
            shown(said)
        ),
        (None, Progress::Denied | Progress::Failed) => {
            "an approver denied it; the issuer was not asked".to_owned()
        }
        (None, Progress::Issued) => "it is issued".to_owned(),
        (None, Progress::Open) if request.stage.has_certificate => "it is issued".to_owned(),
        (None, Progress::Open) => "it has not been answered; explain it instead".to_owned(),
    };
    Ok(RefusedRecord {
        request: request.to_string(),
        is_refused: reason.is_some(),
        reason: reason.map(RefusalReason::as_str),
        message,
        page: reason.and_then(of_refusal),
        unknown: snapshot.gaps(),
    })
}
