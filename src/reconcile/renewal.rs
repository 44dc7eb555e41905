//! Has cert-manager renew a Certificate, as `cmctl renew` does.

use jiff::Timestamp;
use kube::{Api, Client, ResourceExt as _, api::PostParams};

use crate::api::{FIELD_MANAGER, certificate::Certificate};

/// Asks cert-manager to renew a Certificate, with this reason and message in its condition `Issuing`.
///
/// # Errors
/// The status was not written. That is a conflict if somebody has changed the object meanwhile.
pub(crate) async fn request_renewal(
    certificate: &Certificate,
    reason: &str,
    message: &str,
    now: Timestamp,
    client: &Client,
) -> kube::Result<()> {
    let namespace = certificate.namespace().unwrap_or_default();
    let time = now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut renewed = certificate.clone();
    renewed.status = Some(certificate.to_be_renewed(reason, message, &time));
    let api = Api::<Certificate>::namespaced(client.clone(), &namespace);
    let params = PostParams {
        field_manager: Some(FIELD_MANAGER.to_owned()),
        ..PostParams::default()
    };
    let name = certificate.name_any();
    api.replace_status(&name, &params, &renewed).await.map(drop)
}
