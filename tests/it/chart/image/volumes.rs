//! Makes the volumes of a pod, including its identity, as folders on this machine.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use rig::Cluster;
use serde_json::Value;

use super::{container::docker, softhsm_image};
use crate::chart::{NAMESPACE, pod::list, volumes::files};

/// Folders that outlive a pod, by the claim or the host path that a volume names.
pub(super) type Storage = BTreeMap<String, PathBuf>;

/// The volumes of one pod by name.
pub(super) struct Volumes(BTreeMap<String, PathBuf>);

impl Volumes {
    /// Creates the volumes in a folder, with the content that the API server has for them.
    pub(super) async fn make(
        cluster: &Cluster,
        pod: &Value,
        folder: &Path,
        storage: &Storage,
    ) -> Result<Self> {
        let mut folders = BTreeMap::new();
        for volume in list(&pod["spec"]["volumes"]) {
            let name = volume["name"].as_str().context("no name")?;
            let here = folder.join(name);
            fs::create_dir_all(&here)?;
            let here = if let Some(files) = files(cluster, volume).await? {
                for (file, octets) in files {
                    fs::write(here.join(file), octets)?;
                }
                here
            } else if volume["emptyDir"].is_object() {
                fs::set_permissions(&here, fs::Permissions::from_mode(0o777))?;
                here
            } else if let Some(of) = volume["persistentVolumeClaim"]["claimName"].as_str() {
                stored(storage, of)?
            } else if let Some(of) = volume["hostPath"]["path"].as_str() {
                stored(storage, of)?
            } else if volume["projected"].is_object() {
                make_identity(cluster, pod, &volume["projected"], &here).await?;
                here
            } else {
                bail!("unknown kind of volume: {volume}")
            };
            folders.insert(name.to_owned(), here);
        }
        ensure!(pod["spec"]["automountServiceAccountToken"] == false);
        Ok(Self(folders))
    }

    /// Returns the options of `docker run` for the mounts of a container.
    pub(super) fn mounts(&self, container: &Value) -> Result<Vec<String>> {
        let mut options = Vec::new();
        for mount in list(&container["volumeMounts"]) {
            let name = mount["name"].as_str().context("no name")?;
            let folder = self.0.get(name).with_context(|| format!("no {name}"))?;
            ensure!(
                mount["subPath"].is_null(),
                "subPath is not supported: {mount}"
            );
            let path = mount["mountPath"].as_str().context("no path")?;
            options.push(option(folder, path, mount["readOnly"] == true));
        }
        Ok(options)
    }
}

fn option(here: &Path, there: &str, read_only: bool) -> String {
    let read_only = if read_only { ",readonly" } else { "" };
    format!(
        "--mount=type=bind,source={},target={there}{read_only}",
        here.display()
    )
}

fn stored(storage: &Storage, name: &str) -> Result<PathBuf> {
    let folder = storage
        .get(name)
        .with_context(|| format!("no storage for {name}"))?;
    Ok(folder.clone())
}

/// Writes the identity of a pod as kubelet projects it: a token bound to this Pod, the API server's CA certificate, and the
/// namespace.
async fn make_identity(
    cluster: &Cluster,
    pod: &Value,
    projected: &Value,
    folder: &Path,
) -> Result<()> {
    let mut paths: Vec<_> = list(&projected["sources"])
        .flat_map(|source| {
            let items = [&source["configMap"], &source["downwardAPI"]];
            let items = items.into_iter().flat_map(|from| list(&from["items"]));
            items.chain([&source["serviceAccountToken"]])
        })
        .filter_map(|item| item["path"].as_str())
        .collect();
    paths.sort_unstable();
    ensure!(paths == ["ca.crt", "namespace", "token"], "{paths:?}");
    let meta = &pod["metadata"];
    let account = pod["spec"]["serviceAccountName"]
        .as_str()
        .context("no account")?;
    let (name, uid) = (meta["name"].as_str(), meta["uid"].as_str());
    let (name, uid) = (name.context("no name")?, uid.context("no UID")?);
    let create = ["create", "token", account, "--namespace", NAMESPACE];
    let bound = [
        "--bound-object-kind=Pod",
        &format!("--bound-object-name={name}"),
        &format!("--bound-object-uid={uid}"),
    ];
    let plane = cluster.plane();
    let token = plane.kubectl(&[&create[..], &bound].concat()).await?;
    fs::write(folder.join("token"), token.trim_end())?;
    fs::write(folder.join("ca.crt"), plane.ca_certificate())?;
    fs::write(folder.join("namespace"), NAMESPACE)?;
    Ok(())
}

/// Gives a folder to the group of the pods, as kubelet does with a claim (`fsGroup`) and an operator does with files on a
/// node. Only root may do this, so it is done in a container.
pub(super) async fn give_to_pods(folder: &Path) -> Result<()> {
    let mount = option(folder, "/folder", false);
    let script = "chgrp -R 65532 /folder && chmod -R g+rwX /folder";
    let image = softhsm_image();
    let run = [
        "run",
        "--rm",
        "--network=none",
        "--user=0:0",
        "--entrypoint=sh",
    ];
    docker(&[&run[..], &[&mount, &image, "-c", script]].concat()).await?;
    Ok(())
}
