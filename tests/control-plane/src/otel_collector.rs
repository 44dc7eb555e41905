//! Runs an OpenTelemetry Collector.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::authority::{Authority, Pair};
use crate::ports::{free_ports, retry_on_taken_port};
use crate::process::{Process, Program};
use crate::tools::Tools;

const SET: &str = "otel-collector";
const READY: Duration = Duration::from_secs(60);

/// A running collector with an OTLP receiver for HTTPS, which requires a client certificate and keeps all spans it receives.
/// Dropping it ends the process.
#[derive(Debug)]
pub struct OtelCollector {
    process: Process,
    endpoint: String,
    folder: PathBuf,
}

impl OtelCollector {
    /// Starts a collector that keeps its files in `folder`, and waits until it accepts spans.
    ///
    /// # Errors
    ///
    /// When the program is not built, or does not start within a minute.
    pub async fn start(folder: &Path) -> Result<Self> {
        let program = Tools::of(SET)?.program(SET)?;
        let authority = Authority::new()?;
        let write = |name: &str, text: &str| {
            fs::write(folder.join(name), text).with_context(|| format!("write {name}"))
        };
        write("ca.crt", &authority.certificate())?;
        for (name, pair) in [
            ("server", authority.server(SET)?),
            ("client", authority.client("controller", None, None)?),
        ] {
            let Pair { certificate, key } = pair;
            write(&format!("{name}.crt"), &certificate)?;
            write(&format!("{name}.key"), &key)?;
        }
        retry_on_taken_port(|| Self::on_free_port(&program, folder)).await
    }

    async fn on_free_port(program: &Path, folder: &Path) -> Result<Self> {
        let [port] = free_ports()?;
        let shown = folder.display();
        let http = "receivers::otlp::protocols::http";
        let settings = [
            format!("{http}::endpoint: 127.0.0.1:{port}"),
            format!("{http}::tls::cert_file: {shown}/server.crt"),
            format!("{http}::tls::key_file: {shown}/server.key"),
            format!("{http}::tls::client_ca_file: {shown}/ca.crt"),
            format!("exporters::lines::path: {shown}/spans"),
            "service::pipelines::traces::receivers: [otlp]".to_owned(),
            "service::pipelines::traces::exporters: [lines]".to_owned(),
            "service::telemetry::metrics::level: none".to_owned(),
        ];
        let settings = settings.map(|setting| format!("--config=yaml:{setting}"));
        let process = Process::start(SET, Program::new(program).args(settings), folder)?;
        process.line("Everything is ready", READY).await?;
        Ok(Self {
            process,
            endpoint: format!("https://127.0.0.1:{port}"),
            folder: folder.to_owned(),
        })
    }

    /// Returns the process, for its log and its exit status.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Returns the URL of the receiver, without a path.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns OpenTelemetry's environment variables for the receiver's CA and for a client certificate.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variable = |name: &str, file: &str| {
            let path = self.folder.join(file).display().to_string();
            (format!("OTEL_EXPORTER_OTLP_{name}"), path)
        };
        vec![
            variable("CERTIFICATE", "ca.crt"),
            variable("CLIENT_CERTIFICATE", "client.crt"),
            variable("CLIENT_KEY", "client.key"),
        ]
    }

    /// Returns all messages so far, one per line, as OTLP/JSON.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn text(&self) -> Result<String> {
        let file = self.folder.join("spans");
        fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))
    }

    /// Returns the resource of the last message, which describes its sender, as OTLP/JSON.
    ///
    /// # Errors
    ///
    /// When there is no message, the file cannot be read, or a line is not JSON.
    pub fn resource(&self) -> Result<Value> {
        let text = self.text()?;
        let line = text.lines().last().context("no message")?;
        let message: Value = serde_json::from_str(line).context("parse OTLP/JSON")?;
        let resource = message.pointer("/resourceSpans/0/resource");
        Ok(resource.context("no resource")?.clone())
    }

    /// Returns all spans so far, in the order of their arrival, as OTLP/JSON.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or a line is not JSON.
    pub fn spans(&self) -> Result<Vec<Value>> {
        let text = self.text()?;
        // Leaves out a line that is still being written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut spans = Vec::new();
        for line in whole.lines() {
            let message: Value = serde_json::from_str(line).context("parse OTLP/JSON")?;
            for resource in all(&message, "resourceSpans") {
                for scope in all(resource, "scopeSpans") {
                    spans.extend(all(scope, "spans").cloned());
                }
            }
        }
        Ok(spans)
    }
}

fn all<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object
        .get(field)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}
