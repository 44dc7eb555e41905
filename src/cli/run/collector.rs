//! The collector that traces go to: by our flag, or by OpenTelemetry's own environment variables.

use std::{num::NonZeroU32, path::PathBuf, sync::Arc, time::Duration};

use anyhow::Context as _;
use http::Uri;
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::connect::HttpConnector;
use kube::client::ConfigExt as _;
use opentelemetry_http::{HttpClient, hyper::HyperClient};
use tracing::warn;

use crate::trace::Collector;

/// Time limit for one call of the collector, unless a variable sets another: OpenTelemetry's default.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// Variables for what only has one value here, with that value.
const FIXED: [(&str, &str); 2] = [("PROTOCOL", "http/protobuf"), ("COMPRESSION", "none")];

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
    for (variable, value, used) in unsupported(&variable) {
        warn!(
            variable,
            value, used, "this value of a variable is not supported"
        );
    }
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

/// Returns the name and the value of the variable for traces if it is set, else of the common one.
fn setting(name: &str, variable: &impl Fn(&str) -> Option<String>) -> Option<(String, String)> {
    let names = ["OTEL_EXPORTER_OTLP_TRACES_", "OTEL_EXPORTER_OTLP_"];
    let mut found = names.iter().filter_map(|prefix| {
        let name = format!("{prefix}{name}");
        variable(&name).map(|value| (name, value))
    });
    found.next()
}

/// Returns the variables that want what is not supported: name, value, and the value that is used instead.
fn unsupported(variable: &impl Fn(&str) -> Option<String>) -> Vec<(String, String, &'static str)> {
    let wanted = FIXED.iter().filter_map(|(name, used)| {
        let (name, value) = setting(name, variable)?;
        (!value.eq_ignore_ascii_case(used)).then_some((name, value, *used))
    });
    wanted.collect()
}

/// Returns the time limit for one call.
///
/// # Errors
/// The variable is not a number of milliseconds above zero.
fn time_limit(variable: &impl Fn(&str) -> Option<String>) -> anyhow::Result<Duration> {
    let Some((name, value)) = setting("TIMEOUT", variable) else {
        return Ok(ANSWER_WITHIN);
    };
    let milliseconds: NonZeroU32 = value
        .trim()
        .parse()
        .with_context(|| format!("{name}: {value:?} is not a number of milliseconds above zero"))?;
    Ok(Duration::from_millis(milliseconds.get().into()))
}

fn client(
    endpoint: &str,
    variable: &impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Arc<dyn HttpClient>> {
    let uri: Uri = endpoint.parse().context("it is not a URL")?;
    let within = time_limit(variable)?;
    let mut tcp = HttpConnector::new();
    tcp.set_connect_timeout(Some(within));
    match uri.scheme_str() {
        Some("http") => Ok(Arc::new(HyperClient::new(tcp, within, None))),
        Some("https") => {
            tcp.enforce_http(false);
            let file = |name: &str| setting(name, variable).map(|(_, value)| value);
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
            Ok(Arc::new(HyperClient::new(connector, within, None)))
        }
        _ => anyhow::bail!("its scheme is neither http nor https"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn value(environment: &[(&str, &str)], name: &str) -> Option<String> {
        let found = environment.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| (*value).to_owned())
    }

    fn found(flag: Option<&str>, environment: &[(&str, &str)]) -> Option<String> {
        receiver(flag, &|name: &str| value(environment, name))
    }

    const TIMEOUT: &str = "OTEL_EXPORTER_OTLP_TIMEOUT";

    #[tokio::test]
    async fn a_collector_that_does_not_answer_within_the_time_of_the_variable_fails() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", silent.local_addr().unwrap());
        let environment = [(TIMEOUT, "50")];
        let client = client(&endpoint, &|name: &str| value(&environment, name)).unwrap();
        let request = http::Request::post(&endpoint).body("spans".into()).unwrap();
        // The default is ten seconds.
        let sent = tokio::time::timeout(ANSWER_WITHIN / 2, client.send_bytes(request));
        assert!(sent.await.unwrap().is_err());
    }

    #[test]
    fn the_time_limit_of_traces_comes_first_and_a_wrong_one_is_an_error() {
        let limit = |environment: &[(&str, &str)]| {
            time_limit(&|name: &str| value(environment, name)).map(|limit| limit.as_millis())
        };
        assert_eq!(limit(&[]).unwrap(), 10_000);
        let of_traces = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "3000");
        assert_eq!(limit(&[(TIMEOUT, "2000"), of_traces]).unwrap(), 3000);
        for wrong in ["0", "10s", "-1"] {
            let error = limit(&[(TIMEOUT, wrong)]).unwrap_err().to_string();
            assert!(error.starts_with(TIMEOUT), "{error}");
        }
    }

    #[test]
    fn a_variable_that_wants_what_is_not_supported_is_named() {
        let named = |environment: &[(&str, &str)]| {
            let all = unsupported(&|name: &str| value(environment, name));
            all.into_iter().map(|(name, ..)| name).collect::<Vec<_>>()
        };
        let (protocol, compression) = (
            "OTEL_EXPORTER_OTLP_PROTOCOL",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION",
        );
        assert!(named(&[(protocol, "http/protobuf"), (compression, "none")]).is_empty());
        let both = named(&[(protocol, "grpc"), (compression, "gzip")]);
        assert_eq!(both, [protocol, compression]);
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
