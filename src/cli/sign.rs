//! `pkcs11-issuer sign`: signs one CSR with the controller's own pipeline and a token, without Kubernetes.

mod destination;
mod report;
mod token;

use std::{
    borrow::Cow,
    io::Read as _,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};

use self::{destination::Destination, report::Report, token::Opened};
use super::{
    input,
    issuer_file::IssuerFile,
    machine, pin,
    session::{INTERRUPTED, progress},
    signals::Signals,
    version,
};
use crate::{
    api::issuer::Reason,
    args::{OutputFormat, Sign},
    audit::{IssuanceLog, LogRun, LoggedIssuer, LoggedRequest, RequestKind, Requester, Subject},
    config::{Config, Labels},
    issuance::{Fault, PreparedCertificate, Refusal, RuleDecision, pattern::Variables},
    metrics::Metrics,
    pipeline::{
        self, AskedCsr, Keys, NotProven, NotSigned, ParsedChain, Signed, SigningClaim,
        UncheckedRequest, now, sign::NOT_LOGGED,
    },
    telemetry::{self, LogFormat, Unread},
};

/// Default log filter, without RUST_LOG. `hsm` is off, because `sign` itself prints the state of the token, and errors at
/// the end. `pins` warns about a wait for another login. Lines of the worker and its library are shown as they come.
const LOG: &str = "error,hsm=off,pkcs11_hsm_worker=info,pkcs11_issuer::pins=warn";
/// Largest CSR that is read. It exceeds the pipeline's own limit, so that the pipeline makes the refusal.
const MAX_CSR: u64 = 1 << 20;

/// Signs one CSR, or reports why it is refused. Waits for the token at most 30 s longer than one call may hang.
///
/// # Errors
/// A file, the configuration, the issuer, the token or the PIN must be corrected first. A refusal is not an error.
pub async fn sign(args: Sign) -> anyhow::Result<ExitCode> {
    let signals = Signals::take(INTERRUPTED).context("failed to wait for signals")?;
    let filter = std::env::var("RUST_LOG").unwrap_or_else(|_| LOG.to_owned());
    telemetry::start(LogFormat::Text, &filter, Unread::Wait, None)?;
    // Checks that need no token come first.
    let config = Config::load(&args.config)?;
    let file = IssuerFile::read(&args.issuer, args.namespace.as_deref())?;
    // Without a cluster no namespace labels are known, so a grant by labels covers nothing.
    let labels = Labels::new();
    if let Some(token) = config.token(&file.spec.token) {
        pipeline::prove::check_granted(&file.name, &labels, token)
            .map_err(|why| unfit(&file, &why))?;
    }
    file.check_next()?;
    file.check_variables(args.namespace.as_deref(), args.name.as_deref())?;
    let chain = Arc::new(ParsedChain::new(file.chain()?));
    let key = file.spec.key.as_ref();
    pipeline::prove::check(&file.spec, key, &chain, now()).map_err(|why| unfit(&file, &why))?;
    let csr = read_csr(&args.csr)?;
    let pin = args.pin_file.as_deref().map(pin::given).transpose()?;
    let stop = signals.drain_within(END_WITHIN);
    let dry_run = args.dry_run || args.explain;
    let out = args.out.as_deref().filter(|_| !dry_run);
    let destination = out.map(Destination::prepare).transpose()?;
    let user = machine::user().context("failed to find out the user of this process")?;
    let request = Named {
        uid: uuid()?,
        name: args
            .name
            .clone()
            .unwrap_or_else(|| args.csr.display().to_string()),
        username: format!("uid={user}"),
    };
    let subject = request.subject(&file, args.namespace.as_deref());
    let asked = UncheckedRequest {
        csr: AskedCsr::Pem(&csr),
        usages: &args.usages,
        is_ca: args.is_ca,
        by_annotation: false,
        duration: args.duration.as_deref().map(Cow::Borrowed),
        or_less: false,
        variables: Variables {
            namespace: subject.request.namespace,
            name: subject.request.name,
        },
    };
    let metrics = Arc::new(Metrics::new(version::VERSION, version::COMMIT));
    let token = Opened::start(&config, &args, pin, &file, &metrics)?;
    let host = machine::host_name().unwrap_or_else(|_| "host".to_owned());
    let run = LogRun::new(config.cluster(), &host, version::PROGRAM)?;
    let log = IssuanceLog::stderr(run, now).context("failed to start the issuance log")?;
    let order = Order {
        asked,
        subject,
        dry_run,
        explain: args.explain.then_some(args.output),
    };
    let judged = async {
        token.logged_in().await?;
        issue(&order, &file, &chain, &token, &metrics, &log).await
    };
    let judged = tokio::select! {
        judged = judged => judged,
        () = stop.cancelled() => Err(anyhow!("interrupted by a signal; no certificate was released")),
    };
    token.close().await;
    let ended = judged.and_then(|(outcome, decisions)| {
        let report = Report {
            format: args.output,
            subject: &order.subject,
            log: &log,
            decisions: &decisions,
        };
        let csr = order.asked.csr.sha256();
        conclude(outcome, &report, csr.as_deref(), destination, dry_run)
    });
    log.stopped();
    let closed = log.close(END_WITHIN).await;
    let code = ended?;
    closed.context("the issuance log lacks lines")?;
    Ok(code)
}

