//! Structured logs on stderr, and errors printed with their causes.

use std::{error::Error, fmt, io};

use tracing_subscriber::{
    EnvFilter, Layer as _, fmt as log, layer::SubscriberExt as _, registry,
    util::SubscriberInitExt as _,
};

use crate::message::shown;

/// How a log line looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line, for machines.
    Json,
    /// One line of text, for people.
    Text,
}

/// Written around every look at an object. Our own lines name the object; formatting this costs a tenth of the
/// processor time of a certificate.
const KUBE_SPANS: &str = "kube_runtime=warn";

/// Starts logging to stderr; stdout belongs to the issuance record.
///
/// `filter` has the syntax of `RUST_LOG`, such as `info` or `info,pkcs11_issuer=debug`. What the controller runtime tells
/// about itself below `warn` has to be asked for by name: `kube_runtime=debug`.
///
/// # Errors
/// When the filter has another syntax, or logging was started before.
pub fn start(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = parsed(filter)?;
    let lines = log::layer().with_writer(io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    registry()
        .with(lines.with_filter(filter))
        .try_init()
        .map_err(TelemetryError::AlreadyStarted)
}

/// Of two directives for one target the later counts.
fn parsed(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(format!("{KUBE_SPANS},{filter}")).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

/// Why logging does not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("{filter:?} is not a log filter: write for example info or info,pkcs11_issuer=debug")]
    Filter {
        /// The text as given.
        filter: String,
        /// What the parser said.
        source: tracing_subscriber::filter::ParseError,
    },
    /// A process has one log.
    #[error("failed to start logging")]
    AlreadyStarted(#[source] tracing_subscriber::util::TryInitError),
}

/// An error with its causes on one line, outermost first: `failed to sign: worker ended: hang limit reached`.
///
/// A cause that the text before it already ends with is left out: some libraries repeat theirs. What errors repeat of
/// what others wrote is [`shown`].
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(Whole(self.0)))
    }
}

/// The same as it is.
struct Whole<'a>(&'a (dyn Error + 'a));

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            if let Some(answer) = api_server_answer(error) {
                // What this error and its causes repeat in several forms, the answer says once.
                return write!(f, ": {answer}");
            }
            let text = error.to_string();
            if !last.ends_with(&text) {
                write!(f, ": {text}")?;
                last = text;
            }
            cause = error.source();
        }
        Ok(())
    }
}

/// The message of an API server that answered with an error.
fn api_server_answer<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a str> {
    let boxed = error.downcast_ref::<Box<kube::Error>>().map(Box::as_ref);
    let error = boxed.or_else(|| error.downcast_ref())?;
    if let kube::Error::Api(status) = error {
        Some(&status.message)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("failed to start")]
    struct Outer(#[source] TelemetryError);

    #[test]
    fn a_chain_names_every_cause_once() {
        let source = EnvFilter::try_new("pkcs11_issuer=loud").unwrap_err();
        let last = source.to_string();
        let error = Outer(TelemetryError::Filter {
            filter: "pkcs11_issuer=loud".to_owned(),
            source,
        });
        let text = Chain(&error).to_string();
        assert!(
            text.starts_with("failed to start: \"pkcs11_issuer=loud\" is not a log filter"),
            "{text}"
        );
        assert!(text.ends_with(&format!(": {last}")), "{text}");
        assert_eq!(text.matches(&last).count(), 1, "{text}");
    }

    #[test]
    fn a_chain_is_one_short_line_whatever_its_errors_repeat() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0:?} is no name")]
        struct Cause(String);
        #[derive(Debug, thiserror::Error)]
        #[error("line\n{what}")]
        struct Effect {
            what: &'static str,
            source: Cause,
        }
        let error = Effect {
            what: "\u{1b}[31m",
            source: Cause("\u{0}".repeat(48 * 1024)),
        };
        let text = Chain(&error).to_string();
        assert!(text.len() <= crate::message::MAX, "{}", text.len());
        assert!(text.starts_with(r#"line\n\u{1b}[31m: "\0\0"#), "{text}");
    }

    #[test]
    fn the_runtime_is_quiet_unless_it_is_asked_for_by_name() {
        let has = |filter: &str, directive: &str| {
            let parsed = parsed(filter).unwrap().to_string();
            parsed.split(',').any(|part| part == directive)
        };
        assert!(has("debug", "debug") && has("debug", "kube_runtime=warn"));
        assert!(has("info,kube_runtime=debug", "kube_runtime=debug"));
        assert!(!has("info,kube_runtime=debug", "kube_runtime=warn"));
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(matches!(
            start(LogFormat::Text, "pkcs11_issuer=loud"),
            Err(TelemetryError::Filter { .. })
        ));
    }
}
