//! The placement of a pod.

use std::fmt;

use k8s_openapi::api::core::v1::{Pod, PodCondition};

/// A pod of a release.
pub(super) struct Placed(pub(super) Pod);

impl Placed {
    fn condition(&self, kind: &str) -> Option<&PodCondition> {
        let conditions = self.0.status.as_ref()?.conditions.as_ref()?;
        conditions.iter().find(|condition| condition.type_ == kind)
    }

    fn node(&self) -> Option<&str> {
        self.0.spec.as_ref()?.node_name.as_deref()
    }

    /// Returns the node on which the pod is ready.
    pub(super) fn ready_on(&self) -> Option<&str> {
        let ready = self.condition("Ready")?.status == "True";
        self.node().filter(|_| ready)
    }

    /// Returns the scheduler's reason for not finding a node.
    pub(super) fn unschedulable(&self) -> Option<&str> {
        let placed = self.condition("PodScheduled")?;
        let none = placed.reason.as_deref() == Some("Unschedulable");
        placed.message.as_deref().filter(|_| none)
    }
}

impl fmt::Debug for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.metadata.name.as_deref().unwrap_or_default();
        match (self.ready_on(), self.node(), self.unschedulable()) {
            (Some(node), _, _) => write!(f, "{name} is ready on {node}"),
            (None, Some(node), _) => write!(f, "{name} is not ready on {node}"),
            (None, None, Some(why)) => write!(f, "{name} has no node: {why}"),
            (None, None, None) => write!(f, "{name} has no node yet"),
        }
    }
}
