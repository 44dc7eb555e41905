//! The flags of `run`: their defaults, and which values they take.

use clap::{CommandFactory as _, Parser as _, error::ErrorKind};

use super::*;
use crate::args::{Args, Command};

fn run(arguments: &[&str]) -> Run {
    let all = ["pkcs11-issuer", "run", "--config", "config.yaml"]
        .iter()
        .chain(arguments);
    match Args::try_parse_from(all).unwrap().command {
        Command::Run(run) => *run,
        Command::Sign(_)
        | Command::Audit(_)
        | Command::Crl(_)
        | Command::RevokeProof(_)
        | Command::Doctor(_)
        | Command::Token(_)
        | Command::Dev(_)
        | Command::Key(_)
        | Command::Certificate(_)
        | Command::Kubectl(_)
        | Command::Crds
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Version => {
            panic!("run was asked for")
        }
    }
}

#[test]
fn every_flag_of_run_has_an_environment_variable_of_its_name() {
    let command = Args::command();
    let run = command.find_subcommand("run").unwrap();
    for flag in run
        .get_arguments()
        .filter(|flag| flag.get_id() != "help" && flag.get_id() != "version")
    {
        let expected = format!(
            "PKCS11_ISSUER_{}",
            flag.get_long().unwrap().to_uppercase().replace('-', "_")
        );
        assert_eq!(
            flag.get_env().and_then(|name| name.to_str()),
            Some(expected.as_str())
        );
    }
}

#[test]
fn approval_is_enforced_by_default() {
    assert!(run(&[]).enforce_approval);
    assert!(run(&["--enforce-approval"]).enforce_approval);
    assert!(run(&["--enforce-approval=true"]).enforce_approval);
    assert!(!run(&["--enforce-approval=false"]).enforce_approval);
    assert!(!run(&["--enforce-approval", "false"]).enforce_approval);
}

#[test]
fn issuers_get_metrics_of_their_own_only_on_demand_and_at_most_a_thousand() {
    assert_eq!(run(&[]).issuer_metrics, 0);
    assert_eq!(run(&["--issuer-metrics", "1000"]).issuer_metrics, 1000);
    for wrong in ["1001", "-1", "many"] {
        let wrong = format!("--issuer-metrics={wrong}");
        let all = ["pkcs11-issuer", "run", "--config", "config.yaml", &wrong];
        let error = Args::try_parse_from(all).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ValueValidation);
    }
}

#[test]
fn the_probe_interval_is_one_minute_by_default() {
    assert_eq!(run(&[]).probe_interval, Duration::from_secs(60));
    let often = run(&["--probe-interval", "1s"]);
    assert_eq!(often.probe_interval, Duration::from_secs(1));
    for wrong in ["0s", "-1s", "25h", "60"] {
        let arguments = [
            "pkcs11-issuer",
            "run",
            "--config",
            "c",
            "--probe-interval",
            wrong,
        ];
        assert!(Args::try_parse_from(arguments).is_err(), "{wrong}");
    }
}

#[test]
fn no_event_about_a_request_without_a_decision_is_written_by_default() {
    assert_eq!(run(&[]).undecided_after, None);
    let four = run(&["--undecided-after", "4h"]);
    assert_eq!(four.undecided_after, Some(Duration::from_secs(4 * 3600)));
}

#[test]
fn the_drain_timeout_is_twenty_seconds_by_default() {
    assert_eq!(run(&[]).drain_timeout, Duration::from_secs(20));
    let soon = run(&["--drain-timeout", "1500ms"]);
    assert_eq!(soon.drain_timeout, Duration::from_millis(1500));
    for wrong in ["0s", "-1s", "999ms", "61m", "20"] {
        let arguments = [
            "pkcs11-issuer",
            "run",
            "--config",
            "c",
            "--drain-timeout",
            wrong,
        ];
        assert!(Args::try_parse_from(arguments).is_err(), "{wrong}");
    }
}

#[test]
fn certificate_requests_are_answered_if_the_cluster_has_them() {
    assert_eq!(run(&[]).certificate_requests, Answering::Auto);
    for (given, expected) in [
        ("--certificate-requests", Answering::True),
        ("--certificate-requests=true", Answering::True),
        ("--certificate-requests=false", Answering::False),
        ("--certificate-requests=auto", Answering::Auto),
    ] {
        assert_eq!(run(&[given]).certificate_requests, expected);
    }
}

#[test]
fn the_debug_address_is_off_by_default_and_a_port_alone_is_one_of_loopback() {
    assert_eq!(run(&[]).debug_address, None);
    for (given, expected) in [
        ("6060", "127.0.0.1:6060"),
        ("[::]:6060", "[::]:6060"),
        ("10.0.0.1:1", "10.0.0.1:1"),
    ] {
        let parsed = run(&["--debug-address", given]).debug_address;
        assert_eq!(parsed, Some(expected.parse().unwrap()));
    }
    for wrong in ["", "localhost:6060", "65536", ":6060"] {
        assert!(debug_address(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_class_is_a_dns_label_and_empty_by_default() {
    assert_eq!(run(&[]).class, "");
    assert_eq!(run(&["--class", "team-2"]).class, "team-2");
    let too_long = "a".repeat(64);
    for wrong in ["Team", "-a", "a-", "a.b", &too_long] {
        assert!(class(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn events_are_written_by_default() {
    assert!(run(&[]).events);
    assert!(run(&["--events"]).events);
    assert!(!run(&["--events=false"]).events);
}

#[test]
fn run_needs_a_configuration() {
    let error = Args::try_parse_from(["pkcs11-issuer", "run"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingRequiredArgument);
}

#[test]
fn the_namespace_is_the_flag_else_the_pods_else_a_default() {
    assert_eq!(
        run(&["--cluster-resource-namespace", "hsm"]).cluster_resource_namespace(Some("pod\n")),
        "hsm"
    );
    assert_eq!(run(&[]).cluster_resource_namespace(Some("pod\n")), "pod");
    assert_eq!(
        run(&[]).cluster_resource_namespace(Some("")),
        "pkcs11-issuer-system"
    );
    assert_eq!(
        run(&[]).cluster_resource_namespace(None),
        "pkcs11-issuer-system"
    );
}

#[test]
fn the_log_filter_is_the_flag_else_rust_log_else_info() {
    assert_eq!(
        run(&["--log-level", "debug"]).log_filter(Some("warn")),
        "debug"
    );
    assert_eq!(run(&[]).log_filter(Some("warn")), "warn");
    assert_eq!(run(&[]).log_filter(None), "info");
}
