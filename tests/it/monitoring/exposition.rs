//! Tests that the descriptions agree with what is exposed, and that promtool accepts it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use pkcs11_issuer::{
    audit::RequestKind,
    metrics::{
        ApiVerb, CrlAnswer, CrlFailure, CrlTimes, IssuerHealth, IssuerId, LeaseRenewal, Metrics,
        RequestResult, RevocationResult, SessionCounts, SignOutcome, TimedStage, TokenCounts,
        TokenFunction, TokenUse, WaitReason,
    },
};

/// Returns metrics with a sample of each.
fn all() -> Metrics {
    let metrics = Metrics::with_issuers("0.1.0", "unknown", 1);
    let kind = RequestKind::CertificateRequest;
    let issuer = IssuerId {
        kind: "PKCS11ClusterIssuer",
        namespace: None,
        name: "issuing",
    };
    let second = Duration::from_secs(1);
    metrics.request(kind, issuer, RequestResult::Issued);
    metrics.issuer(
        issuer,
        Some(IssuerHealth {
            ready: true,
            not_after: Some(1),
        }),
    );
    metrics.issuer_signed(issuer, 1);
    metrics.refused(kind, issuer, "bad-san");
    metrics.undecided(kind, 1, Some(1));
    metrics.waiting(kind, WaitReason::Queue, 1, Some(1));
    metrics.published_after(kind, second);
    metrics.stage(TimedStage::Turn, second);
    metrics.expect_failures(&["issuance"], &["rfc5280_version_3"]);
    metrics.signed("issuing", SignOutcome::Signed, second);
    metrics.last_signature("issuing", 1);
    metrics.token_called("issuing", TokenFunction::Sign, second);
    metrics.token_failed("issuing", "CKR_DEVICE_ERROR", 1);
    metrics.token(
        "issuing",
        &TokenCounts {
            state: "ready",
            entered: BTreeMap::from([("ready", 1)]),
            ended: BTreeMap::from([("hung", 1)]),
            starts: 1,
            logins: BTreeMap::from([("accepted", 1)]),
            pin: vec![("locked", false)],
        },
    );
    metrics.token_use(
        "issuing",
        TokenUse {
            queued: 1,
            in_flight: 1,
            sessions: Some(SessionCounts {
                open: 1,
                discarded: 0,
            }),
        },
    );
    metrics.token_replicas("issuing", 1);
    metrics.issuers("PKCS11ClusterIssuer", "Verified", Some(1));
    metrics.ca_not_after("issuing", Some(1));
    metrics.ca_too_short("issuing", Some(0));
    metrics.config_reloaded(true);
    metrics.lease_renewed(LeaseRenewal::Renewed);
    metrics.watch_failed("CertificateRequest");
    metrics.api_called(ApiVerb::Get, Some(200), second);
    let times = CrlTimes {
        this_update: 1,
        next_update: 2,
        entries: 3,
    };
    metrics.crl("00112233445566778899aabbccddeeff", Some(times));
    metrics.crl_due("00112233445566778899aabbccddeeff", Some(1));
    metrics.crl_failed(CrlFailure::Sign);
    metrics.crl_answered(CrlAnswer::Served);
    metrics.revocation(RevocationResult::Revoked);
    metrics
}

/// Returns the labels of each sample, by the sample's name.
fn samples(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut samples: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let series = line.rsplit_once(' ').map_or(line, |(series, _)| series);
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let labels = labels.split(',').filter_map(|label| label.split_once('='));
        let labels = labels
            .map(|(label, _)| label)
            .filter(|label| *label != "le");
        samples.entry(name).or_default().extend(labels);
    }
    samples
}

#[test]
fn every_metric_is_exposed_with_exactly_the_labels_of_its_description() -> Result<()> {
    let metrics = all();
    let text = metrics.encode()?;
    let mut exposed = samples(&text);
    for metric in metrics.descriptions() {
        let suffixes: &[&str] = match metric.kind {
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        for suffix in suffixes {
            let name = format!("{}{suffix}", metric.name);
            let labels = exposed
                .remove(name.as_str())
                .with_context(|| format!("{name} is not exposed"))?;
            let described = metric.labels.iter().copied().collect();
            assert_eq!(labels, described, "{name}");
        }
    }
    assert_eq!(exposed, BTreeMap::new(), "not described");
    Ok(())
}

/// Translates OpenMetrics into Prometheus' own text format, the only format that promtool reads. In it, the name of a
/// counter includes `_total`, and an info metric is a gauge.
fn prometheus_text(text: &str) -> String {
    let counters: BTreeSet<_> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .filter_map(|(name, kind)| match kind {
            "counter" => Some((name, "_total")),
            "info" => Some((name, "_info")),
            _ => None,
        })
        .collect();
    let renamed = |line: &str| {
        let rest = line
            .strip_prefix("# HELP ")
            .or_else(|| line.strip_prefix("# TYPE "))?;
        let (name, rest) = rest.split_once(' ')?;
        let (_, suffix) = counters.iter().find(|(counter, _)| *counter == name)?;
        let rest = if rest == "info" { "gauge" } else { rest };
        Some(format!("{} {name}{suffix} {rest}\n", &line[..6]))
    };
    let lines = text.lines().filter(|line| *line != "# EOF");
    lines
        .map(|line| renamed(line).unwrap_or_else(|| format!("{line}\n")))
        .collect()
}

#[test]
fn promtool_accepts_the_metrics_and_their_names() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("metrics");
    fs::write(&file, prometheus_text(&all().encode()?))?;
    let checked = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::from(fs::File::open(&file)?))
        .output()
        .context("run promtool: tests/setup/packages installs it")?;
    let said = String::from_utf8_lossy(&checked.stderr);
    ensure!(checked.status.success() && said.is_empty(), "{said}");
    Ok(())
}
