//! The end of what this process knows of a request.

use kube::ResourceExt as _;

use super::{
    Context, apply::full_name, kind::Request, ledger::Found, request::RequestError, sign::Due,
};
use crate::{
    metrics::RequestResult,
    pipeline::{IssuerName, now, sign::note},
};

/// Why a certificate is discarded: the request has changed, or has got another certificate.
pub(super) const SUPERSEDED: &str = "superseded";
/// Why a certificate is discarded: this process ends, and could not publish it before.
pub(super) const STOPPED: &str = "stopped";

/// Nothing more will be done for this UID here. A certificate that was signed for it is named: as published if the API
/// server has stored it after all and only its answer was lost, else as discarded, for the reason `why`.
///
/// # Errors
/// What is stored could not be read; the certificate stays known.
pub(super) async fn finish<R: Request>(
    request: &R,
    name: &IssuerName,
    uid: &str,
    why: &'static str,
    context: &Context,
) -> Result<(), RequestError> {
    if let Found::Unpublished(signed) = context.ledger.find(uid) {
        // Not from the cache, which has dropped the octets.
        let stored = read_again(request, context).await?;
        let stored = stored.filter(|stored| stored.uid().as_deref() == Some(uid));
        let pem = signed.certificate.certificate_pem();
        // Behind the chain there may be the root.
        let published = stored
            .as_ref()
            .and_then(Request::certificate)
            .is_some_and(|octets| octets.starts_with(pem.as_bytes()));
        let due = Due {
            request,
            uid,
            name,
            issuer: &signed.issuer,
            selector: None,
            max_pending: None,
        };
        let (subject, line) = (due.subject(), signed.line());
        let (result, noted) = if published {
            let noted = context.record.published(now(), &subject, &line);
            (RequestResult::Issued, noted)
        } else {
            let noted = context.record.discarded(now(), &subject, &line, why);
            (RequestResult::Discarded, noted)
        };
        context.metrics.request(R::KIND, result);
        note(noted);
    }
    context.forget(uid);
    Ok(())
}

pub(super) async fn read_again<R: Request>(
    request: &R,
    context: &Context,
) -> Result<Option<R>, RequestError> {
    let path = R::url_path(&(), request.namespace().as_deref());
    let get = kube::api::Request::new(path).get(&request.name_any(), &Default::default());
    let read = match get.map_err(kube::Error::BuildRequest) {
        Ok(get) => context.client.request::<R>(get).await,
        Err(error) => Err(error),
    };
    match read {
        Ok(read) => Ok(Some(read)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(source) => Err(RequestError::Read {
            kind: R::kind(&()).into_owned(),
            name: full_name(request),
            source: Box::new(source),
        }),
    }
}
