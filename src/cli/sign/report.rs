//! The output of `sign`: the chain or the slug of a refusal on stdout, decisions and the issuance log on stderr.

use std::io::{self, Write as _};

use anyhow::{Context as _, anyhow};
use serde::Serialize;

use super::{super::session::progress, destination::Destination};
use crate::{
    args::OutputFormat,
    audit::{IssuanceLog, Subject},
    issuance::{PreparedCertificate, Refusal, RuleDecision},
    message::shown,
    pipeline::Signed,
};

/// Form and context of the output.
pub(super) struct Report<'a> {
    pub(super) format: OutputFormat,
    pub(super) subject: &'a Subject<'a>,
    pub(super) log: &'a IssuanceLog,
    /// Empty if no explanation was asked for.
    pub(super) decisions: &'a [RuleDecision],
}

/// JSON object on stdout. Its fields are part of the public interface.
#[derive(Serialize)]
#[serde(
    tag = "outcome",
    rename_all = "camelCase",
    rename_all_fields = "camelCase"
)]
enum Object<'a> {
    Signed {
        /// PEM, leaf first, without the root.
        certificate: &'a str,
        /// PEM of the CA certificate that the issuer's `spec.ca` selects.
        ca: Option<String>,
        /// Hexadecimal.
        serial: &'a str,
        not_before: jiff::Timestamp,
        not_after: jiff::Timestamp,
        /// SHA-256 of the TBSCertificate, hexadecimal, as in the issuance log.
        tbs_sha256: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        decisions: Vec<Line>,
    },
    /// Result of a dry run: the request would be signed.
    Admitted {
        not_before: jiff::Timestamp,
        not_after: jiff::Timestamp,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        decisions: Vec<Line>,
    },
    Refused {
        reason: &'static str,
        message: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        decisions: Vec<Line>,
    },
}

/// One decision of the profile.
#[derive(Serialize)]
struct Line {
    rule: &'static str,
    admitted: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    message: String,
}

impl From<&RuleDecision> for Line {
    fn from(RuleDecision { rule, verdict }: &RuleDecision) -> Self {
        let refusal = verdict.as_ref().err();
        Self {
            rule,
            admitted: refusal.is_none(),
            reason: refusal.map(|refusal| refusal.reason().as_str()),
            message: match verdict {
                Ok(admitted) => shown(admitted),
                Err(refusal) => refusal.to_string(),
            },
        }
    }
}

/// Prints the decisions to stderr, for people.
pub(super) fn explain(decisions: &[RuleDecision]) {
    for Line {
        rule,
        reason,
        message,
        ..
    } in decisions.iter().map(Line::from)
    {
        match reason {
            None => progress(format_args!("profile admits   {rule}: {message}")),
            Some(reason) => progress(format_args!("profile refuses  {rule}: {reason} {message}")),
        }
    }
}

impl Report<'_> {
    /// Writes a certificate to its file or to stdout.
    ///
    /// # Errors
    /// The certificate could not be written as requested. If the file failed, the certificate goes to stdout instead.
    pub(super) fn signed(
        &self,
        signed: &Signed,
        destination: Option<Destination>,
    ) -> anyhow::Result<()> {
        let chain = signed.certificate.certificate_pem();
        let serial = &signed.announced.serial;
        let filed = match destination {
            Some(file) => file.commit(&chain).map(|()| true),
            None => Ok(false),
        };
        let printed = match (self.format, &filed) {
            (OutputFormat::Text, Ok(true)) => Ok(()),
            (OutputFormat::Text, Ok(false) | Err(_)) => print(&chain),
            (OutputFormat::Json, _) => print_object(&Object::Signed {
                certificate: &chain,
                ca: signed.publish.ca_pem(&signed.certificate),
                serial,
                not_before: signed.certificate.not_before(),
                not_after: signed.certificate.not_after(),
                tbs_sha256: &signed.announced.tbs_sha256,
                decisions: self.lines(),
            }),
        };
        let entry = &signed.announced.entry;
        if printed.is_err() && !matches!(filed, Ok(true)) {
            self.log.discarded(entry, "not-written");
        } else {
            self.log.published(entry);
        }
        match (filed, printed) {
            (Ok(_), Ok(())) => Ok(()),
            (Err(error), Ok(())) => {
                Err(error.context(format!("the certificate {serial} is on stdout instead")))
            }
            (Ok(true), Err(error)) => {
                Err(error.context(format!("the certificate {serial} is in its file")))
            }
            (Ok(false) | Err(_), Err(error)) => Err(error.context(format!(
                "the certificate {serial} was signed and is lost; sign again"
            ))),
        }
    }

    /// Writes to stdout that a certificate would be signed.
    ///
    /// # Errors
    /// Writing to stdout failed.
    pub(super) fn admitted(&self, prepared: &PreparedCertificate) -> anyhow::Result<()> {
        let (not_before, not_after) = (prepared.not_before(), prepared.not_after());
        match self.format {
            OutputFormat::Text => print(&format!(
                "admitted: a certificate valid from {not_before} to {not_after} would be signed; nothing was signed\n"
            )),
            OutputFormat::Json => print_object(&Object::Admitted {
                not_before,
                not_after,
                decisions: self.lines(),
            }),
        }
    }

    /// Writes a refusal to the issuance log. `csr` is the SHA-256 of the CSR.
    pub(super) fn log_refusal(&self, refusal: &Refusal, csr: Option<&str>) {
        let reason = refusal.reason().as_str();
        self.log.refused(self.subject, csr, reason);
    }

    /// Writes a refusal to stdout.
    ///
    /// # Errors
    /// Writing to stdout failed.
    pub(super) fn refused(&self, refusal: &Refusal) -> anyhow::Result<()> {
        let reason = refusal.reason().as_str();
        match self.format {
            OutputFormat::Text => print(&format!("{reason} {refusal}\n")),
            OutputFormat::Json => print_object(&Object::Refused {
                reason,
                message: refusal.to_string(),
                decisions: self.lines(),
            }),
        }
    }

    fn lines(&self) -> Vec<Line> {
        self.decisions.iter().map(Line::from).collect()
    }
}

fn print_object(object: &Object<'_>) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(object).context("failed to write JSON")?;
    print(&format!("{text}\n"))
}

fn print(text: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
        .map_err(|error| anyhow!(error).context("failed to write to stdout"))
}
