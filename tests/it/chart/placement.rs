//! Tests which nodes run the pods of an installed chart: the real controllers and the real scheduler place them on simulated
//! nodes, and kwok reports the pods as running.

mod cluster;
mod node;
mod placed;
mod site;

use anyhow::{Context as _, Result, bail, ensure};
use control_plane::until;
use rig::PATIENCE;
use serde_json::json;

use self::{
    placed::Placed,
    site::{LABEL, Site, ZONE},
};

/// The taint that the value sets tolerate, and the resource name of the device.
const DEDICATED: &str = "hsm.example/dedicated";
const DEVICE: &str = "vendor.example/hsm";
/// A taint that no pod here tolerates.
const OTHERS: &str = "gpu.example/dedicated";

/// The nodes without the label are created first, so a controller that has seen the labelled nodes has seen all nodes.
#[tokio::test]
async fn exactly_the_labelled_nodes_run_a_pod_and_a_changed_label_starts_or_stops_it() -> Result<()>
{
    let site = Site::new("pcie").await?;
    site.node("plain").create().await?;
    site.selected_node("taken").tainted(OTHERS).create().await?;
    site.node("emptied").tainted(DEDICATED).create().await?;
    site.selected_node("open").create().await?;
    site.selected_node("dedicated")
        .tainted(DEDICATED)
        .create()
        .await?;
    site.nodes_are_ready().await?;
    site.install("host-device").await?;
    site.runs_on(&["dedicated", "open"]).await?;

    let (plain, open, taken) = (site.named("plain"), site.named("open"), site.named("taken"));
    site.kubectl(&format!("label node {plain} {LABEL}={}", site.name()))
        .await?;
    site.runs_on(&["dedicated", "open", "plain"]).await?;
    site.kubectl(&format!("label node {open} {LABEL}-")).await?;
    site.runs_on(&["dedicated", "plain"]).await?;
    site.kubectl(&format!("taint node {taken} {OTHERS}-"))
        .await?;
    site.runs_on(&["dedicated", "plain", "taken"]).await
}

#[tokio::test]
async fn host_paths_need_the_level_privileged_and_the_notes_say_how_to_set_it() -> Result<()> {
    let site = Site::new("levels").await?;
    site.selected_node("open").create().await?;
    site.nodes_are_ready().await?;
    let level = "pod-security.kubernetes.io/enforce=restricted";
    site.kubectl(&format!("label namespace {} {level}", site.name()))
        .await?;
    let notes = site.install("host-device").await?;
    let refused = site.event("FailedCreate").await?;
    ensure!(
        refused.contains("use restricted volume type \"hostPath\""),
        "{refused}"
    );

    let told = notes
        .lines()
        .filter_map(|line| line.trim().strip_prefix("kubectl "));
    let told: Vec<_> = told
        .filter(|command| command.starts_with("label namespace "))
        .collect();
    let [command] = told[..] else {
        bail!("expected one command in the notes: {notes}");
    };
    site.kubectl(command).await?;
    site.runs_on(&["open"]).await
}

/// The DaemonSet's controller checks only labels and taints; the scheduler checks the device.
#[tokio::test]
async fn a_labelled_node_runs_its_pod_only_once_its_device_plugin_has_a_device() -> Result<()> {
    let site = Site::new("plugin").await?;
    site.selected_node("without").create().await?;
    site.selected_node("with").having(DEVICE).create().await?;
    site.nodes_are_ready().await?;
    site.install("device-plugin").await?;
    let with = site.named("with");
    let waiting = until("a pod that runs and one that waits", PATIENCE, async || {
        let pods = site.pods().await?;
        let running: Vec<_> = pods.iter().filter_map(Placed::ready_on).collect();
        let waiting = pods.iter().find_map(Placed::unschedulable);
        Ok(waiting
            .filter(|_| pods.len() == 2 && running == [&with])
            .map(str::to_owned))
    });
    let waiting = waiting.await?;
    ensure!(
        waiting.contains(&format!("Insufficient {DEVICE}")),
        "{waiting}"
    );

    let device = json!({"status": {"capacity": {DEVICE: "1"}, "allocatable": {DEVICE: "1"}}});
    let without = site.named("without");
    site.kubectl(&format!(
        "patch node {without} --subresource=status --patch={device}"
    ))
    .await?;
    site.runs_on(&["with", "without"]).await
}

#[tokio::test]
async fn replicas_are_spread_over_zones_and_a_drain_evicts_no_more_than_the_budget_allows()
-> Result<()> {
    let site = Site::new("spread").await?;
    for (node, zone) in [("a-1", "a"), ("a-2", "a"), ("b-1", "b"), ("c-1", "c")] {
        site.selected_node(node)
            .labelled(ZONE, zone)
            .create()
            .await?;
    }
    site.nodes_are_ready().await?;
    // Three replicas with a zone skew of at most one and a disruption budget that keeps more than half of them.
    site.install("copied-library").await?;
    let zones = ["a", "b", "c"];
    site.runs_in_zones(&zones).await?;
    site.may_evict(1).await?;

    site.for_every_node("cordon").await?;
    let pods = site.pods().await?;
    let [first, second, _] = &pods[..] else {
        bail!("expected three pods: {pods:?}");
    };
    site.evict(first).await?;
    let refused = site
        .evict(second)
        .await
        .err()
        .context("a second pod must not be evicted")?;
    ensure!(
        refused.to_string().contains("disruption budget"),
        "{refused}"
    );

    site.for_every_node("uncordon").await?;
    site.runs_in_zones(&zones).await?;
    site.may_evict(1).await
}
