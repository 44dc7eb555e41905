//! The collector that traces go to: by our flag, or by OpenTelemetry's own environment variables.

use std::{path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use kube::client::ConfigExt as _;
use opentelemetry_http::{HttpClient, hyper::HyperClient};

use crate::trace::Collector;

/// Time limit for one call of the collector: OpenTelemetry's default.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The collector of the flag `endpoint`, else of the environment; `None` if neither names one, or if the environment turns
/// traces off. `variable` returns the value of an environment variable.
///
/// # Errors
/// The URL or a file with certificates is not usable.
pub(super) fn collector(
    endpoint: Option<&str>,
    variable: impl Fn(&str) -> Option<String>,
    replica: &str,
    version: &'static str,
) -> anyhow::Result<Option<Collector>> {
    let variable = |name: &str| variable(name).filter(|value| !value.is_empty());
    let Some(endpoint) = receiver(endpoint, &variable) else {
        return Ok(None);
    };
    let client = client(&endpoint, &variable)
        .with_context(|| format!("the collector of traces {endpoint} cannot be used"))?;
    Ok(Some(Collector {
        endpoint,
        client,
        service: variable("OTEL_SERVICE_NAME"),
        replica: replica.to_owned(),
        version,
    }))
}

/// Returns the URL of the collector's receiver for traces.
fn receiver(flag: Option<&str>, variable: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let below = |base: &str| format!("{}/v1/traces", base.trim_end_matches('/'));
    if let Some(base) = flag {
        return Some(below(base));
    }
    let says =
        |name, value: &str| variable(name).is_some_and(|found| found.eq_ignore_ascii_case(value));
    if says("OTEL_SDK_DISABLED", "true") || says("OTEL_TRACES_EXPORTER", "none") {
        return None;
    }
    // The variable for traces has the whole URL.
    variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        .or_else(|| variable("OTEL_EXPORTER_OTLP_ENDPOINT").map(|base| below(&base)))
}

fn client(
    endpoint: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Arc<dyn HttpClient>> {
    let uri: Uri = endpoint.parse().context("it is not a URL")?;
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(ANSWER_WITHIN));
    match uri.scheme_str() {
        Some("http") => Ok(Arc::new(HyperClient::new(tcp, ANSWER_WITHIN, None))),
        Some("https") => {
            tcp.enforce_http(false);
            let file = |name: &str| {
                let of_traces = format!("OTEL_EXPORTER_OTLP_TRACES_{name}");
                variable(&of_traces).or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
            };
            // kube's TLS settings, as for the API server: the same library, with the roots of the system or of a file.
            let mut settings = kube::Config::new(uri);
            settings.root_cert_file = file("CERTIFICATE").map(PathBuf::from);
            settings.auth_info.client_certificate = file("CLIENT_CERTIFICATE");
            settings.auth_info.client_key = file("CLIENT_KEY");
            let tls = settings.rustls_client_config()?;
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls)
                .https_only()
                .enable_all_versions()
                .wrap_connector(tcp);
            Ok(Arc::new(HyperClient::new(connector, ANSWER_WITHIN, None)))
        }
        _ => anyhow::bail!("its scheme is neither http nor https"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(flag: Option<&str>, environment: &[(&str, &str)]) -> Option<String> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        receiver(flag, &variable)
    }

    const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://base:4318/");
    const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://traces/in");

    #[test]
    fn the_flag_comes_before_the_variable_of_traces_and_that_before_the_common_one() {
        let url = |url: &str| Some(url.to_owned());
        assert_eq!(found(None, &[]), None);
        assert_eq!(found(None, &[BASE]), url("http://base:4318/v1/traces"));
        assert_eq!(found(None, &[BASE, TRACES]), url("http://traces/in"));
        assert_eq!(
            found(Some("http://flag:4318"), &[BASE, TRACES]),
            url("http://flag:4318/v1/traces")
        );
    }

    #[test]
    fn the_environment_can_turn_off_traces_that_only_it_turns_on() {
        for off in [
            ("OTEL_SDK_DISABLED", "TRUE"),
            ("OTEL_TRACES_EXPORTER", "none"),
        ] {
            assert_eq!(found(None, &[BASE, off]), None);
            assert!(found(Some("http://flag"), &[off]).is_some());
        }
    }

    #[test]
    fn only_http_and_https_are_spoken() {
        let collector = |url| collector(Some(url), |_| None, "a", "0.1.0");
        assert!(collector("http://collector:4318").unwrap().is_some());
        assert!(collector("https://collector:4318").unwrap().is_some());
        let error = collector("grpc://collector:4317").unwrap_err();
        assert_eq!(
            format!("{error:#}"),
            "the collector of traces grpc://collector:4317/v1/traces cannot be used: its scheme is neither http nor https"
        );
    }
}
