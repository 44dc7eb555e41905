//! Structured logs on stderr, and errors printed with their causes.

mod last_errors;
mod lossy;
mod repeats;

use std::{error::Error, fmt, io};

use anstyle::{AnsiColor, Style};
use tracing_subscriber::{
    EnvFilter, Layer as _,
    filter::{LevelFilter, Targets},
    fmt::{self as log, writer::BoxMakeWriter},
    layer::SubscriberExt as _,
    registry,
    util::SubscriberInitExt as _,
};

pub use self::last_errors::{LastErrors, LoggedLine};
use self::lossy::Lossy;
pub(crate) use self::repeats::log_seldom;
pub use self::{
    lossy::{dropped_lines, flush},
    repeats::RepeatFilter,
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

/// Directive that hides the lines of `kube_runtime`. That crate dumps each failure of a watch, which the controller reports
/// in one line of its own. Formatting its spans costs a tenth of the processor time of a certificate.
const KUBE_RUNTIME: &str = "kube_runtime=off";

/// What happens to log lines while nobody reads stderr.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unread {
    /// The program waits, as commands of a person do.
    Wait,
    /// Lines are dropped and counted.
    Drop,
}

/// Starts logging to stderr, because stdout has the issuance log of the controller or the result of `sign`.
///
/// `filter` has the syntax of `RUST_LOG`, such as `info` or `info,pkcs11_issuer=debug`. Lines of the controller runtime
/// appear only if the filter names it: `kube_runtime=debug`. `errors` keeps the last warnings and errors of our own code.
///
/// # Errors
/// The filter is malformed, logging was started before, or the operating system refused a thread.
pub fn start(
    format: LogFormat,
    filter: &str,
    unread: Unread,
    errors: Option<LastErrors>,
) -> Result<(), TelemetryError> {
    let filter = parsed(filter)?;
    let writer = match unread {
        Unread::Wait => BoxMakeWriter::new(io::stderr),
        Unread::Drop => {
            let lossy = Lossy::start(io::stderr()).map_err(TelemetryError::Thread)?;
            BoxMakeWriter::new(lossy)
        }
    };
    let lines = log::layer().with_writer(writer);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
        LogFormat::Text => lines.with_ansi(false).boxed(),
    };
    registry()
        .with(lines.with_filter(filter))
        .with(errors.map(|errors| errors.with_filter(own_warnings())))
        .try_init()
        .map_err(TelemetryError::AlreadyStarted)
}

fn own_warnings() -> Targets {
    Targets::new()
        .with_target("pkcs11_issuer", LevelFilter::WARN)
        .with_target("hsm", LevelFilter::WARN)
}

/// Parses the filter. It comes after the default directive: of two directives for one target, the later counts.
fn parsed(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::try_new(format!("{KUBE_RUNTIME},{filter}")).map_err(|source| {
        TelemetryError::Filter {
            filter: filter.to_owned(),
            source,
        }
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
    /// There is no thread for the log.
    #[error("failed to start the thread of the log")]
    Thread(#[source] io::Error),
    /// Logging was started before.
    #[error("failed to start logging")]
    AlreadyStarted(#[source] tracing_subscriber::util::TryInitError),
}

/// An error with its causes on one line, outermost first: `failed to sign: worker ended: hang limit reached`.
///
/// Some libraries repeat a cause at the end of the text before it; the cause is written once. Of an error response of the
/// API server, only the message is written. The text is passed through [`shown`].
#[derive(Clone, Copy, Debug)]
pub struct ErrorChain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(Whole(self.0)))
    }
}

/// Writes the error that ends a program to stderr, with its causes. The word `error` has colour on a terminal, unless `NO_COLOR`
/// is set, as in clap's errors about flags.
pub fn print_error(error: &(dyn Error + 'static)) {
    const WORD: Style = AnsiColor::Red.on_default().bold();
    anstream::eprintln!("{WORD}error:{WORD:#} {}", ErrorChain(error));
}

/// The text of an [`ErrorChain`] before it is shortened and escaped.
struct Whole<'a>(&'a (dyn Error + 'static));

impl fmt::Display for Whole<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut next = Some(self.0);
        let mut between = "";
        while let Some(error) = next {
            if let Some(answer) = api_server_answer(error) {
                // This error and its causes repeat the answer in several forms; write it once.
                return write!(f, "{between}{answer}");
            }
            next = error.source();
            let text = error.to_string();
            let own = match next.map(ToString::to_string) {
                Some(cause) => text.strip_suffix(&cause).unwrap_or(&text),
                None => &text,
            };
            let own = own.trim_end().trim_end_matches(':');
            if !own.is_empty() {
                write!(f, "{between}{own}")?;
                between = ": ";
            }
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
        assert!(has("debug", "debug") && has("debug", "kube_runtime=off"));
        assert!(has("info,kube_runtime=debug", "kube_runtime=debug"));
        assert!(!has("info,kube_runtime=debug", "kube_runtime=off"));
    }

    #[test]
    fn a_malformed_filter_is_refused() {
        assert!(matches!(
            start(LogFormat::Text, "pkcs11_issuer=loud", Unread::Wait, None),
            Err(TelemetryError::Filter { .. })
        ));
    }
}
