//! How tools that wait for objects judge an issuer: kstatus, which Flux and Helm 4 use.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::not_ready::NotReady,
    super::seen::Seen,
    tests::{NOW, spec},
};
use crate::api::{self, issuer::IssuerStatus};

/// Status of an object according to kstatus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Computed {
    InProgress,
    Failed,
    Terminating,
    Current,
}

/// Computes the status of an object of a custom kind by the rules of kstatus (sigs.k8s.io/cli-utils, pkg/kstatus/status:
/// `checkGenericProperties` and then `checkReadyCondition`).
fn computed(object: &Value) -> Computed {
    let metadata = &object["metadata"];
    if metadata["deletionTimestamp"].is_string() {
        return Computed::Terminating;
    }
    let observed = &object["status"]["observedGeneration"];
    // The generation of an object without this field is not checked.
    if observed.is_i64() && *observed != metadata["generation"] {
        return Computed::InProgress;
    }
    let conditions = object["status"]["conditions"].as_array();
    let conditions: Vec<_> = conditions.into_iter().flatten().collect();
    let state = |type_: &str| {
        let found = conditions
            .iter()
            .find(|condition| condition["type"] == type_);
        found.and_then(|condition| condition["status"].as_str())
    };
    match (state("Reconciling"), state("Stalled"), state("Ready")) {
        (Some("True"), _, _) => Computed::InProgress,
        (_, Some("True"), _) => Computed::Failed,
        (_, _, Some("False" | "Unknown")) => Computed::InProgress,
        (_, _, _) => Computed::Current,
    }
}

/// Returns the status that the API server gives a new issuer, by the default in its CRD.
fn first_status(crd: usize) -> Value {
    let crd = serde_json::to_value(api::crds()).unwrap()[crd].clone();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    schema["properties"]["status"]["default"].clone()
}

fn issuer(generation: i64, status: &impl serde::Serialize) -> Value {
    json!({"metadata": {"generation": generation}, "status": status})
}

fn looked_at(generation: i64, before: &Value) -> IssuerStatus {
    let before: IssuerStatus = serde_json::from_value(before.clone()).unwrap();
    let spec = spec();
    let seen = Seen {
        spec: &spec,
        generation: Some(generation),
        status: Some(&before),
        installation: "ours",
        reissue: None,
    };
    let now: Timestamp = NOW.parse().unwrap();
    seen.status(&NotReady::TokenUnknown("nowhere".to_owned()).into(), now)
}

#[test]
fn an_issuer_is_in_progress_before_its_first_look_and_after_every_change() {
    for crd in [0, 1] {
        let first = first_status(crd);
        assert_eq!(first, json!({"observedGeneration": -1}));
        assert_eq!(computed(&issuer(1, &first)), Computed::InProgress);
        let ready = json!({
            "observedGeneration": 1,
            "conditions": [{"type": "Ready", "status": "True"}],
        });
        assert_eq!(computed(&issuer(1, &ready)), Computed::Current);
        assert_eq!(computed(&issuer(2, &ready)), Computed::InProgress);
    }
}

#[test]
fn an_issuer_that_cannot_sign_is_in_progress_and_never_stalled() {
    let status = looked_at(3, &first_status(0));
    assert_eq!(status.observed_generation, Some(3));
    assert!(status.conditions.iter().all(|one| one.type_ != "Stalled"));
    assert_eq!(computed(&issuer(3, &status)), Computed::InProgress);
}

#[test]
fn the_rules_of_kstatus_tell_its_four_states_apart() {
    let with = |conditions: Value| issuer(1, &json!({"conditions": conditions}));
    let cases = [
        (with(json!([])), Computed::Current),
        (
            with(json!([{"type": "Ready", "status": "Unknown"}])),
            Computed::InProgress,
        ),
        (
            with(json!([{"type": "Reconciling", "status": "True"}])),
            Computed::InProgress,
        ),
        (
            with(json!([{"type": "Stalled", "status": "True"}])),
            Computed::Failed,
        ),
        (
            json!({"metadata": {"generation": 1, "deletionTimestamp": NOW}}),
            Computed::Terminating,
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(computed(&object), expected, "{object}");
    }
}
