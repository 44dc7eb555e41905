//! Objects that the cluster in memory answers with.

use std::sync::Arc;

use super::world::Write;
use crate::{
    api::certificate_request::CertificateRequest,
    audit::LogPosition,
    issuance::testing::issued,
    pipeline::{Announced, Publish, Signed},
    reconcile::request::ApplyError,
};

/// Returns the `Ready` condition of a request.
pub(super) fn ready(object: &CertificateRequest) -> Write {
    let reason = object
        .status
        .as_ref()
        .and_then(|status| status.ready_reason());
    match reason {
        Some("Issued") => Write::Ready("True", "Issued"),
        Some("Pending") => Write::Ready("False", "Pending"),
        Some("Failed") => Write::Ready("False", "Failed"),
        Some("Denied") => Write::Ready("False", "Denied"),
        other => panic!("{other:?}"),
    }
}

pub(super) fn unreachable_server() -> ApplyError {
    ApplyError {
        kind: "CertificateRequest".to_owned(),
        name: "shop/web".to_owned(),
        source: Box::new(kube::Error::LinesCodecMaxLineLengthExceeded),
    }
}

pub(super) fn signed() -> Signed {
    let certificate = issued();
    Signed {
        announced: Arc::new(Announced {
            serial: certificate.serial_hex(),
            ..Announced::default()
        }),
        logged: LogPosition::default(),
        certificate: Arc::new(certificate),
        publish: Publish {
            ca: crate::api::issuer::CaField::Root,
            beside: Arc::default(),
            append_root: false,
        },
    }
}
