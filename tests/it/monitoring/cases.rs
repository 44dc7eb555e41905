//! For each alert, series in which a fault begins and ends, for `promtool test rules`.

/// A fault in recorded series.
pub(super) struct Case {
    /// Name of the alert, without the common prefix.
    pub(super) alert: &'static str,
    /// Series without the common prefix, each with a sample per minute in promtool's notation.
    pub(super) series: &'static [(&'static str, &'static str)],
    /// The minutes at which the alert is quiet before the fault, fires, and is quiet again.
    pub(super) minutes: [u32; 3],
}

const fn case(
    alert: &'static str,
    series: &'static [(&'static str, &'static str)],
    minutes: [u32; 3],
) -> Case {
    Case {
        alert,
        series,
        minutes,
    }
}

/// A value that becomes 1 in minute 6 and 0 again in minute 37.
const RAISED: &str = "0+0x5 1+0x30 0+0x120";
/// A value that becomes 0 in minute 6 and 1 again in minute 37.
const LOWERED: &str = "1+0x5 0+0x30 1+0x120";
/// A counter that grows once, in minute 6.
const COUNTED_ONCE: &str = "0+0x5 1+0x200";
/// A counter that grows by two a minute from minute 6 to 36.
const COUNTED: &str = "0+0x5 0+2x30 60+0x200";

