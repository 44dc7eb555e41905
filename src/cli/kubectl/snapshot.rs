//! What was read of a request and of everything that its answer depends on. Every decision is made from these values alone.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::{
    api::{certificates::v1::CertificateSigningRequest, events::v1::Event},
    apimachinery::pkg::apis::meta::v1::Condition,
};

use super::read::{Gap, Read};
use crate::{
    api::{
        IssuerName,
        certificate::Certificate,
        certificate_request::{CertificateRequest, IssuerRef, condition_type},
        issuer::{IssuerKind, IssuerSpec, IssuerStatus, Reason, condition_type::READY},
    },
    audit::RequestKind,
    issuance::presented::PresentedCertificate,
    ownership::ListedReplica,
    reconcile::{CONTROLLER, Progress, Request, Stage, issuer_name},
};

/// A request for a certificate, of any kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeenRequest {
    pub(super) kind: RequestKind,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    pub(super) created: Option<Timestamp>,
    /// The issuer, if it is one of ours.
    pub(super) issuer: Option<IssuerName>,
    /// What the request names as its issuer.
    pub(super) names: String,
    pub(super) stage: Stage,
    /// The message of the condition that tells how far it is.
    pub(super) message: Option<String>,
    /// What the approver said.
    pub(super) judged: Option<String>,
    /// Name of the Certificate that it was made for.
    pub(super) certificate: Option<String>,
    /// When the issued certificate ends.
    pub(super) ends: Option<Timestamp>,
    /// Its serial number in hexadecimal.
    pub(super) serial: Option<String>,
    /// When its status last changed, for the order of lists.
    pub(super) changed: Option<Timestamp>,
}

impl SeenRequest {
    /// Reads cert-manager's kind.
    pub(super) fn of_certificate_request(request: &CertificateRequest) -> Self {
        let status = request.status.as_ref();
        let message = |type_| status.and_then(|status| status.condition(type_)?.message.clone());
        let stage = request.stage(true);
        let ready = status.and_then(|status| status.condition(condition_type::READY));
        let changed = ready.and_then(|ready| ready.last_transition_time.as_ref()?.parse().ok());
        Self {
            message: match stage.invalid {
                true => message(condition_type::INVALID_REQUEST),
                false => message(condition_type::READY),
            },
            judged: message(condition_type::DENIED),
            changed,
            ..Self::of(request, named(&request.spec.issuer_ref), stage)
        }
    }

    /// Reads Kubernetes' kind.
    pub(super) fn of_signing_request(request: &CertificateSigningRequest) -> Self {
        let conditions = request.status.as_ref();
        let conditions = conditions.and_then(|status| status.conditions.as_ref());
        let find = |type_| conditions.and_then(|all| all.iter().find(|one| one.type_ == type_));
        let failed = find("Failed");
        Self {
            message: failed.and_then(|failed| failed.message.clone()),
            judged: find("Denied").and_then(|denied| denied.message.clone()),
            changed: failed.and_then(|failed| Some(failed.last_transition_time.as_ref()?.0)),
            ..Self::of(
                request,
                format!("signer {}", request.spec.signer_name),
                request.stage(true),
            )
        }
    }

    /// Reads a request of the kubelet for a pod, in either version of the kind.
    pub(super) fn of_pod_request<R: Request>(
        request: &R,
        signer: &str,
        conditions: Option<&[Condition]>,
    ) -> Self {
        // It has one condition at most.
        let condition = conditions.and_then(<[_]>::first);
        let ended = condition.filter(|condition| condition.type_ != "Issued");
        Self {
            message: ended.map(|ended| ended.message.clone()),
            changed: condition.map(|condition| condition.last_transition_time.0),
            ..Self::of(request, format!("signer {signer}"), request.stage(true))
        }
    }

    fn of<R: Request>(request: &R, names: String, stage: Stage) -> Self {
        let meta = request.meta();
        let certificate = request.certificate();
        let read = certificate.and_then(|pem| PresentedCertificate::parse_pem(pem).ok());
        Self {
            kind: R::KIND,
            namespace: meta.namespace.clone(),
            name: meta.name.clone().unwrap_or_default(),
            created: meta.creation_timestamp.as_ref().map(|time| time.0),
            issuer: request.issuer(),
            names,
            stage,
            message: None,
            judged: None,
            certificate: request.certificate_name().map(str::to_owned),
            ends: read.as_ref().map(PresentedCertificate::not_after),
            serial: read.map(|read| read.serial().to_string()),
            changed: None,
        }
    }

