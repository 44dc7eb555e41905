//! Tests examples that consist only of values, for devices that do not exist here. `chart::admitted` and its neighbours test
//! them like every value set: the API server admits them, they are restricted, and the program accepts them.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::{files, objects, text};
use crate::chart::{named, only, render, workload};

async fn rendered(file: &str) -> Result<Vec<Value>> {
    let values = objects(file)?;
    render(values.first().context("no values")?).await
}

#[tokio::test]
async fn the_network_hsms_library_stays_in_its_sidecar_and_the_pod_reaches_three_things()
-> Result<()> {
    let objects = rendered("network-hsm-values.yaml").await?;
    let pod = &workload(&objects)?["spec"]["template"]["spec"];
    let client = |container: &Value| named(&container["volumeMounts"], "vendor-client").is_ok();
    let sidecar = named(&pod["initContainers"], "hsm-vendor")?;
    assert_eq!(sidecar["restartPolicy"], "Always");
    assert!(client(sidecar) && !client(named(&pod["containers"], "pkcs11-issuer")?));
    let policy = &only(&objects, "NetworkPolicy")?["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress", "Egress"]));
    assert_eq!(policy["egress"].as_array().map(Vec::len), Some(3));
    Ok(())
}

#[tokio::test]
async fn the_pcie_hsms_are_used_by_a_pod_on_each_node_that_has_one() -> Result<()> {
    let objects = rendered("pcie-hsm-values.yaml").await?;
    let workload = workload(&objects)?;
    assert_eq!(workload["kind"], "DaemonSet");
    let pod = &workload["spec"]["template"]["spec"];
    assert_eq!(pod["nodeSelector"]["hsm.example/present"], "true");
    let controller = named(&pod["containers"], "pkcs11-issuer")?;
    assert_eq!(controller["resources"]["limits"]["vendor.example/hsm"], 1);
    assert_eq!(controller["securityContext"]["privileged"], Value::Null);
    Ok(())
}

#[test]
fn our_images_in_the_examples_are_of_this_version() -> Result<()> {
    let mut count = 0;
    for file in files()? {
        let text = text(&file)?;
        let images = text
            .lines()
            .filter(|line| line.contains("ghcr.io/pkcs11-issuer/") && !line.contains("oci://"));
        for line in images {
            assert!(line.contains(env!("CARGO_PKG_VERSION")), "{file}: {line}");
            count += 1;
        }
    }
    assert!(count >= 4, "{count}");
    Ok(())
}
