//! What the page of each alert needs and shows while its fault lasts.

use anyhow::{Context as _, Result};

/// The page of an alert during its fault.
pub(super) struct Expected {
    /// Name of the alert, without the common prefix.
    pub(super) alert: &'static str,
    /// The names that stand in capital letters in the commands of the page, and what they stand for.
    pub(super) names: &'static [(&'static str, &'static str)],
    /// What the page tells its reader to look for. A query or a command of the page shows it.
    pub(super) shown: &'static [&'static str],
}

const fn expected(
    alert: &'static str,
    names: &'static [(&'static str, &'static str)],
    shown: &'static [&'static str],
) -> Expected {
    Expected {
        alert,
        names,
        shown,
    }
}

/// Every alert.
const ALL: &[Expected] = &[
    expected("NoReplicaReady", &[], &["pkcs11_issuer_lease_held"]),
    expected("ShareWithoutOwner", &[], &["awaiting-token"]),
    expected("PinBlocked", &[], &["rejected", "login-refused"]),
    expected("VerificationFailed", &[], &["does not verify"]),
    expected("LintFailed", &[], &["rfc5280_", "an invariant broke"]),
    expected("Bug", &[], &["an invariant broke"]),
    expected("LogFailing", &[], &["the issuance log is not written"]),
    expected("CrlLate", &[], &["CRLPublished"]),
    expected("RevocationWaiting", &[], &["ACCEPTED"]),
    expected("LeaseLost", &[], &["503", "failed to renew the lease"]),
    expected("TokenDown", &[], &["awaiting-token", "CKR_", "FAIL"]),
    expected("WorkerRestarting", &[], &["crashed"]),
    expected(
        "RequestsWaiting",
        &[("NAMESPACE", "default"), ("NAME", "waiting")],
        &["issuer-missing"],
    ),
    expected("RefusalRate", &[], &["refused"]),
    expected("CaEndsSoon", &[("NAME", "ends")], &["CAExpiringSoon"]),
    expected("CaTooShort", &[("NAME", "ends")], &["CAExpiringSoon"]),
    expected("IssuersNotReady", &[], &["TokenUnknown"]),
    expected("Clash", &[], &["installation in another namespace"]),
    expected(
        "CheckpointLate",
        &[],
        &["a checkpoint of the issuance log is late"],
    ),
    expected("LogLinesDropped", &[], &[]),
    expected("CrlPublishingFailed", &[], &["a CRL was not published"]),
    expected(
        "CrlBundleIncomplete",
        &[("NAME", "meshed")],
        &["CRLBundleComplete"],
    ),
    expected(
        "ConfigurationRefused",
        &[],
        &["ERROR", "the changed configuration cannot be used"],
    ),
    expected("ClockOff", &[], &[]),
    expected("ApiErrors", &[], &["503", "WARN"]),
    expected("WatchFailing", &[], &["WARN"]),
    expected("RequestsUndecided", &[], &["APPROVED"]),
];

impl Expected {
    /// Returns what to expect of an alert's page.
    pub(super) fn of(alert: &str) -> Result<&'static Self> {
        let mut all = ALL.iter();
        let found = all.find(|expected| expected.alert == alert);
        found.with_context(|| format!("nothing is expected of {alert}"))
    }
}
