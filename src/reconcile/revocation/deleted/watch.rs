//! Watches cert-manager's Certificates for deletions.

use kube::{Api, runtime::watcher::Event};

use crate::{
    api::{certificate::Certificate, tolerant::Tolerant},
    reconcile::{Context, attend::ListAndWatch, call::Trouble, request::CERTIFICATE},
};

/// Watches Certificates without end. Returns at once if the operator has not enabled it.
///
/// Deletions are not seen while no replica runs, nor while the watch is interrupted for longer than the API server keeps
/// changes.
pub(in crate::reconcile::revocation) async fn run_deleted_certificates(context: &Context) {
    if !context.deleted.is_enabled() {
        return;
    }
    let api = Api::<Tolerant<Certificate>>::all(context.client.clone());
    let mut told = ListAndWatch::new(&api, None);
    let mut trouble = Trouble::of(CERTIFICATE, &context.metrics);
    loop {
        match told.next().await {
            Ok(Event::Delete(gone)) => {
                if let Ok(certificate) = &gone.0 {
                    context.deleted.certificate_deleted(certificate, context);
                }
            }
            Ok(Event::Init | Event::InitApply(_) | Event::Apply(_) | Event::InitDone) => {}
            Err(error) => trouble.report(&error),
        }
    }
}