    /// Returns whether it is cert-manager's kind.
    pub(super) fn is_certificate_request(&self) -> bool {
        self.kind == RequestKind::CertificateRequest
    }

    /// Returns whether it ended without a certificate by its issuer: it failed or, for a pod, which has no approver, was denied.
    pub(super) fn has_failed(&self) -> bool {
        match self.stage.progress {
            Progress::Failed => true,
            Progress::Denied => self.kind == RequestKind::PodCertificateRequest,
            Progress::Open | Progress::Issued => false,
        }
    }

    /// Returns the request as our commands take it.
    pub(super) fn target(&self) -> String {
        let name = word(&self.name);
        match self.kind {
            RequestKind::CertificateSigningRequest => format!("csr/{name}"),
            RequestKind::PodCertificateRequest => format!("pcr/{name}"),
            RequestKind::CertificateRequest | RequestKind::File => name,
        }
    }

    /// Returns the flags that select its namespace, with a leading blank.
    pub(super) fn in_namespace(&self) -> String {
        let namespace = self.namespace.as_ref();
        namespace.map_or_else(String::new, |namespace| format!(" -n {}", word(namespace)))
    }
}

impl fmt::Display for SeenRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind.as_str(), self.name),
            None => write!(f, "{} {}", self.kind.as_str(), self.name),
        }
    }
}

/// Returns an `issuerRef` in words. Empty parts mean cert-manager's own issuers.
pub(super) fn named(reference: &IssuerRef) -> String {
    let or = |text: &str, default: &str| match text.is_empty() {
        true => default.to_owned(),
        false => text.to_owned(),
    };
    let IssuerRef { name, kind, group } = reference;
    format!(
        "{} {name} of the group {}",
        or(kind, "Issuer"),
        or(group, "cert-manager.io")
    )
}

/// An issuer of either kind.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeenIssuer {
    pub(super) name: IssuerName,
    pub(super) generation: Option<i64>,
    pub(super) spec: IssuerSpec,
    pub(super) status: IssuerStatus,
}

impl SeenIssuer {
    /// Reads an issuer.
    pub(super) fn of<K: IssuerKind>(issuer: &K) -> Self {
        let meta = issuer.meta();
        Self {
            name: IssuerName {
                namespace: meta.namespace.clone(),
                name: meta.name.clone().unwrap_or_default(),
            },
            generation: meta.generation,
            spec: issuer.issuer_spec().clone(),
            status: issuer.issuer_status().cloned().unwrap_or_default(),
        }
    }

    /// Returns whether the controller has looked at the present specification.
    pub(super) fn is_looked_at(&self) -> bool {
        self.status.observed_generation == self.generation
    }

    /// Returns whether it can sign, by its status.
    pub(super) fn is_ready(&self) -> bool {
        let ready = self.status.condition(READY);
        self.is_looked_at() && ready.is_some_and(|ready| ready.status == "True")
    }

    /// Returns reason and message of the condition `Ready`.
    pub(super) fn ready(&self) -> Option<(Option<Reason>, &str)> {
        let ready = self.status.condition(READY)?;
        Some((Reason::named(&ready.reason), &ready.message))
    }

    /// Returns `kind.group/name` and the flags for its namespace, as kubectl takes them.
    pub(super) fn for_kubectl(name: &IssuerName) -> String {
        let kind = name.kind().to_lowercase();
        let namespace = name.namespace.as_ref();
        let namespace = namespace.map(|namespace| format!(" -n {}", word(namespace)));
        format!(
            "{kind}/{}{}",
            word(&name.name),
            namespace.unwrap_or_default()
        )
    }
}

/// An Event of the controller about a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SeenEvent {
    pub(super) reason: String,
    pub(super) note: String,
    pub(super) at: Timestamp,
    /// Kind, namespace and name of the object.
    pub(super) about: (String, Option<String>, String),
}

