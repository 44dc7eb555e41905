//! Makes spans, as OpenTelemetry defines them, of the record of a look. Pure.

use std::time::{Instant, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanLinks};

use super::{Outcome, Record, Took, TracedCertificate, WorkStage};

/// A look that has ended, with the request that it was at.
#[derive(Clone, Debug)]
pub struct TracedLook<'a> {
    /// Kind of the request.
    pub kind: &'static str,
    /// Name of the request, with its namespace if its kind has one.
    pub request: String,
    /// UID of the request.
    pub uid: &'a str,
    /// The issuer that it names.
    pub issuer: String,
    /// The token of that issuer, if the issuer exists.
    pub token: Option<String>,
    /// When the watch first reported that there was something to do.
    pub since: Instant,
    /// What the look did. The stages before the look are in it, too.
    pub record: Record,
}

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The steady clock.
    pub steady: Instant,
    /// The time of day.
    pub day: SystemTime,
}

impl Clocks {
    fn day_of(self, moment: Instant) -> SystemTime {
        let before = self.steady.saturating_duration_since(moment);
        self.day.checked_sub(before).unwrap_or(self.day)
    }
}

/// Returns the spans of a look: one for each stage and, if the request has ended, the root. `next_id` returns a new ID each time.
pub(super) fn spans(
    look: TracedLook<'_>,
    clocks: Clocks,
    scope: &InstrumentationScope,
    mut next_id: impl FnMut() -> SpanId,
) -> Vec<SpanData> {
    let TracedLook {
        kind,
        request,
        uid,
        issuer,
        token,
        since,
        record,
    } = look;
    let (trace, root) = ids(uid);
    let common = [
        KeyValue::new("request", request),
        KeyValue::new("uid", uid.to_owned()),
    ];
    let span = |id, parent, name, (began, ended)| SpanData {
        span_context: SpanContext::new(trace, id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent,
        parent_span_is_remote: false,
        span_kind: SpanKind::Internal,
        name,
        start_time: clocks.day_of(began),
        end_time: clocks.day_of(ended),
        attributes: common.to_vec(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: Status::Unset,
        instrumentation_scope: scope.clone(),
    };
    let stages = record.stages.iter();
    let mut spans: Vec<SpanData> = stages
        .map(|took| {
            let Took {
                stage,
                began,
                ended,
                failed,
            } = *took;
            let mut span = span(next_id(), root, stage.name().into(), (began, ended));
            span.span_kind = kind_of(stage);
            if failed {
                span.status = Status::error("");
            }
            span
        })
        .collect();
    let Some(outcome) = record.outcome else {
        return spans;
    };
    let end = record.stages.iter().map(|took| took.ended).max();
    let end = end.unwrap_or(clocks.steady);
    let mut whole = span(root, SpanId::INVALID, "request".into(), (since, end));
    let Told {
        outcome,
        slug,
        certificate,
    } = told(outcome);
    if let Some(slug) = slug {
        whole.status = Status::error(slug);
    }
    let (serial, signed_by) = certificate.map_or((None, None), |certificate| {
        (
            Some(certificate.serial),
            Some(certificate.token.to_string()),
        )
    });
    let told = [
        ("kind", Some(kind.to_owned())),
        ("issuer", Some(issuer)),
        ("token", signed_by.or(token)),
        ("serial", serial),
        ("outcome", Some(outcome.to_owned())),
        ("slug", slug.map(str::to_owned)),
    ];
    let told = told
        .into_iter()
        .filter_map(|(name, value)| Some(KeyValue::new(name, value?)));
    whole.attributes.extend(told);
    spans.push(whole);
    spans
}

/// Returns the IDs of a request's trace and of its root span: the octets of its UID, and the last eight of them. A UID that is
/// not a UUID is hashed.
fn ids(uid: &str) -> (TraceId, SpanId) {
    let mut trace = [0; 16];
    if hex::decode_to_slice(uid.replace('-', ""), &mut trace).is_err() {
        let hash = digest(&SHA256, uid.as_bytes());
        trace
            .iter_mut()
            .zip(hash.as_ref())
            .for_each(|(octet, hash)| *octet = *hash);
    }
    let [.., a, b, c, d, e, f, g, h] = trace;
    (
        TraceId::from_bytes(trace),
        SpanId::from_bytes([a, b, c, d, e, f, g, h]),
    )
}

fn kind_of(stage: WorkStage) -> SpanKind {
    match stage {
        WorkStage::Wait | WorkStage::Queue | WorkStage::Turn => SpanKind::Internal,
        WorkStage::Check | WorkStage::Serial | WorkStage::Token | WorkStage::Write => {
            SpanKind::Client
        }
    }
}

struct Told {
    outcome: &'static str,
    slug: Option<&'static str>,
    certificate: Option<TracedCertificate>,
}

fn told(outcome: Outcome) -> Told {
    let (outcome, slug, certificate) = match outcome {
        Outcome::Issued(certificate) => ("issued", None, Some(certificate)),
        Outcome::Discarded(certificate, slug) => ("discarded", Some(slug), Some(certificate)),
        Outcome::Refused(slug) => ("refused", Some(slug), None),
        Outcome::Denied => ("denied", None, None),
    };
    Told {
        outcome,
        slug,
        certificate,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const UID: &str = "6f0f9d1e-7c5b-4b7e-9d52-0f0e0d0c0b0a";

    fn look(start: Instant, outcome: Option<Outcome>) -> TracedLook<'static> {
        let took = |stage, from, to| Took {
            stage,
            began: start + Duration::from_millis(from),
            ended: start + Duration::from_millis(to),
            failed: stage == WorkStage::Check,
        };
        TracedLook {
            kind: "CertificateRequest",
            request: "shop/web".to_owned(),
            uid: UID,
            issuer: "ClusterIssuer issuing".to_owned(),
            token: Some("issuing".to_owned()),
            since: start,
            record: Record {
                stages: vec![
                    took(WorkStage::Queue, 0, 10),
                    took(WorkStage::Check, 10, 12),
                    took(WorkStage::Write, 20, 30),
                ],
                outcome,
                idle: false,
            },
        }
    }

    fn made(outcome: Option<Outcome>) -> Vec<SpanData> {
        let start = Instant::now();
        let clocks = Clocks {
            steady: start + Duration::from_millis(50),
            day: SystemTime::UNIX_EPOCH + Duration::from_millis(1050),
        };
        let mut last = 0_u64;
        let next_id = || {
            last += 1;
            SpanId::from(last)
        };
        let scope = InstrumentationScope::builder("test").build();
        spans(look(start, outcome), clocks, &scope, next_id)
    }

    fn shown(span: &SpanData) -> String {
        let millis = |time: SystemTime| {
            let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
            since.as_millis()
        };
        let attributes = span.attributes.iter();
        let attributes: Vec<_> = attributes
            .map(|attribute| format!("{}={}", attribute.key, attribute.value))
            .collect();
        format!(
            "{}/{} below {} {} {}-{} {:?} {:?} {}",
            span.span_context.trace_id(),
            span.span_context.span_id(),
            span.parent_span_id,
            span.name,
            millis(span.start_time),
            millis(span.end_time),
            span.span_kind,
            span.status,
            attributes.join(" "),
        )
    }

    #[test]
    fn the_trace_of_a_request_has_its_uid_and_a_root_once_it_has_ended() {
        let stages = [
            "6f0f9d1e7c5b4b7e9d520f0e0d0c0b0a/0000000000000001 below 9d520f0e0d0c0b0a queue 1000-1010 Internal Unset request=shop/web uid=6f0f9d1e-7c5b-4b7e-9d52-0f0e0d0c0b0a",
            "6f0f9d1e7c5b4b7e9d520f0e0d0c0b0a/0000000000000002 below 9d520f0e0d0c0b0a check 1010-1012 Client Error { description: \"\" } request=shop/web uid=6f0f9d1e-7c5b-4b7e-9d52-0f0e0d0c0b0a",
            "6f0f9d1e7c5b4b7e9d520f0e0d0c0b0a/0000000000000003 below 9d520f0e0d0c0b0a write 1020-1030 Client Unset request=shop/web uid=6f0f9d1e-7c5b-4b7e-9d52-0f0e0d0c0b0a",
        ];
        let waiting: Vec<_> = made(None).iter().map(shown).collect();
        assert_eq!(waiting, stages);
        let certificate = TracedCertificate {
            serial: "2a".to_owned(),
            token: "spare".into(),
        };
        let issued: Vec<_> = made(Some(Outcome::Issued(certificate)))
            .iter()
            .map(shown)
            .collect();
        let root = "6f0f9d1e7c5b4b7e9d520f0e0d0c0b0a/9d520f0e0d0c0b0a below 0000000000000000 request 1000-1030 Internal Unset request=shop/web uid=6f0f9d1e-7c5b-4b7e-9d52-0f0e0d0c0b0a kind=CertificateRequest issuer=ClusterIssuer issuing token=spare serial=2a outcome=issued";
        assert_eq!(issued[..3], stages);
        assert_eq!(issued[3..], [root]);
    }

    #[test]
    fn the_root_names_the_slug_of_a_refusal_and_counts_as_failed() {
        let spans = made(Some(Outcome::Refused("bad-san")));
        assert_eq!(
            shown(spans.last().unwrap()),
            "6f0f9d1e7c5b4b7e9d520f0e0d0c0b0a/9d520f0e0d0c0b0a below 0000000000000000 request 1000-1030 Internal Error { description: \"bad-san\" } request=shop/web uid=6f0f9d1e-7c5b-4b7e-9d52-0f0e0d0c0b0a kind=CertificateRequest issuer=ClusterIssuer issuing token=issuing outcome=refused slug=bad-san"
        );
    }

    #[test]
    fn a_uid_that_is_no_uuid_still_has_a_trace_of_its_own() {
        let (one, other) = (ids("one"), ids("other"));
        assert_ne!(one, other);
        assert_eq!(ids("one"), one);
    }
}
