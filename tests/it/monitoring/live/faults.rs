//! The faults that the live tests make, and the alerts that they set off.

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The file of the operator's configuration cannot be used.
    ConfigurationRefused,
    /// An issuer's certificate ends tomorrow.
    CaEnds,
    /// An issuer names a token that is not configured.
    IssuerWithoutToken,
    /// A request was approved an hour ago and its issuer does not exist.
    WaitingRequest,
    /// A request was created two hours ago, and nobody has decided on it.
    UndecidedRequest,
    /// A requester asks for CA certificates again and again.
    Refusals,
    /// The device of the token is gone.
    TokenDown,
    /// Two PINs in a row are wrong.
    WrongPins,
    /// The Secret with the PIN record is gone.
    NoPinRecord,
    /// The library of the token crashes at every signature.
    CrashingLibrary,
    /// The token makes a signature that does not verify.
    WrongSignature,
    /// A lint of the controller takes every URL for one that is not `http`.
    WrongLint,
    /// The clocks of the controller and of the API server differ.
    Clock,
    /// The API server answers every call with an error.
    ApiServer,
    /// The folder of the issuance log's file is gone when the file is rotated.
    LogWithoutFolder,
    /// A second installation answers the same issuers.
    SecondInstallation,
    /// The CRL of a parent that an issuer names does not exist.
    BundleWithoutParent,
    /// The device of the token goes after a revocation is accepted and before it is on a CRL, and stays away.
    TokenDownForLong,
    /// Nobody reads stderr.
    StderrUnread,
}

pub(super) use Fault::{
    CaEnds as CA_ENDS, ConfigurationRefused as CONFIGURATION_REFUSED,
    LogWithoutFolder as LOG_WITHOUT_FOLDER, NoPinRecord as NO_PIN_RECORD,
    StderrUnread as STDERR_UNREAD, TokenDown as TOKEN_DOWN,
    TokenDownForLong as TOKEN_DOWN_FOR_LONG, WrongPins as WRONG_PINS,
};

/// The faults whose alerts fire within minutes, and not only with a log of everything.
pub(super) const FAULTS: &[Fault] = &[
    Fault::ConfigurationRefused,
    Fault::CaEnds,
    Fault::IssuerWithoutToken,
    Fault::WaitingRequest,
    Fault::UndecidedRequest,
    Fault::Refusals,
    Fault::BundleWithoutParent,
    Fault::Clock,
    Fault::TokenDown,
    Fault::WrongPins,
    Fault::NoPinRecord,
    Fault::CrashingLibrary,
    Fault::WrongSignature,
    Fault::WrongLint,
    Fault::ApiServer,
    Fault::LogWithoutFolder,
    Fault::SecondInstallation,
];

/// Every alert that one of [`FAULTS`] sets off.
pub(super) const ALL: &[&str] = &[
    "ConfigurationRefused",
    "CaEndsSoon",
    "CaTooShort",
    "IssuersNotReady",
    "RequestsWaiting",
    "RequestsUndecided",
    "RefusalRate",
    "CrlBundleIncomplete",
    "ClockOff",
    "TokenDown",
    "ShareWithoutOwner",
    "PinBlocked",
    "WorkerRestarting",
    "VerificationFailed",
    "Bug",
    "LintFailed",
    "ApiErrors",
    "LeaseLost",
    "NoReplicaReady",
    "WatchFailing",
    "LogFailing",
    "Clash",
];

impl Fault {
    /// Returns whether an alert of this fault looks back an hour, so that it clears long after the fault is mended.
    pub(super) fn is_remembered_for_an_hour(self) -> bool {
        matches!(
            self,
            Self::WrongSignature | Self::WrongLint | Self::SecondInstallation
        )
    }

    /// Returns the alerts that the fault sets off.
    pub(super) fn alerts(self) -> &'static [&'static str] {
        match self {
            Self::ConfigurationRefused => &["ConfigurationRefused"],
            Self::CaEnds => &["CaEndsSoon", "CaTooShort"],
            Self::IssuerWithoutToken => &["IssuersNotReady"],
            Self::WaitingRequest => &["RequestsWaiting"],
            Self::Refusals => &["RefusalRate"],
            Self::TokenDown => &["TokenDown", "ShareWithoutOwner"],
            Self::WrongPins | Self::NoPinRecord => &["PinBlocked"],
            Self::CrashingLibrary => &["WorkerRestarting"],
            Self::WrongSignature => &["VerificationFailed", "Bug"],
            Self::WrongLint => &["LintFailed"],
            Self::Clock => &["ClockOff"],
            Self::ApiServer => &["ApiErrors", "LeaseLost", "NoReplicaReady", "WatchFailing"],
            Self::LogWithoutFolder => &["LogFailing"],
            Self::SecondInstallation => &["Clash"],
            Self::UndecidedRequest => &["RequestsUndecided"],
            Self::BundleWithoutParent => &["CrlBundleIncomplete"],
            Self::TokenDownForLong => &[
                "CheckpointLate",
                "RevocationWaiting",
                "CrlPublishingFailed",
                "CrlLate",
            ],
            Self::StderrUnread => &["LogLinesDropped"],
        }
    }
}

#[test]
fn every_alert_of_the_faults_is_listed_once() {
    let mut made: Vec<_> = FAULTS
        .iter()
        .flat_map(|fault| fault.alerts().iter().copied())
        .collect();
    let mut all = ALL.to_vec();
    made.sort_unstable();
    // Two faults of the PIN set off the same alert.
    made.dedup();
    all.sort_unstable();
    assert_eq!(made, all);
}
