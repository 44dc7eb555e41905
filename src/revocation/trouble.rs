//! Why a CRL is not published.

use std::io;

use hsm::HsmError;

use super::{DONE_WITHIN, RegisterError, RegisterStoreError, StateOlderThanPublished};
use crate::{
    audit::LogError,
    issuance::{Fault, IssueError, crl::PrepareCrlError},
    metrics::{CrlFailure, Metrics},
};

/// Name of the metric's series for CRLs that break an invariant.
pub const CRL_BUG: &str = "crl";

/// Why a CRL is not published.
#[derive(Debug, thiserror::Error)]
pub(super) enum CrlTrouble {
    /// The state could not be read or written.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The stored state is older than what was published.
    #[error(transparent)]
    Older(#[from] StateOlderThanPublished),
    /// No issuer of the CA can sign on this replica.
    #[error("no issuer of this CA is ready; its Ready condition says why")]
    NotReady,
    /// All numbers are used.
    #[error("CRL numbers are exhausted")]
    Numbers,
    /// The CRL could not be prepared.
    #[error("the CRL cannot be made")]
    Prepare(#[from] PrepareCrlError),
    /// A sink of the issuance log accepts no lines.
    #[error("the issuance log cannot be written; the operator of the controller has to mend it")]
    Log(#[from] LogError),
    /// The token gave no turn.
    #[error("no turn at the token")]
    Turn(#[source] HsmError),
    /// The token did not sign, or the signature was not released.
    #[error(transparent)]
    Issue(#[from] IssueError),
    /// It took too long.
    #[error("the CRL was not published within {} s", DONE_WITHIN.as_secs())]
    TimedOut,
    /// Another replica has reserved a later number in the meantime.
    #[error("another replica makes a later CRL of this shard")]
    Overtaken,
    /// The entries could not be written.
    #[error("the CRL cannot be stored")]
    Pack(#[from] io::Error),
}

impl From<RegisterStoreError> for CrlTrouble {
    fn from(error: RegisterStoreError) -> Self {
        Self::Register(error.into())
    }
}

impl CrlTrouble {
    /// Counts the failure; a broken invariant under its own name, too.
    pub(super) fn count(&self, metrics: &Metrics) {
        metrics.crl_failed(self.step());
        if let Self::Prepare(PrepareCrlError::Lint(failed)) = self {
            metrics.lint_failed(failed.lint);
        }
        if self.is_bug() {
            metrics.bug(CRL_BUG);
        }
    }

    /// Returns whether an invariant broke.
    pub(super) fn is_bug(&self) -> bool {
        match self {
            Self::Prepare(error) => error.fault() == Fault::Bug,
            Self::Issue(error) => error.fault() == Fault::Bug,
            Self::Register(_)
            | Self::Older(_)
            | Self::NotReady
            | Self::Numbers
            | Self::Log(_)
            | Self::Turn(_)
            | Self::TimedOut
            | Self::Overtaken
            | Self::Pack(_) => false,
        }
    }

    fn step(&self) -> CrlFailure {
        match self {
            Self::Register(_) | Self::Overtaken | Self::TimedOut | Self::Pack(_) => {
                CrlFailure::Store
            }
            Self::Older(_) => CrlFailure::Older,
            Self::NotReady => CrlFailure::Key,
            Self::Numbers | Self::Prepare(_) => CrlFailure::Prepare,
            Self::Log(_) => CrlFailure::Log,
            Self::Turn(_) | Self::Issue(_) => CrlFailure::Sign,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::issuance::lint::LintError;

    #[test]
    fn a_failed_lint_of_a_crl_counts_as_a_bug_and_under_its_own_name() {
        let metrics = Metrics::new("0.1.0", "unknown");
        let failed = PrepareCrlError::Lint(LintError {
            lint: "rfc5280_crl_version_2",
            citation: "RFC 5280, section 5.1.2.1",
            finding: "version 1".to_owned(),
        });
        CrlTrouble::from(failed).count(&metrics);
        CrlTrouble::Numbers.count(&metrics);
        let text = metrics.encode().unwrap();
        for line in [
            r#"pkcs11_issuer_lint_failures_total{lint="rfc5280_crl_version_2"} 1"#,
            r#"pkcs11_issuer_bugs_total{bug="crl"} 1"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line}:\n{text}");
        }
    }
}