pub(super) const CASES: &[Case] = &[
    // One of two replicas is ready until minute 6.
    case(
        "NoReplicaReady",
        &[
            ("lease_held{instance=\"a\"}", LOWERED),
            ("lease_held{instance=\"b\"}", "0+0x200"),
        ],
        [5, 15, 45],
    ),
    // No replica can be scraped.
    case(
        "NoReplicaReady",
        &[("lease_held{instance=\"a\"}", "1+0x5 _x30 1+0x120")],
        [5, 25, 45],
    ),
    case(
        "ShareWithoutOwner",
        &[
            (
                "token_state{instance=\"a\",token=\"t\",state=\"ready\"}",
                "1+0x200",
            ),
            ("token_replicas{instance=\"a\",token=\"t\"}", LOWERED),
        ],
        [5, 15, 45],
    ),
    // No replica has ever reached the token.
    case(
        "ShareWithoutOwner",
        &[
            (
                "token_state{instance=\"a\",token=\"t\",state=\"starting\"}",
                "_x5 1+0x200",
            ),
            ("token_replicas{instance=\"a\",token=\"t\"}", "_x36 1+0x120"),
        ],
        [5, 15, 45],
    ),
    case(
        "LeaseLost",
        &[("lease_held{instance=\"a\"}", LOWERED)],
        [5, 15, 45],
    ),
    case(
        "TokenDown",
        &[(
            "token_state{instance=\"a\",token=\"t\",state=\"ready\"}",
            LOWERED,
        )],
        [5, 15, 45],
    ),
    case(
        "PinBlocked",
        &[(
            "token_state{instance=\"a\",token=\"t\",state=\"login-refused\"}",
            RAISED,
        )],
        [5, 15, 45],
    ),
    case(
        "PinBlocked",
        &[(
            "token_pin_flag{instance=\"a\",token=\"t\",flag=\"locked\"}",
            RAISED,
        )],
        [5, 15, 45],
    ),
    case(
        "WorkerRestarting",
        &[(
            "worker_ended_total{instance=\"a\",token=\"t\",reason=\"crashed\"}",
            COUNTED,
        )],
        [5, 15, 55],
    ),
    case(
        "RequestsWaiting",
        &[(
            "waiting_requests_oldest_timestamp_seconds{instance=\"a\",kind=\"k\",reason=\"retry\"}",
            "_x5 360+0x30 _x120",
        )],
        [14, 20, 45],
    ),
    case(
        "RequestsUndecided",
        &[(
            "undecided_requests_oldest_timestamp_seconds{instance=\"a\",kind=\"k\"}",
            "0+0x90 _x60",
        )],
        [59, 70, 100],
    ),
    case(
        "RefusalRate",
        &[
            (
                "requests_total{instance=\"a\",kind=\"k\",result=\"issued\"}",
                "0+2x300",
            ),
            (
                "requests_total{instance=\"a\",kind=\"k\",result=\"failed\"}",
                COUNTED,
            ),
        ],
        [5, 20, 60],
    ),
    // 28 requests are refused between two samples, and none before since the start.
    case(
        "RefusalRate",
        &[(
            "requests_total{instance=\"a\",kind=\"k\",result=\"failed\"}",
            "0+0x5 28+0x200",
        )],
        [5, 15, 60],
    ),
    case(
        "VerificationFailed",
        &[(
            "sign_seconds_count{instance=\"a\",token=\"t\",outcome=\"unverified\"}",
            COUNTED_ONCE,
        )],
        [5, 10, 90],
    ),
    case(
        "LintFailed",
        &[(
            "lint_failures_total{instance=\"a\",lint=\"l\"}",
            COUNTED_ONCE,
        )],
        [5, 10, 90],
    ),
    case(
        "Bug",
        &[("bugs_total{instance=\"a\",bug=\"b\"}", COUNTED_ONCE)],
        [5, 10, 90],
    ),
    // After minute 10, less than 30 days are left.
    case(
        "CaEndsSoon",
        &[(
            "ca_not_after_timestamp_seconds{instance=\"a\",token=\"t\"}",
            "2592600+0x30 9999999999+0x120",
        )],
        [9, 20, 45],
    ),
    case(
        "CaTooShort",
        &[("ca_too_short_issuers{instance=\"a\",token=\"t\"}", RAISED)],
        [5, 15, 45],
    ),
    case(
        "IssuersNotReady",
        &[
            (
                "issuers{instance=\"a\",kind=\"k\",reason=\"Verified\"}",
                "3+0x200",
            ),
            (
                "issuers{instance=\"a\",kind=\"k\",reason=\"KeyNotFound\"}",
                "_x5 1+0x30 _x120",
            ),
        ],
        [5, 20, 50],
    ),
    case(
        "Clash",
        &[("clashes_total{instance=\"a\"}", COUNTED_ONCE)],
        [5, 10, 90],
    ),
    case(
        "LogFailing",
        &[("log_failing{instance=\"a\"}", RAISED)],
        [5, 15, 45],
    ),
    // Checkpoints stop in minute 6 and begin again in minute 37.
    case(
        "CheckpointLate",
        &[
            ("log_lines_total{instance=\"a\"}", "0+9x200"),
            (
                "log_last_checkpoint_timestamp_seconds{instance=\"a\"}",
                "0+60x5 300+0x30 2220+60x120",
            ),
        ],
        [5, 20, 45],
    ),
    case(
        "LogLinesDropped",
        &[("log_dropped_lines_total{instance=\"a\"}", COUNTED_ONCE)],
        [5, 10, 45],
    ),
    case(
        "ConfigurationRefused",
        &[("config_last_reload_successful{instance=\"a\"}", LOWERED)],
        [5, 15, 45],
    ),
    case(
        "ClockOff",
        &[(
            "clock_offset_seconds{instance=\"a\"}",
            "0.4+0x5 -40+0x30 0.4+0x120",
        )],
        [5, 15, 45],
    ),
    case(
        "ApiErrors",
        &[
            (
                "api_requests_total{instance=\"a\",verb=\"get\",code=\"200\"}",
                "0+6x300",
            ),
            (
                "api_requests_total{instance=\"a\",verb=\"get\",code=\"error\"}",
                COUNTED,
            ),
        ],
        [5, 30, 60],
    ),
    case(
        "WatchFailing",
        &[("watch_failures_total{instance=\"a\",kind=\"k\"}", COUNTED)],
        [5, 20, 60],
    ),
    // The CRL is due from minute 6 to 36.
    case(
        "CrlLate",
        &[(
            "crl_due_since_timestamp_seconds{instance=\"a\",ca=\"c\"}",
            "_x5 360+0x30 _x120",
        )],
        [15, 30, 45],
    ),
    // The CRL ends in minute 10; the next one is there in minute 37.
    case(
        "CrlLate",
        &[(
            "crl_next_update_timestamp_seconds{instance=\"a\",ca=\"c\"}",
            "600+0x36 90000+0x120",
        )],
        [5, 20, 45],
    ),
    case(
        "CrlPublishingFailed",
        &[("crl_failures_total{instance=\"a\",step=\"sign\"}", COUNTED)],
        [5, 20, 60],
    ),
    case(
        "CrlBundleIncomplete",
        &[("crl_bundle_incomplete{instance=\"a\"}", RAISED)],
        [5, 20, 45],
    ),
    case(
        "RevocationWaiting",
        &[
            ("revocations_waiting{instance=\"a\"}", RAISED),
            (
                "revocation_waiting_since_timestamp_seconds{instance=\"a\"}",
                "0+0x5 360+0x30 0+0x120",
            ),
        ],
        [8, 20, 45],
    ),
];

