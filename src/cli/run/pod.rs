//! The pod that this process runs in, as its template passes it.

use std::env;

use crate::ownership::OwnPod;

/// Environment variables through which a pod template passes the pod's name and UID, by `fieldRef`.
pub(super) const POD_NAME: &str = "POD_NAME";
const POD_UID: &str = "POD_UID";

/// Returns the pod of this process, if its template passes name and UID and the Leases are in the pod's namespace: an
/// owner must be in the same namespace as the objects that it owns.
pub(super) fn pod(namespace: &str, pod_namespace: Option<&str>) -> Option<OwnPod> {
    if pod_namespace.map(str::trim) != Some(namespace) {
        return None;
    }
    Some(OwnPod {
        name: env::var(POD_NAME).ok()?,
        uid: env::var(POD_UID).ok()?,
    })
}
