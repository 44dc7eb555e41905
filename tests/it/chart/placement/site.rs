//! A test's own nodes, namespace and release on a cluster that the tests share.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use control_plane::{ControlPlane, until};
use k8s_openapi::api::{
    apps::v1::DaemonSet,
    core::v1::{Event, Node, Pod},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Api, Client, Config,
    api::{EvictParams, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use rig::{PATIENCE, chart_path};
use serde_json::json;

use super::{cluster::cluster, node::NewNode, placed::Placed};
use crate::chart::value_set;

/// What the nodes are selected by; each test has a value of its own in place of the value sets' `true`.
pub(super) const LABEL: &str = "hsm.example/present";
/// What all nodes of a test have in common.
const SITE: &str = "example.com/site";
/// Where a node is.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// One test's part of it: namespace, release and the nodes' label all have its name.
pub(super) struct Site {
    plane: &'static ControlPlane,
    client: Client,
    name: &'static str,
}

impl Site {
    pub(super) async fn new(name: &'static str) -> Result<Self> {
        let plane = &cluster().await?.plane;
        let client = plane.admin().await?;
        let site = Self {
            plane,
            client,
            name,
        };
        site.kubectl(&format!("create namespace {name}")).await?;
        Ok(site)
    }

    /// The name of the namespace.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// The full name of a node, since nodes are in no namespace.
    pub(super) fn named(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }

    /// A node that the release does not select, to be created.
    pub(super) fn node(&self, name: &str) -> NewNode {
        NewNode::new(self.client.clone(), &self.named(name)).labelled(SITE, self.name)
    }

    /// One that it selects.
    pub(super) fn selected_node(&self, name: &str) -> NewNode {
        self.node(name).labelled(LABEL, self.name)
    }

    /// Waits until no node of the test is kept from pods for not being ready.
    pub(super) async fn nodes_are_ready(&self) -> Result<()> {
        until("the nodes to be ready", PATIENCE, async || {
            let mut nodes = self.nodes().await?.into_iter();
            let ready = nodes.all(|node| {
                let conditions = node.status.and_then(|status| status.conditions);
                let mut conditions = conditions.into_iter().flatten();
                let taints = node.spec.and_then(|spec| spec.taints);
                let mut taints = taints.into_iter().flatten();
                conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True")
                    && !taints.any(|taint| taint.key == "node.kubernetes.io/not-ready")
            });
            Ok(ready.then_some(()))
        })
        .await
    }

    async fn nodes(&self) -> Result<Vec<Node>> {
        let nodes: Api<Node> = Api::all(self.client.clone());
        let of_test = ListParams::default().labels(&self.of_test());
        Ok(nodes.list(&of_test).await?.items)
    }

    fn of_test(&self) -> String {
        format!("{SITE}={}", self.name)
    }

    /// `helm install` of a value set; the kinds, which only one release of a cluster can own, are left out.
    pub(super) async fn install(&self, set: &str) -> Result<String> {
        let here = json!({"crds": {"enabled": false}, "nodeSelector": {LABEL: self.name}});
        let values = value_set(set, here)?;
        let file = self
            .plane
            .log_dir()
            .join(format!("{}-values.json", self.name));
        fs::write(&file, values.to_string())?;
        let chart = chart_path();
        let [chart, file] = [&chart, &file].map(|path| path.to_str().context("not UTF-8"));
        let install = ["install", self.name, chart?, "--values", file?];
        self.plane.helm(self.name, &install).await
    }

    /// Runs kubectl with these arguments, none of which has a space.
    pub(super) async fn kubectl(&self, args: &str) -> Result<()> {
        let args: Vec<_> = args.split_whitespace().collect();
        self.plane.kubectl(&args).await?;
        Ok(())
    }

    /// `kubectl cordon` and the like, of all nodes of the test.
    pub(super) async fn for_every_node(&self, command: &str) -> Result<()> {
        let of_test = self.of_test();
        self.kubectl(&format!("{command} --selector={of_test}"))
            .await
    }

    /// The pods of the release, by name.
    pub(super) async fn pods(&self) -> Result<Vec<Placed>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.name);
        let pods = pods.list(&ListParams::default()).await?;
        Ok(pods.items.into_iter().map(Placed).collect())
    }

    /// Waits until the DaemonSet has a pod that is ready on each of these nodes and on no other, and means it so.
    pub(super) async fn runs_on(&self, nodes: &[&str]) -> Result<()> {
        let sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), self.name);
        let name = format!("{}-pkcs11-issuer", self.name);
        let mut wanted: Vec<_> = nodes.iter().map(|node| self.named(node)).collect();
        wanted.sort_unstable();
        let count = i32::try_from(nodes.len())?;
        self.placed(&format!("pods on {wanted:?}"), async || {
            let set = sets.get(&name).await?;
            let status = set.status.unwrap_or_default();
            let settled = status.observed_generation == set.metadata.generation
                && (
                    status.desired_number_scheduled,
                    status.current_number_scheduled,
                ) == (count, count)
                && (status.number_ready, status.number_misscheduled) == (count, 0);
            let pods = self.pods().await?;
            let mut on: Vec<_> = pods.iter().map(Placed::ready_on).collect();
            on.sort_unstable();
            Ok(settled
                && on
                    .into_iter()
                    .eq(wanted.iter().map(|node| Some(node.as_str()))))
        })
        .await
    }

    /// Waits until there is one pod that is ready in each of these zones, and no other.
    pub(super) async fn runs_in_zones(&self, zones: &[&str]) -> Result<()> {
        let mut zone_of = BTreeMap::new();
        for node in self.nodes().await? {
            let mut labels = node.metadata.labels.unwrap_or_default();
            let name = node.metadata.name.context("a node without a name")?;
            zone_of.insert(name, labels.remove(ZONE).context("a node without a zone")?);
        }
        self.placed(&format!("pods in {zones:?}"), async || {
            let pods = self.pods().await?;
            let zone = |pod: &Placed| zone_of.get(pod.ready_on()?).map(String::as_str);
            let mut on: Vec<_> = pods.iter().map(zone).collect();
            on.sort_unstable();
            Ok(on.into_iter().eq(zones.iter().copied().map(Some)))
        })
        .await
    }

    /// Waits for the pods to be as they should; an error tells how they are.
    async fn placed(&self, what: &str, as_wanted: impl AsyncFn() -> Result<bool>) -> Result<()> {
        let placed = until(what, PATIENCE, async || {
            Ok(as_wanted().await?.then_some(()))
        })
        .await;
        match placed {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(format!("the pods are {:?}", self.pods().await?))),
        }
    }

    /// Waits for an event with this reason, and returns its message.
    pub(super) async fn event(&self, reason: &str) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), self.name);
        let with_reason = ListParams::default().fields(&format!("reason={reason}"));
        until(&format!("an event {reason}"), PATIENCE, async || {
            let events = events.list(&with_reason).await?;
            Ok(events.items.into_iter().find_map(|event| event.message))
        })
        .await
    }

    /// Waits until so many pods may be evicted.
    pub(super) async fn may_evict(&self, count: i32) -> Result<()> {
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), self.name);
        until(&format!("{count} to be evictable"), PATIENCE, async || {
            let budgets = budgets.list(&ListParams::default()).await?;
            let [budget] = &budgets.items[..] else {
                anyhow::bail!("not one budget");
            };
            let status = budget.status.as_ref();
            let right = status.is_some_and(|status| status.disruptions_allowed == Some(count));
            Ok(right.then_some(()))
        })
        .await
    }

    /// Asks for a pod to be evicted, as `kubectl drain` does.
    pub(super) async fn evict(&self, pod: &Placed) -> Result<()> {
        let kubeconfig = Kubeconfig::read_from(self.plane.admin_kubeconfig())?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // Else it asks for five minutes where a budget says no.
        config.default_retry = false;
        let pods: Api<Pod> = Api::namespaced(Client::try_from(config)?, self.name);
        let name = pod
            .0
            .metadata
            .name
            .as_deref()
            .context("a pod without a name")?;
        let status = pods.evict(name, &EvictParams::default()).await?;
        ensure!(status.is_success(), "{status:?}");
        Ok(())
    }
}