/// Writes the outcome to stdout, the destination and the issuance log. `csr` is the SHA-256 of the CSR.
fn conclude(
    outcome: Result<Outcome, Refusal>,
    report: &Report<'_>,
    csr: Option<&str>,
    destination: Option<Destination>,
    dry_run: bool,
) -> anyhow::Result<ExitCode> {
    match outcome {
        Ok(Outcome::Signed(signed)) => {
            report.signed(&signed, destination)?;
            Ok(ExitCode::SUCCESS)
        }
        Ok(Outcome::Admitted(prepared)) => {
            report.admitted(&prepared)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(refusal) => {
            if !dry_run {
                report.log_refusal(&refusal, csr);
            }
            report.refused(&refusal)?;
            Ok(ExitCode::from(REFUSED))
        }
    }
}

/// Exit code of a refusal.
const REFUSED: u8 = 3;
/// Time limit for an interrupted run to end its worker and to report the interruption.
const END_WITHIN: Duration = Duration::from_secs(6);

/// Outcome of a request that is not refused.
enum Outcome {
    Signed(Signed),
    /// A dry run: the certificate that would be signed.
    Admitted(PreparedCertificate),
}

/// An outcome or a refusal, and the profile's decisions if an explanation was asked for.
type Judged = (Result<Outcome, Refusal>, Vec<RuleDecision>);

/// A request to sign or to check, and the form in which its decisions are explained.
struct Order<'a> {
    asked: UncheckedRequest<'a>,
    subject: Subject<'a>,
    /// Whether to check the request and sign nothing.
    dry_run: bool,
    explain: Option<OutputFormat>,
}

async fn issue(
    order: &Order<'_>,
    file: &IssuerFile,
    chain: &Arc<ParsedChain>,
    token: &Opened,
    metrics: &Arc<Metrics>,
    log: &IssuanceLog,
) -> anyhow::Result<Judged> {
    let Order {
        asked,
        subject,
        dry_run,
        explain,
    } = order;
    let claim = SigningClaim {
        spec: &file.spec,
        key: file.spec.key.as_ref(),
        name: &file.name,
        // Without a cluster no namespace labels are known, so a grant by labels covers nothing.
        labels: &Labels::new(),
        chain,
        beside: &Arc::default(),
        token: token.configured(),
    };
    let (keys, since) = (Keys::default(), Instant::now());
    let proven = pipeline::prove(claim, None, &keys, since, metrics, now())
        .await
        .map_err(|why| unfit(file, &why))?;
    let issuer = &proven.ready.issuer;
    let under = issuer.chain().issuing().subject_text();
    progress(format_args!(
        "{} can sign: a signature by its token verifies under {under}",
        file.name
    ));
    let decisions = match (asked.csr.verify(), asked.wanted()) {
        (Ok(csr), Ok(wanted)) if explain.is_some() => issuer.profile().explain(&csr, &wanted),
        _ => Vec::new(),
    };
    if *explain == Some(OutputFormat::Text) {
        report::explain(&decisions);
    }
    let outcome = if *dry_run {
        pipeline::prepare_only(asked, &proven.ready).map(Outcome::Admitted)
    } else {
        let signed = pipeline::sign(asked, &"".into(), subject, &proven.ready, log, &|| true).await;
        if let Ok(signed) = &signed {
            logged(signed, log).await?;
        }
        signed.map(Outcome::Signed)
    };
    match outcome {
        Ok(outcome) => Ok((Ok(outcome), decisions)),
        Err(NotSigned::Refused(refusal)) => Ok((Err(refusal), decisions)),
        Err(other) => {
            let what_to_do = match other.fault() {
                Fault::Issuer => {
                    "nothing was signed; correct the issuer, its token or the configuration"
                }
                Fault::Passing => "nothing was signed; try again",
                Fault::Request | Fault::Bug => {
                    "nothing was signed because of a bug in this program; please report it"
                }
            };
            Err(anyhow!(other).context(what_to_do))
        }
    }
}

