//! Writes copies of a request directly to etcd, because creating a hundred thousand through the API server takes minutes.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::ControlPlane;
use kube::{Client, Config};
use serde_json::{Value, json};

/// Number of copies in one transaction; etcd accepts 128.
const AT_ONCE: u32 = 100;

/// Writes copies of a CertificateRequest, each with its own name and UID.
pub(crate) async fn multiply(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    count: u32,
) -> Result<()> {
    let etcd = Client::try_from(Config::new(plane.etcd_url().parse()?))?;
    let prefix = plane.etcd_prefix();
    let key = |name: &str| {
        let key = format!("{prefix}/cert-manager.io/certificaterequests/{namespace}/{name}");
        STANDARD.encode(key.as_bytes())
    };
    let found = ask(&etcd, "/v3/kv/range", &json!({"key": key(name)})).await?;
    let value = found.pointer("/kvs/0/value").and_then(Value::as_str);
    let value = STANDARD.decode(value.context("etcd does not have the request")?)?;
    let mut object: Value = serde_json::from_slice(&value)?;
    let numbers: Vec<u32> = (0..count).collect();
    for some in numbers.chunks(usize::try_from(AT_ONCE)?) {
        let mut puts = Vec::new();
        for number in some {
            let name = format!("{name}-{number:06}");
            let metadata = object.get_mut("metadata").context("no metadata")?;
            *metadata.get_mut("name").context("no name")? = json!(name);
            let uid = format!("00000000-0000-4000-8000-{number:012x}");
            *metadata.get_mut("uid").context("no UID")? = json!(uid);
            let value = STANDARD.encode(object.to_string().as_bytes());
            puts.push(json!({"requestPut": {"key": key(&name), "value": value}}));
        }
        let done = ask(&etcd, "/v3/kv/txn", &json!({"success": puts})).await?;
        ensure!(done.get("succeeded") == Some(&json!(true)), "{done}");
    }
    Ok(())
}

async fn ask(etcd: &Client, path: &str, body: &Value) -> Result<Value> {
    let request = http::Request::post(path).body(body.to_string().into_bytes())?;
    Ok(etcd.request(request).await?)
}
