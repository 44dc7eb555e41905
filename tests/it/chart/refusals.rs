//! Tests that the chart refuses invalid values with a sentence that says what to do.

use anyhow::Result;
use serde_json::{Value, json};

use super::{render, value_set};

/// Returns helm's error for these changes of a value set.
async fn refusal(name: &str, changes: Value) -> Result<String> {
    match render(&value_set(name, changes.clone())?).await {
        Ok(_) => anyhow::bail!("{name} with {changes} is not refused"),
        Err(refused) => Ok(refused.to_string()),
    }
}

#[tokio::test]
async fn invalid_combinations_are_refused_with_a_sentence() -> Result<()> {
    let token = |more: Value| json!({"tokens": {"issuing": more}});
    let module = |more: Value| json!({"modules": {"softhsm": more}});
    let image = json!({"repository": "registry.example/vendor"});
    let cases = [
        (json!({"tokens": null}), "tokens: name at least one token"),
        (
            json!({"audit": {"file": {"path": "/log/issuance.log"}}}),
            "audit.file: the root file system is read-only; give audit.volume",
        ),
        (
            json!({"audit": {"stdout": false}}),
            "audit: the issuance log has no sink; set audit.stdout=true or audit.file.path",
        ),
        (
            token(json!({"module": "luna"})),
            "tokens.issuing: module luna is not in modules, which has: softhsm",
        ),
        (
            token(json!({"serial": "1"})),
            "tokens.issuing: give label or serial",
        ),
        (
            token(json!({"label": null})),
            "tokens.issuing: give label or serial",
        ),
        (
            token(json!({"pinFile": "/pin"})),
            "tokens.issuing: give at most one of pinSecretRef, pinFile and pinFrom",
        ),
        (
            token(
                json!({"pinSecretRef": null, "pinFrom": {"namespace": "a", "clusterIssuers": true}}),
            ),
            "tokens.issuing: pinFrom takes namespace or clusterIssuers",
        ),
        (
            token(json!({"pinSecretRef": null, "pinFrom": {"namespace": "payments"}})),
            "which the controller may not read; add it to secretNamespaces",
        ),
        (
            token(json!({"pin": "1234"})),
            "tokens.issuing: no PIN goes into values; put it into a Secret and name that by pinSecretRef",
        ),
        (
            token(
                json!({"grants": [{"keys": ["a"], "clusterIssuers": true}, {"clusterIssuers": true}]}),
            ),
            "tokens.issuing.grants[1] names no key: give keys",
        ),
        (
            module(json!({"path": null})),
            "modules.softhsm: give the path of the PKCS#11 library",
        ),
        (
            module(json!({"socket": "/run/hsm.sock"})),
            "modules.softhsm: give path, or the socket",
        ),
        (
            module(json!({"path": null, "socket": "/run/hsm.sock"})),
            "modules.softhsm: env is for a library that this chart loads",
        ),
        (
            module(json!({"copy": {"image": image, "from": "/lib"}, "sidecar": {"image": image}})),
            "modules.softhsm: a sidecar has the library in its own image",
        ),
        (
            module(json!({"copy": {"image": image, "from": "/lib"}})),
            "modules.softhsm: the copied library is below /opt/hsm/softhsm/",
        ),
        (
            module(json!({"hostPaths": [{"hostPath": "/dev/hsm0", "readOnly": false}]})),
            "modules.softhsm: hostPaths are on some nodes only; set kind=DaemonSet",
        ),
        (
            json!({"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}}),
            "podDisruptionBudget: give minAvailable or maxUnavailable",
        ),
        (
            json!({"podDisruptionBudget": {"minAvailable": 2}}),
            "podDisruptionBudget: minAvailable 2 of 2 replicas lets no node be drained",
        ),
        (
            json!({"kind": "DaemonSet", "podDisruptionBudget": {"maxUnavailable": 1}}),
            "podDisruptionBudget: the pods of a DaemonSet are never evicted",
        ),
        (
            json!({"metrics": {"serviceMonitor": {"enabled": true}, "podMonitor": {"enabled": true}}}),
            "metrics: choose serviceMonitor or podMonitor",
        ),
        (
            json!({"metrics": {"service": false, "serviceMonitor": {"enabled": true}}}),
            "metrics.serviceMonitor finds pods by their Service",
        ),
        (
            json!({"secretNamespaces": ["a"], "secretsInAllNamespaces": true}),
            "secretsInAllNamespaces covers every namespace",
        ),
        (
            json!({"secretNamespaces": [super::NAMESPACE]}),
            "secretNamespaces: the release namespace pkcs11-issuer-system can always be read",
        ),
        (
            json!({"serviceAccount": {"create": false}}),
            "serviceAccount: set name to the existing account",
        ),
    ];
    for (changes, sentence) in cases {
        let said = refusal("softhsm", changes.clone()).await?;
        assert!(said.contains(sentence), "{changes}: {said}");
    }
    Ok(())
}

#[tokio::test]
async fn a_value_that_looks_like_a_pin_is_refused_anywhere() -> Result<()> {
    let cases = [
        (
            json!({"tokens": {"issuing": {"pin": "1234"}}}),
            "no PIN goes into values; put it into a Secret",
        ),
        (
            json!({"tokens": {"issuing": {"pinSecretRef": {"value": "1234"}}}}),
            "'value' not allowed",
        ),
        (json!({"pin": "1234"}), "'pin' not allowed"),
        (
            json!({"modules": {"softhsm": {"env": {"USER_PIN": "1234"}}}}),
            "modules.softhsm.env.USER_PIN looks like a PIN",
        ),
        (
            json!({"extraEnv": [{"name": "HSM_PASSWORD", "value": "1234"}]}),
            "extraEnv: HSM_PASSWORD looks like a PIN",
        ),
        (
            json!({"extraArgs": ["--key=pkcs11:token=a?pin-value=1234"]}),
            "a PKCS#11 URI with pin-value",
        ),
    ];
    for (changes, sentence) in cases {
        let said = refusal("softhsm", changes.clone()).await?;
        assert!(said.contains(sentence), "{changes}: {said}");
        assert!(
            !said.contains("1234"),
            "the error must not repeat the refused value: {said}"
        );
    }
    Ok(())
}

#[tokio::test]
async fn misspelt_and_malformed_values_are_refused_with_their_path() -> Result<()> {
    let cases = [
        (json!({"replica": 3}), "'replica' not allowed"),
        (json!({"kind": "StatefulSet"}), "/kind"),
        (json!({"image": {"digest": "sha256:abc"}}), "/image/digest"),
        (
            json!({"tokens": {"issuing": {"serial": 1_404_389_111}}}),
            "/tokens/issuing/serial",
        ),
        (
            json!({"tokens": {"Issuing": {"module": "softhsm"}}}),
            "Issuing",
        ),
        (
            json!({"modules": {"softhsm": {"path": "lib.so"}}}),
            "/modules/softhsm/path",
        ),
        (json!({"secretNamespaces": ["pay*"]}), "/secretNamespaces/0"),
        (json!({"log": {"format": "xml"}}), "/log/format"),
        (json!({"concurrency": 0}), "/concurrency"),
        (
            json!({"certificateRequests": "sometimes"}),
            "/certificateRequests",
        ),
        (json!({"listenAddress": "127.0.0.1"}), "/listenAddress"),
        (json!({"leaseDuration": "1s"}), "/leaseDuration"),
        (json!({"leaseDuration": "301s"}), "/leaseDuration"),
        (json!({"leaseDuration": "5m1s"}), "/leaseDuration"),
        (json!({"leaseDuration": "3500ms"}), "/leaseDuration"),
        (json!({"probeInterval": "0s"}), "/probeInterval"),
        (json!({"probeInterval": "25h"}), "/probeInterval"),
        (json!({"undecidedAfter": "0s"}), "/undecidedAfter"),
        (json!({"debugPort": 0}), "/debugPort"),
        (
            json!({"traces": {"endpoint": "collector:4318"}}),
            "/traces/endpoint",
        ),
        (json!({"undecidedAfter": "4 hours"}), "/undecidedAfter"),
    ];
    for (changes, place) in cases {
        let said = refusal("softhsm", changes.clone()).await?;
        assert!(said.contains(place), "{changes}: {said}");
    }
    Ok(())
}
