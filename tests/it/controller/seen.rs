//! What an engineer on call sees of a request: its spans, its log lines, its lines in the issuance log, and the state.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use control_plane::{OtelCollector, until};
use rig::{Options, PATIENCE, Rig};
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use super::own_rig_of;

/// A rig whose controller sends its spans to a real collector and serves its state.
pub(super) struct Seen {
    // Dropped in this order.
    pub(super) rig: Rig,
    collector: OtelCollector,
    _folder: TempDir,
}

impl Seen {
    pub(super) async fn start(args: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let collector = OtelCollector::start(folder.path()).await?;
        let seen = [
            "--otlp-endpoint",
            collector.endpoint(),
            "--debug-address",
            "0",
        ];
        let args = [args, &seen].concat();
        let mut variables = collector.variables();
        variables.push((
            "OTEL_RESOURCE_ATTRIBUTES".to_owned(),
            "k8s.cluster.name=test".to_owned(),
        ));
        let options = Options {
            controller_args: args.into_iter().map(str::to_owned).collect(),
            controller_env: variables,
            ..Options::default()
        };
        Ok(Self {
            rig: own_rig_of(options).await?,
            collector,
            _folder: folder,
        })
    }

    /// Waits until the collector has the root span of a request, and returns its spans in the order in which they began.
    pub(super) async fn spans(&self, uid: &str) -> Result<Vec<Value>> {
        let trace = uid.replace('-', "");
        until("the root span of the request", PATIENCE, async || {
            let mut spans = self.collector.spans()?;
            spans.retain(|span| span["traceId"] == trace.as_str());
            spans.sort_by_key(|span| (began(span), u64::MAX - ended(span)));
            let is_whole = spans.iter().any(|span| span["name"] == "request");
            Ok(is_whole.then_some(spans))
        })
        .await
    }

    /// Returns the attributes by which the controller names itself to the collector.
    pub(super) fn sender(&self) -> Result<Value> {
        let mut attributes = attributes(&self.collector.resource()?);
        // The version of the library.
        attributes.remove("telemetry.sdk.version");
        Ok(attributes.into())
    }

    /// Returns the log lines that have this text, as objects without time and target.
    pub(super) fn logged(&self, text: &str) -> Result<Vec<Value>> {
        let log = self.rig.controller().process().log()?;
        let lines = log.lines().filter(|line| line.contains(text));
        let parse = |line| {
            let mut line: Value = serde_json::from_str(line)?;
            let fields = line.as_object_mut().context("a line is an object")?;
            fields.remove("timestamp");
            fields.remove("target");
            Ok(line)
        };
        lines.map(parse).collect()
    }

    /// Returns all log lines, without those about the state of this machine.
    pub(super) fn lines(&self) -> Result<Vec<Value>> {
        let mut lines = self.logged("")?;
        // A busy API server that has just started may have forgotten the version at which a watch begins.
        lines.retain(|line| !line.to_string().contains("too old resource version"));
        Ok(lines)
    }

    /// Returns `/debug/state`. Times and other numbers that differ from run to run are replaced by their types.
    pub(super) async fn state(&self) -> Result<Value> {
        let mut state = self.rig.controller().state().await?;
        for volatile in [
            "/time",
            "/process/started",
            "/process/commit",
            "/process/version",
            "/queues/0/queue/window",
            "/queues/1/queue/window",
            "/tokens/shown/0/token/firmware",
            "/tokens/shown/0/turns/credit",
            "/issuers/shown/0/uid",
            "/issuers/shown/0/message",
        ] {
            let value = state.pointer_mut(volatile);
            let value = value.with_context(|| format!("the state has no {volatile}"))?;
            *value = json!(if value.is_number() { "number" } else { "text" });
        }
        Ok(state)
    }

    /// Fails if the spans, the log or the state contain a certificate, a key or the PIN.
    pub(super) async fn tells_no_secret(&self) -> Result<()> {
        let controller = self.rig.controller();
        let all = [
            self.collector.text()?,
            controller.process().log()?,
            controller.state().await?.to_string(),
        ];
        let pin = self.rig.authority().token().user_pin();
        for text in all {
            assert!(!text.is_empty());
            for secret in ["-----BEGIN", "MII", pin] {
                assert!(!text.contains(secret), "{secret}: {text}");
            }
        }
        Ok(())
    }
}

fn nanos(span: &Value, field: &str) -> u64 {
    let text = span[field].as_str().unwrap_or_default();
    text.parse().unwrap_or_default()
}

/// Returns when a span began, in nanoseconds since 1970.
pub(super) fn began(span: &Value) -> u64 {
    nanos(span, "startTimeUnixNano")
}

/// Returns when a span ended, in nanoseconds since 1970.
pub(super) fn ended(span: &Value) -> u64 {
    nanos(span, "endTimeUnixNano")
}

/// Returns the spans without IDs and times, as a tree: the root with its stages. Fails if a stage has another parent or is
/// not within the root.
pub(super) fn tree(spans: &[Value]) -> Result<Value> {
    let root = spans.iter().find(|span| span["name"] == "request");
    let root = root.context("no root span")?;
    assert_eq!(root["parentSpanId"], Value::Null);
    let mut stages = Vec::new();
    for span in spans.iter().filter(|span| span["spanId"] != root["spanId"]) {
        assert_eq!(span["parentSpanId"], root["spanId"]);
        assert_eq!(span["traceId"], root["traceId"]);
        assert!(began(root) <= began(span), "{root} {span}");
        assert!(began(span) <= ended(span), "{span}");
        assert!(ended(span) <= ended(root), "{root} {span}");
        stages.push(shape(span));
    }
    let mut tree = shape(root);
    tree["stages"] = stages.into();
    Ok(tree)
}

/// Returns the attributes of a span or of a sender. All are texts.
pub(super) fn attributes(of: &Value) -> Map<String, Value> {
    let attributes = of["attributes"].as_array().into_iter().flatten();
    attributes
        .map(|attribute| {
            let name = attribute["key"].as_str().unwrap_or_default();
            (name.to_owned(), attribute["value"]["stringValue"].clone())
        })
        .collect()
}

fn shape(span: &Value) -> Value {
    let known: BTreeMap<_, _> = [
        ("name", span["name"].clone()),
        // 1 is internal, 3 is a client.
        ("kind", span["kind"].clone()),
        ("status", span["status"].clone()),
        ("attributes", attributes(span).into()),
    ]
    .into();
    json!(known)
}
