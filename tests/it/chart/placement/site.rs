//! The nodes, the namespace and the release of one test on the shared cluster.

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

/// The label that selects nodes. Each test uses its own value instead of `true` in the value sets.
pub(super) const LABEL: &str = "hsm.example/present";
/// The label that all nodes of a test have.
const SITE: &str = "example.com/site";
/// The label with the zone of a node.
pub(super) const ZONE: &str = "topology.kubernetes.io/zone";

/// One test's part of the cluster. Namespace, release and the value of the nodes' label all have its name.
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

    /// Returns the name of the namespace.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Returns the full name of a node, which is unique because nodes have no namespace.
    pub(super) fn named(&self, node: &str) -> String {
        format!("{}-{node}", self.name)
    }

    /// Describes a node that the release does not select.
    pub(super) fn node(&self, name: &str) -> NewNode {
        NewNode::new(self.client.clone(), &self.named(name)).labelled(SITE, self.name)
    }

    /// Describes a node that the release selects.
    pub(super) fn selected_node(&self, name: &str) -> NewNode {
        self.node(name).labelled(LABEL, self.name)
    }

    /// Waits until all nodes of the test are ready and have no taint for not being ready.
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

    /// Runs `helm install` with a value set, without the CRDs, which only one release in a cluster can own.
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

    /// Runs kubectl with these arguments, which are separated by spaces.
    pub(super) async fn kubectl(&self, args: &str) -> Result<()> {
        let args: Vec<_> = args.split_whitespace().collect();
        self.plane.kubectl(&args).await?;
        Ok(())
    }

    /// Runs a kubectl command such as `cordon` for all nodes of the test.
    pub(super) async fn for_every_node(&self, command: &str) -> Result<()> {
        let of_test = self.of_test();
        self.kubectl(&format!("{command} --selector={of_test}"))
            .await
    }

    /// Returns the pods of the release in the order of their names.
    pub(super) async fn pods(&self) -> Result<Vec<Placed>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.name);
        let pods = pods.list(&ListParams::default()).await?;
        Ok(pods.items.into_iter().map(Placed).collect())
    }

    /// Waits until the DaemonSet has a ready pod on each of these nodes and on no other, and its status agrees.
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

    /// Waits until there is one ready pod in each of these zones, and no other pod.
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

    /// Waits until the pods meet a condition; an error lists the present pods.
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

    /// Waits for an Event with this reason and returns its message.
    pub(super) async fn event(&self, reason: &str) -> Result<String> {
        let events: Api<Event> = Api::namespaced(self.client.clone(), self.name);
        let with_reason = ListParams::default().fields(&format!("reason={reason}"));
        until(&format!("an Event {reason}"), PATIENCE, async || {
            let events = events.list(&with_reason).await?;
            Ok(events.items.into_iter().find_map(|event| event.message))
        })
        .await
    }

    /// Waits until the disruption budget allows `count` evictions.
    pub(super) async fn may_evict(&self, count: i32) -> Result<()> {
        let budgets: Api<PodDisruptionBudget> = Api::namespaced(self.client.clone(), self.name);
        until(
            &format!("the budget to allow {count} evictions"),
            PATIENCE,
            async || {
                let budgets = budgets.list(&ListParams::default()).await?;
                let [budget] = &budgets.items[..] else {
                    anyhow::bail!("expected one disruption budget");
                };
                let status = budget.status.as_ref();
                let right = status.is_some_and(|status| status.disruptions_allowed == Some(count));
                Ok(right.then_some(()))
            },
        )
        .await
    }

    /// Evicts a pod, as `kubectl drain` does.
    pub(super) async fn evict(&self, pod: &Placed) -> Result<()> {
        let kubeconfig = Kubeconfig::read_from(self.plane.admin_kubeconfig())?;
        let mut config =
            Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
        // By default the client retries for five minutes when a budget refuses.
        config.default_retry = false;
        let pods: Api<Pod> = Api::namespaced(Client::try_from(config)?, self.name);
        let name = pod
            .0
            .metadata
            .name
            .as_deref()
            .context("the pod has no name")?;
        let status = pods.evict(name, &EvictParams::default()).await?;
        ensure!(status.is_success(), "{status:?}");
        Ok(())
    }
}
