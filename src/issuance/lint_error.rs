//! A lint that failed, of a certificate or a CRL.

/// A lint that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("lint {lint} ({citation}): {finding}")]
pub struct LintError {
    /// The lint's name.
    pub lint: &'static str,
    /// The clause.
    pub citation: &'static str,
    /// What was found, for people.
    pub finding: String,
}

/// Turns the answer of a check into its result.
pub(in crate::issuance) fn ensure(holds: bool, finding: &str) -> Result<(), String> {
    if holds {
        Ok(())
    } else {
        Err(finding.to_owned())
    }
}
