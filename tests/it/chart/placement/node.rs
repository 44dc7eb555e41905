//! A simulated node, registered as kubelet does.

use anyhow::Result;
use k8s_openapi::api::core::v1::Node;
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

/// A node that is yet to be created.
pub(super) struct NewNode {
    client: Client,
    object: Value,
}

impl NewNode {
    pub(super) fn new(client: Client, name: &str) -> Self {
        let labels = json!({"kubernetes.io/os": "linux", "kubernetes.io/hostname": name});
        let resources = json!({"cpu": "4", "memory": "8Gi", "pods": "110"});
        let object = json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {"taints": []},
            "status": {"capacity": resources, "allocatable": resources},
        });
        Self { client, object }
    }

    pub(super) fn labelled(mut self, key: &str, value: &str) -> Self {
        self.object["metadata"]["labels"][key] = json!(value);
        self
    }

    /// Adds a taint that keeps other pods away.
    pub(super) fn tainted(mut self, key: &str) -> Self {
        let taint = json!({"key": key, "effect": "NoSchedule"});
        self.object["spec"]["taints"] = json!([taint]);
        self
    }

    /// Adds one device of a device plugin.
    pub(super) fn having(mut self, device: &str) -> Self {
        for field in ["capacity", "allocatable"] {
            self.object["status"][field][device] = json!("1");
        }
        self
    }

    pub(super) async fn create(self) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.client);
        let node = serde_json::from_value(self.object)?;
        nodes.create(&PostParams::default(), &node).await?;
        Ok(())
    }
}