impl SeenEvent {
    /// Reads an Event; `None` if somebody else wrote it.
    pub(super) fn of(event: &Event) -> Option<Self> {
        if event.reporting_controller.as_deref() != Some(CONTROLLER) {
            return None;
        }
        let about = event.regarding.as_ref()?;
        Some(Self {
            reason: event.reason.clone()?,
            note: event.note.clone().unwrap_or_default(),
            at: event.event_time.as_ref()?.0,
            about: (
                about.kind.clone()?,
                about
                    .namespace
                    .clone()
                    .filter(|namespace| !namespace.is_empty()),
                about.name.clone()?,
            ),
        })
    }
}

/// A Certificate of cert-manager, as far as it tells what happens to its requests.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SeenCertificate {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) issuer: Option<IssuerName>,
    /// What it names as its issuer.
    pub(super) names: String,
    pub(super) is_issuing: bool,
    /// Whether the last issuance failed, so that cert-manager pauses.
    pub(super) has_failed: bool,
    /// Message of its condition `Ready`, if it is not ready.
    pub(super) not_ready: Option<String>,
    /// The end of the certificate in the Secret.
    pub(super) ends: Option<Timestamp>,
    /// When cert-manager will renew it.
    pub(super) renews: Option<Timestamp>,
}

impl SeenCertificate {
    /// Reads a Certificate.
    pub(super) fn of(certificate: &Certificate) -> Self {
        let namespace = certificate.metadata.namespace.clone().unwrap_or_default();
        let status = certificate.status.as_ref();
        let time = |name| {
            let time = status.and_then(|status| status.others.get(name)?.as_str());
            time.and_then(|time| time.parse().ok())
        };
        let ready = status.and_then(|status| {
            let mut conditions = status.conditions.iter();
            conditions.find(|condition| condition.type_ == condition_type::READY)
        });
        let not_ready = ready.filter(|ready| ready.status != "True");
        let reference = &certificate.spec.issuer_ref;
        Self {
            issuer: issuer_name(reference, Some(namespace.clone())),
            names: named(reference),
            namespace,
            name: certificate.metadata.name.clone().unwrap_or_default(),
            is_issuing: certificate.is_issuing(),
            has_failed: certificate.has_failed(),
            not_ready: not_ready.and_then(|ready| ready.message.clone()),
            ends: time("notAfter"),
            renews: time("renewalTime"),
        }
    }
}

/// Everything that was read to explain one request.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// The Certificate that asks; `None` if the request was not made for one.
    pub(super) certificate: Option<Read<SeenCertificate>>,
    /// The request; `Missing` if the Certificate has none.
    pub(super) request: Read<SeenRequest>,
    /// The issuer that the request names, if it is one of ours.
    pub(super) issuer: Option<Read<SeenIssuer>>,
    /// Events about the request, the newest first.
    pub(super) events: Read<Vec<SeenEvent>>,
    /// The replicas of the installation that answers the issuer; `None` if it is not known which does.
    pub(super) replicas: Option<Read<Vec<ListedReplica>>>,
}

impl Snapshot {
    /// Returns everything that could not be read.
    pub(super) fn gaps(&self) -> Vec<Gap> {
        let certificate = self.certificate.as_ref().and_then(Read::gap);
        let issuer = self.issuer.as_ref().and_then(Read::gap);
        let replicas = self.replicas.as_ref().and_then(Read::gap);
        let all = [
            certificate,
            self.request.gap(),
            issuer,
            self.events.gap(),
            replicas,
        ];
        all.into_iter().flatten().cloned().collect()
    }
}

/// Returns a text as one word of a shell, quoted if it has to be. Others choose the names of objects, and people paste what is
/// printed.
pub(super) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) && !text.starts_with('-') {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_a_shell_would_act_on_is_quoted() {
        for (text, expected) in [
            ("web-1.shop", "web-1.shop"),
            ("$(reboot)", "'$(reboot)'"),
            ("a'b; c", r"'a'\''b; c'"),
            ("--all", "'--all'"),
            ("", "''"),
        ] {
            assert_eq!(word(text), expected);
        }
    }

    #[test]
    fn a_gap_names_the_missing_right_and_what_is_unknown() {
        let gap = Gap {
            part: "which replicas live".to_owned(),
            verb: "list",
            resource: "leases.coordination.k8s.io".to_owned(),
            namespace: Some("pki".to_owned()),
            error: None,
        };
        assert_eq!(
            gap.to_string(),
            "which replicas live: you may not list leases.coordination.k8s.io in namespace pki"
        );
    }
}
