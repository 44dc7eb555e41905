//! One issuer of either kind: is it able to sign, and does its status say so?

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams, Request},
    core::DeserializeGuard,
    runtime::controller::Action,
};
use serde_json::json;
use tracing::{info, warn};

use super::{
    Context,
    apply::FIELD_MANAGER,
    establish::{NotReady, establish},
    events::Notice,
    issuers::{Health, Known},
    trust,
};
use crate::{
    api::{
        GROUP,
        issuer::{
            CertificateStatus, IssuerKind, IssuerStatus, KeyStatus, TokenStatus, condition_type,
        },
    },
    issuance::IssuerCertificate,
    pipeline::{IssuerName, Proven, now},
    telemetry::Chain,
};

/// An issuer that signs is proved again after this time; Secrets, ConfigMaps and PINs are read anew with it.
const PROVE_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// An issuer that cannot sign is looked at again after this time: what it lacks may come without notice.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The reason of a `Ready` condition that is True.
const VERIFIED: &str = "Verified";

/// The status was not written.
#[derive(Debug, thiserror::Error)]
#[error("failed to write the status of {issuer}")]
pub struct IssuerStatusError {
    issuer: IssuerName,
    source: Box<kube::Error>,
}

/// Looks at one issuer.
///
/// # Errors
/// Its status could not be written.
pub async fn reconcile<K>(
    issuer: Arc<DeserializeGuard<K>>,
    context: Arc<Context>,
) -> Result<Action, IssuerStatusError>
where
    K: IssuerKind,
    DeserializeGuard<K>: kube::Resource<DynamicType = ()>,
{
    match &issuer.0 {
        Ok(issuer) => look(issuer, &context).await,
        Err(invalid) => {
            warn!(kind = K::KIND, name = %issuer.name_any(), error = %invalid.error,
                  "left alone an issuer that cannot be read");
            Ok(Action::await_change())
        }
    }
}

/// When to look again after an error.
#[must_use]
pub fn retry<K: IssuerKind>(
    _: Arc<DeserializeGuard<K>>,
    error: &IssuerStatusError,
    _: Arc<Context>,
) -> Action {
    warn!(error = %Chain(error), "will try again");
    Action::requeue(LOOK_AGAIN_AFTER)
}

async fn look<K: IssuerKind>(issuer: &K, context: &Context) -> Result<Action, IssuerStatusError> {
    let name = IssuerName {
        namespace: issuer.namespace(),
        name: issuer.name_any(),
    };
    let spec = issuer.issuer_spec();
    if let Some(token) = context.tokens.get(&spec.token) {
        token.pin_may_have_changed();
    }
    let found = establish(spec, &name, context).await;
    let again = if found.is_ok() {
        PROVE_AGAIN_AFTER
    } else {
        LOOK_AGAIN_AFTER
    };
    let status = status(issuer, &found, now());
    let health = match &found {
        Ok(Proven { ready, .. }) => Health::Ready(Arc::clone(ready)),
        Err(why) => Health::NotReady(why.reason()),
    };
    let uid = issuer.uid().unwrap_or_default();
    let generation = issuer.meta().generation.unwrap_or_default();
    context.issuers.set(
        &name,
        Known {
            uid: uid.clone(),
            generation,
            health,
        },
    );
    // Every replica proves issuers on tokens of its own; one of them says what came of it.
    if !context.ownership.owns(Some(&spec.token), &uid) {
        return Ok(Action::requeue(again));
    }
    if let Ok(Proven { ready, .. }) = &found {
        trust::publish(ready, &name, context).await;
    }
    if differs(issuer.issuer_status(), &status) {
        write(issuer, &name, &status, context).await?;
        tell(issuer, &name, &found, context);
    }
    Ok(Action::requeue(again))
}

