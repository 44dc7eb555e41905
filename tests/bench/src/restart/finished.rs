//! Writes copies of a request directly to etcd, because creating a hundred thousand through the API server takes minutes.

use anyhow::Result;
use control_plane::{ControlPlane, Stored};
use serde_json::json;

/// Writes copies of a CertificateRequest, each with its own name and UID.
pub(crate) async fn multiply(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    count: u32,
) -> Result<()> {
    let stored = Stored::of(plane, "cert-manager.io/certificaterequests", namespace)?;
    let object = stored.get(name).await?;
    let copies = (0..count).map(|number| {
        let mut copy = object.clone();
        if let Some(metadata) = copy.get_mut("metadata").and_then(|all| all.as_object_mut()) {
            metadata.insert("name".to_owned(), json!(format!("{name}-{number:06}")));
            let uid = format!("00000000-0000-4000-8000-{number:012x}");
            metadata.insert("uid".to_owned(), json!(uid));
        }
        copy
    });
    stored.put(copies).await
}
