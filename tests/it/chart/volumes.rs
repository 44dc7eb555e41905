//! The volumes of a pod as folders: what its containers mount under a path, a process finds there.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use base64ct::{Base64, Encoding as _};
use rig::Cluster;
use serde_json::Value;

use super::pod::{list, read};

/// Where volumes are mounted and which folder that is here. A path means the same in every container of the pod.
pub(super) struct Volumes(Vec<(String, String)>);

impl Volumes {
    /// Makes a folder of every volume, with what the API server has for it.
    pub(super) async fn bring(cluster: &Cluster, pod: &Value, folder: &Path) -> Result<Self> {
        let mut places = Vec::new();
        for container in list(&pod["initContainers"]).chain(list(&pod["containers"])) {
            for mount in list(&container["volumeMounts"]) {
                let path = mount["mountPath"].as_str().context("no path")?;
                let here = folder.join(mount["name"].as_str().context("no name")?);
                let here = here.to_str().context("not UTF-8")?;
                places.push((format!("{path}/"), format!("{here}/")));
            }
        }
        places.sort();
        places.dedup();
        let volumes = Self(places);
        for volume in list(&pod["volumes"]) {
            let here = folder.join(volume["name"].as_str().context("no name")?);
            fs::create_dir_all(&here)?;
            volumes.fill(cluster, volume, &here).await?;
        }
        Ok(volumes)
    }

    async fn fill(&self, cluster: &Cluster, volume: &Value, here: &Path) -> Result<()> {
        if let Some(name) = volume["configMap"]["name"].as_str() {
            let content = read(cluster, "configmap", name).await?;
            for (file, text) in content["data"].as_object().context("no data")? {
                fs::write(
                    here.join(file),
                    self.here(text.as_str().context("no text")?),
                )?;
            }
        } else if let Some(name) = volume["secret"]["secretName"].as_str() {
            let content = read(cluster, "secret", name).await?;
            for (file, base64) in content["data"].as_object().context("no data")? {
                let octets = Base64::decode_vec(base64.as_str().context("no text")?);
                fs::write(here.join(file), octets.ok().context("not base64")?)?;
            }
        } else if !(volume["emptyDir"].is_object() || volume["persistentVolumeClaim"].is_object()) {
            bail!("there is no such volume here: {volume}");
        }
        Ok(())
    }

    /// A text that names paths in a container, with the folders that they are here.
    pub(super) fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, folder) in &self.0 {
            text = text.replace(path, folder);
        }
        text
    }
}
