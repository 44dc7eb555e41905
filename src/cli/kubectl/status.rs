//! Describes an issuer: what signs, who can sign, how much, and what ends when. Pure.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    explain::limits,
    gather::OfIssuer,
    pages::{ReasonPage, of_reason},
    read::{Gap, Read},
    requests::{RequestState, gaps},
    snapshot::SeenIssuer,
};
use crate::api::issuer::{
    CertificateStatus, CrlStatus, DueWhat, KeyStatus, Reason, RolloverState, TokenStatus,
};

/// The period in which issued certificates are counted.
const RATE_OVER: SignedDuration = SignedDuration::from_hours(1);

/// An issuer as its status, its Leases and its requests show it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct IssuerRecord {
    pub(super) issuer: String,
    /// Whether it can sign.
    pub(super) ready: bool,
    /// Whether the controller has looked at the present specification.
    pub(super) observed: bool,
    /// The token's name in the operator's configuration.
    pub(super) token: String,
    /// The token as it names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) token_found: Option<TokenStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<KeyStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) certificate: Option<CertificateStatus>,
    /// When a signature of the key last verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_signature: Option<Timestamp>,
    /// Namespace of the controller that answers it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) installation: Option<String>,
    /// The replicas of that controller; left out if they could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) replicas: Option<Vec<ReplicaRecord>>,
    pub(super) rates: RatesRecord,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) crl: Option<CrlStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollover: Option<RolloverState>,
    /// What ends or is due, the earliest first.
    pub(super) ends: Vec<EndRecord>,
    pub(super) conditions: Vec<ConditionRecord>,
    /// What could not be read.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) unknown: Vec<Gap>,
}

/// A replica of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplicaRecord {
    pub(super) name: String,
    /// Whether its Lease is valid, if the clocks agree.
    pub(super) live: bool,
    /// Whether it can sign with the issuer's token.
    pub(super) signs: bool,
    pub(super) renewed: Timestamp,
}

/// How much the issuer signs, and may sign. Counts are of the requests that could be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RatesRecord {
    pub(super) issued_in_last_hour: usize,
    pub(super) failed_in_last_hour: usize,
    pub(super) waiting: usize,
    /// The limits of its specification in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<String>,
}

/// Something that ends or is due.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct EndRecord {
    pub(super) what: String,
    pub(super) at: Timestamp,
    /// Whether that has passed.
    pub(super) over: bool,
}

/// A condition with what the documentation says about its reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConditionRecord {
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) status: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) since: Timestamp,
    #[serde(flatten)]
    pub(super) page: Option<ReasonPage>,
}

/// Describes an issuer at this time.
pub(super) fn of(issuer: &SeenIssuer, read: &OfIssuer, now: Timestamp) -> IssuerRecord {
    let SeenIssuer {
        name, spec, status, ..
    } = issuer;
    let replicas = read.replicas.as_ref().and_then(Read::found);
    let replicas = replicas.map(|all| {
        let record = |one: &crate::ownership::ListedReplica| ReplicaRecord {
            name: one.identity.clone(),
            live: one.is_live(now),
            signs: one.tokens.contains(&spec.token),
            renewed: one.renewed,
        };
        all.iter().map(record).collect()
    });
    IssuerRecord {
        issuer: name.to_string(),
        ready: issuer.is_ready(),
        observed: issuer.is_looked_at(),
        token: spec.token.clone(),
        token_found: status.token.clone(),
        key: status.key.clone(),
        certificate: status.certificate.clone(),
        last_signature: status.last_signature.as_ref().map(|at| at.0),
        installation: status.installation.clone(),
        replicas,
        rates: rates(issuer, read, now),
        crl: status.crl.clone(),
        rollover: status.rollover.as_ref().map(|rollover| rollover.state),
        ends: ends(issuer, now),
        conditions: conditions(issuer),
        unknown: gaps(read),
    }
}

fn rates(issuer: &SeenIssuer, read: &OfIssuer, now: Timestamp) -> RatesRecord {
    let recent = |wanted| {
        let of = |one: &&super::snapshot::SeenRequest| {
            RequestState::of(one) == wanted
                && one
                    .changed
                    .or(one.created)
                    .is_some_and(|at| now.duration_since(at) <= RATE_OVER)
        };
        read.requests.iter().filter(of).count()
    };
    let waits =
        |one: &&super::snapshot::SeenRequest| RequestState::of(one) == RequestState::Waiting;
    RatesRecord {
        issued_in_last_hour: recent(RequestState::Issued),
        failed_in_last_hour: recent(RequestState::Failed),
        waiting: read.requests.iter().filter(waits).count(),
        limits: limits(issuer),
    }
}

fn ends(issuer: &SeenIssuer, now: Timestamp) -> Vec<EndRecord> {
    let status = &issuer.status;
    let mut all = Vec::new();
    let mut add = |what: &str, at: Option<Timestamp>| {
        all.extend(at.map(|at| EndRecord {
            what: what.to_owned(),
            at,
            over: at <= now,
        }));
    };
    let certificate = status.certificate.as_ref();
    let time =
        |at: Option<&k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| at.map(|at| at.0);
    add(
        "the issuing certificate ends",
        time(certificate.and_then(|one| one.not_after.as_ref())),
    );
    add(
        "a certificate above it ends",
        time(certificate.and_then(|one| one.chain_not_after.as_ref())),
    );
    if let Some(crl) = &status.crl {
        add("the next CRL is made", Some(crl.next_due.0));
        add("the present CRL ends", Some(crl.next_update.0));
    }
    if let Some(due) = &status.next_due {
        let what = match due.what {
            DueWhat::RenewCertificate => "people must have the CA certificate renewed",
            DueWhat::Switch => "the controller switches to the next key",
            DueWhat::EndOfRollover => "the rollover is complete",
        };
        add(what, Some(due.at.0));
    }
    for retiring in &status.retiring {
        add(
            &format!("the former CA {} is published no more", retiring.subject),
            Some(retiring.until.0),
        );
    }
    all.sort_by_key(|one| one.at);
    all
}

fn conditions(issuer: &SeenIssuer) -> Vec<ConditionRecord> {
    let all = issuer.status.conditions.iter();
    all.map(|condition| ConditionRecord {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        since: condition.last_transition_time.0,
        page: Reason::named(&condition.reason).and_then(of_reason),
    })
    .collect()
}
