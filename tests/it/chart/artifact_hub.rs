//! Tests that the chart's annotations for Artifact Hub, which no template reads, agree with the chart.

use std::fs;

use anyhow::{Context as _, Result};
use pkcs11_issuer::api::{self, issuer::PKCS11ClusterIssuer};
use rig::chart_path;
use serde_json::{Value, json};

use super::{named, render, value_set, workload};
use crate::examples::is_within;

/// Returns the content of an annotation, which is YAML in YAML.
fn told(name: &str) -> Result<Vec<Value>> {
    let chart = fs::read_to_string(chart_path().join("Chart.yaml"))?;
    let chart: Value = serde_saphyr::from_str(&chart)?;
    let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str();
    let text = text.with_context(|| format!("no annotation {name}"))?;
    Ok(serde_saphyr::from_str(text)?)
}

#[tokio::test]
async fn the_artifact_hub_annotations_name_the_image_that_runs() -> Result<()> {
    let objects = render(&value_set("softhsm", json!({}))?).await?;
    let containers = &workload(&objects)?["spec"]["template"]["spec"]["containers"];
    let run = &named(containers, "pkcs11-issuer")?["image"];
    let told = told("images")?;
    let told: Vec<_> = told.iter().map(|image| &image["image"]).collect();
    assert_eq!(told, [run]);
    Ok(())
}

#[test]
fn the_artifact_hub_annotations_list_every_kind() -> Result<()> {
    let kinds = api::crds().into_iter().map(|kind| {
        let version = kind.spec.versions.into_iter().map(|version| version.name);
        let versions: Vec<_> = version.collect();
        json!([kind.metadata.name, kind.spec.names.kind, versions])
    });
    let told = told("crds")?;
    let told = told
        .iter()
        .map(|kind| json!([kind["name"], kind["kind"], [kind["version"]]]));
    assert_eq!(told.collect::<Vec<_>>(), kinds.collect::<Vec<_>>());
    Ok(())
}

#[test]
fn the_artifact_hub_example_is_parsed_completely() -> Result<()> {
    let examples = told("crdsExamples")?;
    assert!(!examples.is_empty());
    for written in examples {
        let issuer: PKCS11ClusterIssuer = serde_json::from_value(written.clone())?;
        let read = serde_json::to_value(&issuer)?;
        assert!(is_within(&written, &read), "{written}");
    }
    Ok(())
}