/// Waits until the issuance log has the certificate.
async fn logged(signed: &Signed, log: &IssuanceLog) -> anyhow::Result<()> {
    let accepted = log.accepted(signed.logged).await;
    accepted.map_err(|error| {
        log.discarded(&signed.announced.entry, NOT_LOGGED);
        anyhow!(error).context("no certificate was released; sign again")
    })
}

/// Advice for reasons whose condition message gives none.
const WHAT_TO_DO: [(Reason, &str); 4] = [
    (
        Reason::KeyNotFound,
        "; name it in spec.key, and check that the configuration grants it to this issuer",
    ),
    (
        Reason::KeyMismatch,
        "; give the certificate of that key, or name the key of the certificate",
    ),
    (
        Reason::TokenUnavailable,
        "; see to the token, then try again",
    ),
    (Reason::ProbeFailed, "; see to the token, then try again"),
];

/// Returns the error for an issuer that cannot sign, with the text of its condition.
fn unfit(file: &IssuerFile, why: &NotProven) -> anyhow::Error {
    let reason = why.reason();
    let what_to_do = WHAT_TO_DO.iter().find(|(known, _)| *known == reason);
    let what_to_do = what_to_do.map_or("", |(_, text)| text);
    anyhow!("{} cannot sign: {}{what_to_do}", file.name, why.message())
}

/// Fields of the issuance log for a request that is not a Kubernetes object.
struct Named {
    uid: String,
    name: String,
    username: String,
}

impl Named {
    fn subject<'a>(&'a self, file: &'a IssuerFile, namespace: Option<&'a str>) -> Subject<'a> {
        Subject {
            request: LoggedRequest {
                kind: RequestKind::File,
                namespace: file.name.namespace.as_deref().or(namespace),
                name: &self.name,
                uid: &self.uid,
                certificate: None,
            },
            requester: Requester {
                username: &self.username,
                uid: None,
                groups: &[],
            },
            approval: None,
            issuer: LoggedIssuer {
                kind: file.name.kind(),
                namespace: file.name.namespace.as_deref(),
                name: &file.name.name,
                uid: None,
                generation: None,
                profile_sha256: None,
                grant_sha256: None,
            },
        }
    }
}

/// Returns a random UUID (RFC 9562, section 5.4).
fn uuid() -> anyhow::Result<String> {
    let mut octets = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut octets)
        .map_err(|_| anyhow!("the operating system gave no random octets; try again"))?;
    let value = u128::from_be_bytes(octets);
    let value = value & !(0xf << 76) & !(0x3 << 62) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{value:032x}");
    let groups = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let groups: Vec<_> = groups
        .into_iter()
        .filter_map(|(start, end)| digits.get(start..end))
        .collect();
    Ok(groups.join("-"))
}

/// Reads a CSR. One that is cut at [`MAX_CSR`] is still refused as too large, with a line in the issuance log.
fn read_csr(path: &Path) -> anyhow::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let read = input::open(path).and_then(|file| file.take(MAX_CSR).read_to_end(&mut octets));
    read.with_context(|| {
        format!(
            "failed to read the CSR {}; give a file that openssl req -new wrote",
            path.display()
        )
    })?;
    if octets.is_empty() {
        bail!(
            "the CSR {} is empty; give a file that openssl req -new wrote",
            path.display()
        );
    }
    Ok(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_uid_is_a_new_random_uuid() {
        let (one, other) = (uuid().unwrap(), uuid().unwrap());
        assert_ne!(one, other);
        let lengths: Vec<_> = one.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12]);
        let at = |index: usize| one.as_bytes()[index];
        assert_eq!(at(14), b'4');
        assert!(b"89ab".contains(&at(19)), "{one}");
    }
}