/// Series in which nothing is wrong: an idle controller with two replicas.
pub(super) const WELL: &[(&str, &str)] = &[
    ("lease_held{instance=\"a\"}", "1+0x200"),
    ("lease_held{instance=\"b\"}", "1+0x200"),
    (
        "token_state{instance=\"a\",token=\"t\",state=\"ready\"}",
        "1+0x200",
    ),
    (
        "token_state{instance=\"a\",token=\"t\",state=\"login-refused\"}",
        "0+0x200",
    ),
    (
        "token_pin_flag{instance=\"a\",token=\"t\",flag=\"count-low\"}",
        "1+0x200",
    ),
    ("token_replicas{instance=\"a\",token=\"t\"}", "2+0x200"),
    // The token of a removed node, whose metric remains.
    (
        "token_replicas{instance=\"a\",token=\"removed\"}",
        "0+0x200",
    ),
    (
        "worker_ended_total{instance=\"a\",token=\"t\",reason=\"no-token\"}",
        "0+30x200",
    ),
    (
        "worker_ended_total{instance=\"a\",token=\"t\",reason=\"crashed\"}",
        "5+0x200",
    ),
    // The oldest request has always waited for five minutes.
    (
        "waiting_requests_oldest_timestamp_seconds{instance=\"a\",kind=\"k\",reason=\"queue\"}",
        "0+0x5 60+60x200",
    ),
    // Few refusals, and many among very many requests.
    (
        "refusals_total{instance=\"a\",kind=\"k\",reason=\"bad-san\"}",
        "0+1x200",
    ),
    (
        "requests_total{instance=\"a\",kind=\"k\",result=\"issued\"}",
        "0+20x200",
    ),
    (
        "requests_total{instance=\"a\",kind=\"k\",result=\"failed\"}",
        "0+1x200",
    ),
    (
        "sign_seconds_count{instance=\"a\",token=\"t\",outcome=\"unverified\"}",
        "0+0x200",
    ),
    (
        "sign_seconds_count{instance=\"a\",token=\"t\",outcome=\"signed\"}",
        "0+20x200",
    ),
    ("lint_failures_total{instance=\"a\",lint=\"l\"}", "0+0x200"),
    ("bugs_total{instance=\"a\",bug=\"b\"}", "0+0x200"),
    (
        "ca_not_after_timestamp_seconds{instance=\"a\",token=\"t\"}",
        "9999999999+0x200",
    ),
    (
        "ca_too_short_issuers{instance=\"a\",token=\"t\"}",
        "0+0x200",
    ),
    (
        "issuers{instance=\"a\",kind=\"k\",reason=\"Verified\"}",
        "3+0x200",
    ),
    ("clashes_total{instance=\"a\"}", "0+0x200"),
    ("log_failing{instance=\"a\"}", "0+0x200"),
    // No new line, and so no checkpoint.
    ("log_lines_total{instance=\"a\"}", "9+0x200"),
    (
        "log_last_checkpoint_timestamp_seconds{instance=\"a\"}",
        "0+0x200",
    ),
    ("config_last_reload_successful{instance=\"a\"}", "1+0x200"),
    ("clock_offset_seconds{instance=\"a\"}", "-0.4+0x200"),
    (
        "api_requests_total{instance=\"a\",verb=\"get\",code=\"200\"}",
        "0+60x200",
    ),
    (
        "api_requests_total{instance=\"a\",verb=\"get\",code=\"404\"}",
        "0+60x200",
    ),
    (
        "api_requests_total{instance=\"a\",verb=\"put\",code=\"409\"}",
        "0+60x200",
    ),
    (
        "api_requests_total{instance=\"a\",verb=\"get\",code=\"error\"}",
        "0+2x200",
    ),
    ("watch_failures_total{instance=\"a\",kind=\"k\"}", "4+0x200"),
];