/// Pure: the status that follows from what was found.
fn status<K: IssuerKind>(
    issuer: &K,
    found: &Result<Proven, NotReady>,
    now: Timestamp,
) -> IssuerStatus {
    let before = issuer.issuer_status();
    let (status, reason, message) = match found {
        Ok(_) => (
            "True",
            VERIFIED,
            "A signature by the token verifies under the issuing certificate".to_owned(),
        ),
        Err(why) => ("False", why.reason(), why.message()),
    };
    let ready_before = before.and_then(|before| {
        before
            .conditions
            .iter()
            .find(|c| c.type_ == condition_type::READY)
    });
    let ready = Condition {
        type_: condition_type::READY.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: issuer.meta().generation,
        last_transition_time: ready_before
            .filter(|ready| ready.status == status)
            .map_or(Time(now), |ready| ready.last_transition_time.clone()),
    };
    match found {
        Ok(Proven {
            ready: proved,
            token,
        }) => IssuerStatus {
            conditions: vec![ready],
            token: token.as_ref().map(|token| TokenStatus {
                label: token.label.clone(),
                serial: token.serial.clone(),
                manufacturer: token.manufacturer.clone(),
                model: token.model.clone(),
                firmware_version: token.firmware.clone(),
            }),
            key: Some(key_status(proved.key.key())),
            certificate: Some(certificate_status(proved.issuer.chain().issuing())),
            last_signature: Some(Time(now)),
        },
        // What was known stays, so that a person sees what has stopped working.
        Err(_) => IssuerStatus {
            conditions: vec![ready],
            ..before.cloned().unwrap_or_default()
        },
    }
}

fn key_status(key: &hsm::Key) -> KeyStatus {
    let name = key.name();
    let attributes = key.attributes();
    KeyStatus {
        algorithm: key.algorithm().to_string(),
        label: name.label,
        id_hex: hex::encode(name.id),
        sensitive: attributes.sensitive,
        extractable: attributes.extractable,
        never_extractable: attributes.never_extractable,
        local: attributes.local,
    }
}

fn certificate_status(certificate: &IssuerCertificate) -> CertificateStatus {
    CertificateStatus {
        subject: certificate.subject_text(),
        serial_number: certificate.serial_hex(),
        sha256: certificate.sha256_hex(),
        not_before: Some(Time(certificate.not_before())),
        not_after: Some(Time(certificate.not_after())),
        subject_key_id: certificate
            .subject_key_id()
            .map(hex::encode)
            .unwrap_or_default(),
    }
}

/// Whether a status is worth a write: the time of the last probe alone is not.
fn differs(before: Option<&IssuerStatus>, now: &IssuerStatus) -> bool {
    before.is_none_or(|before| {
        IssuerStatus {
            last_signature: None,
            ..before.clone()
        } != IssuerStatus {
            last_signature: None,
            ..now.clone()
        }
    })
}

async fn write<K: IssuerKind>(
    issuer: &K,
    name: &IssuerName,
    status: &IssuerStatus,
    context: &Context,
) -> Result<(), IssuerStatusError> {
    let body = json!({
        "apiVersion": format!("{GROUP}/v1alpha1"),
        "kind": K::KIND,
        "metadata": {"name": name.name, "namespace": name.namespace, "uid": issuer.uid()},
        "status": status,
    });
    let params = PatchParams::apply(FIELD_MANAGER).force();
    let failed = |source| IssuerStatusError {
        issuer: name.clone(),
        source: Box::new(source),
    };
    // The path of either kind; the typed client knows one scope at a time.
    let request = Request::new(K::url_path(&(), name.namespace.as_deref()))
        .patch_subresource("status", &name.name, &params, &Patch::Apply(body))
        .map_err(|error| failed(kube::Error::BuildRequest(error)))?;
    match context
        .client
        .request::<serde::de::IgnoredAny>(request)
        .await
    {
        Ok(_) => Ok(()),
        // Deleted, or another object of its name: nothing is left to tell.
        Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => Ok(()),
        Err(source) => Err(failed(source)),
    }
}

/// One log line and one Event for a change of the condition.
fn tell<K: IssuerKind>(
    issuer: &K,
    name: &IssuerName,
    found: &Result<Proven, NotReady>,
    context: &Context,
) {
    let notice = match found {
        Ok(_) => {
            info!(issuer = %name, "ready");
            Notice::normal(
                "Ready",
                "A signature by the token verifies under the issuing certificate".to_owned(),
            )
        }
        Err(why) => {
            warn!(issuer = %name, reason = why.reason(), message = why.message(), "not ready");
            Notice::warning(why.reason(), why.message())
        }
    };
    context
        .events
        .publish(notice, issuer.object_ref(&()), now());
}
