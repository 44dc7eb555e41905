//! Instructions for the control plane that `KEEP=1` leaves running.

use anyhow::{Context, Result};

use crate::play::Stage;

/// Returns the commands to paste into another terminal.
pub(crate) async fn instructions(stage: &Stage) -> Result<String> {
    let Stage {
        controller,
        cluster,
        ..
    } = stage;
    let plane = cluster.plane();
    let kubectl = plane.tools().program("kubectl")?;
    let programs = kubectl
        .parent()
        .context("the path of kubectl has no folder")?;
    Ok(format!(
        "
Everything keeps running until you press Ctrl-C (or send SIGTERM to process {process}). In another terminal, run:

export KUBECONFIG={kubeconfig}
export PATH={programs}:$PATH
kubectl get p11ci,certificate,certificaterequest -A
kubectl describe p11ci issuing

To issue another certificate:

kubectl apply -f - <<'YAML'
apiVersion: cert-manager.io/v1
kind: Certificate
metadata: {{name: shop, namespace: default}}
spec:
  secretName: shop-tls
  dnsNames: [shop.example]
  privateKey: {{algorithm: ECDSA, size: 256}}
  usages: [digital signature, server auth]
  issuerRef: {{group: pkcs11-issuer.dev, kind: PKCS11ClusterIssuer, name: issuing}}
YAML
kubectl wait --for=condition=Ready certificate/shop
kubectl get secret shop-tls -o jsonpath='{{.data.tls\\.crt}}' | base64 -d | openssl x509 -noout -text

To see the controller's log, the issuance log and the metrics:

tail -f {log}
tail -f {issuance_log}
curl http://{metrics}/metrics
",
        process = std::process::id(),
        kubeconfig = plane.admin_kubeconfig().display(),
        programs = programs.display(),
        log = controller.process().log_path().display(),
        issuance_log = controller.issuance_log_path().display(),
        metrics = controller.metrics_address().await?,
    ))
}
