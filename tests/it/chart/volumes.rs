//! Makes the volumes of a pod as folders, so that processes can use what containers mount.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rig::Cluster;
use serde_json::Value;

use super::pod::{list, read};

/// Returns the files, by name, of a volume from a ConfigMap or a Secret on the API server.
pub(super) async fn files(
    cluster: &Cluster,
    volume: &Value,
) -> Result<Option<Vec<(String, Vec<u8>)>>> {
    let map = volume["configMap"]["name"].as_str();
    let (kind, object) = match (map, volume["secret"]["secretName"].as_str()) {
        (Some(map), _) => ("configmap", map),
        (None, Some(secret)) => ("secret", secret),
        (None, None) => return Ok(None),
    };
    let content = read(cluster, kind, object).await?;
    let file = |(name, value): (&String, &Value)| {
        let text = value.as_str().context("no text")?;
        let octets = match map {
            Some(_) => text.as_bytes().to_vec(),
            None => STANDARD.decode(text).ok().context("not base64")?,
        };
        Ok((name.clone(), octets))
    };
    let data = content["data"].as_object().context("no data")?;
    data.iter().map(file).collect::<Result<_>>().map(Some)
}

/// The mount path and the folder of each volume. A path means the same in every container of the pod.
pub(super) struct Volumes(Vec<(String, String)>);

impl Volumes {
    /// Creates a folder for every volume, with the content that the API server has for it.
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
        // Projected volumes stay empty, because a process has another identity than a pod.
        if let Some(files) = files(cluster, volume).await? {
            for (name, octets) in files {
                let octets = match volume["configMap"].is_object() {
                    true => self.here(&String::from_utf8(octets)?).into_bytes(),
                    false => octets,
                };
                fs::write(here.join(name), octets)?;
            }
        } else if !["emptyDir", "persistentVolumeClaim", "projected"]
            .iter()
            .any(|kind| volume[kind].is_object())
        {
            bail!("unknown kind of volume: {volume}");
        }
        Ok(())
    }

    /// Replaces the mount paths in a text with the folders on this machine.
    pub(super) fn here(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (path, folder) in &self.0 {
            text = text.replace(path, folder);
        }
        text
    }
}
