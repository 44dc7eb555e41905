//! Structured logs on stderr, and errors printed with their causes.

use std::{error::Error, fmt, io};

use tracing_subscriber::{
    EnvFilter, Layer as _, fmt as log, layer::SubscriberExt as _, registry,
    util::SubscriberInitExt as _,
};

use crate::message::shown;

/// Format of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// One line of text, for people.
    Text,
}

/// Directive that hides the spans which `kube_runtime` opens around every look at an object. The controller's own lines name
/// the object, and formatting these spans costs a tenth of the processor time of a certificate.
const KUBE_SPANS: &str = "kube_runtime=warn";

/// Starts logging to stderr, because stdout has the issuance record of the controller or the result of `sign`.
///
/// `filter` has the syntax of `RUST_LOG`, such as `info` or `info,pkcs11_issuer=debug`. Lines of the controller runtime
/// below `warn` appear only if the filter names it: `kube_runtime=debug`.
///
/// # Errors
/// The filter is malformed, or logging was started before.
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

/// Parses the filter. It comes after the default directive: of two directives for one target, the later counts.
fn parsed(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(format!("{KUBE_SPANS},{filter}")).map_err(|source| TelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })
}

/// Reason why logging does not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is malformed.
    #[error("{filter:?} is not a log filter: write for example info or info,pkcs11_issuer=debug")]
    Filter {
        /// The text as given.
        filter: String,
        /// Error of the parser.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was started before.
    #[error("failed to start logging")]
    AlreadyStarted(#[source] tracing_subscriber::util::TryInitError),
}

/// An error with its causes on one line, outermost first: `failed to sign: worker ended: hang limit reached`.
///
/// A cause is omitted if the text before it already ends with it, because some libraries repeat their causes. The text is
/// passed through [`shown`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(Whole(self.0)))
    }
}

/// The text of an [`ErrorChain`] before it is shortened and escaped.
struct Whole<'a>(&'a (dyn Error + 'a));

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = self.0.to_string();
        f.write_str(&last)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            if let Some(answer) = api_server_answer(error) {
                // This error and its causes repeat the answer in several forms; write it once.
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

/// Returns the message of an API server that answered with an error.
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
        let text = ErrorChain(&error).to_string();
        assert!(
            text.starts_with("failed to start: \"pkcs11_issuer=loud\" is not a log filter"),
            "{text}"
        );
        assert!(text.ends_with(&format!(": {last}")), "{text}");
        assert_eq!(text.matches(&last).count(), 1, "{text}");
    }

    #[test]
    fn a_chain_is_one_short_line_even_with_long_causes() {
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
        let text = ErrorChain(&error).to_string();
        assert!(text.len() <= crate::message::MAX, "{}", text.len());
        assert!(text.starts_with(r#"line\n\u{1b}[31m: "\0\0"#), "{text}");
    }

    #[test]
    fn the_controller_runtime_is_quiet_unless_the_filter_names_it() {
        let has = |filter: &str, directive: &str| {
            let parsed = parsed(filter).unwrap().to_string();
            parsed.split(',').any(|part| part == directive)
        };
        assert!(has("debug", "debug") && has("debug", "kube_runtime=warn"));
        assert!(has("info,kube_runtime=debug", "kube_runtime=debug"));
        assert!(!has("info,kube_runtime=debug", "kube_runtime=warn"));
    }

    #[test]
    fn a_malformed_filter_is_refused() {
        assert!(matches!(
            start(LogFormat::Text, "pkcs11_issuer=loud"),
            Err(TelemetryError::Filter { .. })
        ));
    }
}
