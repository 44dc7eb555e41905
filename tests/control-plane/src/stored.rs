//! Objects as etcd stores them, for states that the API server lets nobody make, such as a request of yesterday, and for
//! many at once.

use anyhow::{Context as _, Result, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use kube::{Client, Config};
use serde_json::{Value, json};

use crate::ControlPlane;

/// Number of objects in one transaction; etcd accepts 128.
const AT_ONCE: usize = 100;

/// The stored objects of one namespaced kind that a CustomResourceDefinition defines. etcd has those as JSON.
#[expect(missing_debug_implementations, reason = "a client has none")]
pub struct Stored {
    etcd: Client,
    /// Everything before the name in the key of an object.
    prefix: String,
}

impl Stored {
    /// Returns the objects of a kind, such as `cert-manager.io/certificaterequests`, in a namespace.
    ///
    /// # Errors
    ///
    /// When etcd's address is not a URL.
    pub fn of(plane: &ControlPlane, kind: &str, namespace: &str) -> Result<Self> {
        Ok(Self {
            etcd: Client::try_from(Config::new(plane.etcd_url().parse()?))?,
            prefix: format!("{}/{kind}/{namespace}", plane.etcd_prefix()),
        })
    }

    /// Reads an object.
    ///
    /// # Errors
    ///
    /// When etcd does not have it.
    pub async fn get(&self, name: &str) -> Result<Value> {
        let found = self.ask("range", &json!({"key": self.key(name)})).await?;
        let value = found.pointer("/kvs/0/value").and_then(Value::as_str);
        let value = value.with_context(|| format!("etcd does not have {name}"))?;
        Ok(serde_json::from_slice(&STANDARD.decode(value)?)?)
    }

    /// Writes objects, each under its name, without asking the API server.
    ///
    /// # Errors
    ///
    /// When an object has no name, or etcd does not accept them.
    pub async fn put(&self, objects: impl IntoIterator<Item = Value>) -> Result<()> {
        let mut puts = Vec::new();
        for object in objects {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            let key = self.key(name.context("no name")?);
            let value = STANDARD.encode(object.to_string().as_bytes());
            puts.push(json!({"requestPut": {"key": key, "value": value}}));
            if puts.len() == AT_ONCE {
                self.commit(std::mem::take(&mut puts)).await?;
            }
        }
        self.commit(puts).await
    }

    async fn commit(&self, puts: Vec<Value>) -> Result<()> {
        if puts.is_empty() {
            return Ok(());
        }
        let done = self.ask("txn", &json!({"success": puts})).await?;
        ensure!(done.get("succeeded") == Some(&json!(true)), "{done}");
        Ok(())
    }

    fn key(&self, name: &str) -> String {
        STANDARD.encode(format!("{}/{name}", self.prefix).as_bytes())
    }

    async fn ask(&self, call: &str, body: &Value) -> Result<Value> {
        let request =
            http::Request::post(format!("/v3/kv/{call}")).body(body.to_string().into_bytes())?;
        Ok(self.etcd.request(request).await?)
    }
}
