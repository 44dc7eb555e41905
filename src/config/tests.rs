//! Tests of whole configurations: the values that are read, and the error for each mistake.

use jiff::SignedDuration;

use super::*;
use crate::issuance::{
    Limits,
    profile::{AllowedNames, CaLimits},
    usage::Usage,
};

const GOOD: &str = r#"
modules:
  softhsm: {path: /usr/lib/softhsm/libsofthsm2.so, env: {SOFTHSM2_CONF: /etc/softhsm2.conf}}
tokens:
  issuing:
    module: softhsm
    label: issuing
    pinFile: /run/secrets/hsm/pin
    sessions: 8
    hangAfter: 1m
    grants:
      - clusterIssuers: true
        keys: ["*"]
        limits: {ca: {allow: true}}
      - namespaces: [payments]
        keys: ["payments-*"]
        keyIds: [a1B2]
        limits: {maxDuration: 2160h, names: {dns: ["*.payments.example"]}}
  payments:
    module: softhsm
    serial: 1404389111
    pinFrom: {namespace: payments}
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("config.yaml"), text).map_err(|error| error.to_string())
}

/// Returns the scope of an issuer in a namespace without labels.
fn within(name: &str) -> IssuerScope<'_> {
    static NONE: Labels = Labels::new();
    IssuerScope::Namespace {
        name,
        labels: &NONE,
    }
}

fn good() -> Config {
    parse(GOOD).unwrap()
}

/// Returns a configuration of one token, with these lines for its PIN and grants.
fn with(lines: &str) -> Result<Config, String> {
    parse(&format!(
        "modules: {{hsm: {{path: /lib/hsm.so}}}}\ntokens:\n  t:\n    module: hsm\n    label: t\n{lines}"
    ))
}

#[test]
fn a_module_may_be_the_socket_of_a_sidecar_worker() {
    let text = "modules: {luna: {socket: /run/hsm/luna.sock}}\n\
                tokens: {t: {module: luna, label: t, pinFile: /pin}}";
    let config = Config::parse(Path::new("config.yaml"), text).unwrap();
    let library = &config.token("t").unwrap().module().library;
    assert_eq!(library, &Library::Socket("/run/hsm/luna.sock".into()));
}

#[test]
fn a_whole_configuration_is_read() {
    let config = good();
    let issuing = config.token("issuing").unwrap();
    assert_eq!(issuing.name(), "issuing");
    assert_eq!(
        issuing.module().library,
        Library::Path {
            path: "/usr/lib/softhsm/libsofthsm2.so".into(),
            env: BTreeMap::from([("SOFTHSM2_CONF".to_owned(), "/etc/softhsm2.conf".to_owned())]),
        }
    );
    assert_eq!(issuing.selector(), &TokenSelector::Label("issuing".into()));
    assert_eq!(
        issuing.pin(),
        &PinSource::File {
            path: "/run/secrets/hsm/pin".into(),
            record: "/run/secrets/hsm/pkcs11-issuer-pin-record.json".into(),
        }
    );
    assert_eq!(issuing.sessions().map(NonZeroU16::get), Some(8));
    assert_eq!(issuing.hang_after(), Duration::from_secs(60));
    let payments = config.token("payments").unwrap();
    assert_eq!(
        payments.selector(),
        &TokenSelector::Serial("1404389111".into())
    );
    assert_eq!(payments.sessions(), None);
    assert_eq!(payments.hang_after(), Duration::from_secs(30));
    assert_eq!(payments.max_rejected_logins().get(), 2);
    assert_eq!(
        config.tokens().map(TokenConfig::name).collect::<Vec<_>>(),
        ["issuing", "payments"]
    );
    assert!(config.token("other").is_none());
}

#[test]
fn the_first_grant_that_covers_a_key_decides() {
    let config = good();
    let issuing = config.token("issuing").unwrap();
    let payments = within("payments");
    let fence = AllowedNames::closed(
        vec!["*.payments.example".parse().unwrap()],
        Vec::new(),
        Vec::new(),
        Vec::new(),
    );
    assert_eq!(
        issuing
            .grant(payments, "other", &[0xa1, 0xb2], &[0; 32])
            .map(Grant::limits),
        Some(&Limits {
            max_duration: Some(SignedDuration::from_hours(2160)),
            names: Some(fence),
            ..Limits::default()
        })
    );
    let allowing_ca = Limits {
        ca: CaLimits {
            allow: true,
            max_path_length: None,
        },
        ..Limits::default()
    };
    assert_eq!(
        issuing
            .grant(IssuerScope::Cluster, "issuing-ca", b"", &[0; 32])
            .map(Grant::limits),
        Some(&allowing_ca)
    );
    assert_eq!(
        issuing
            .grant(payments, "issuing-ca", b"", &[0; 32])
            .map(Grant::limits),
        None
    );
}

#[test]
fn a_grant_with_certificates_covers_no_other_issuing_certificate() {
    let pinned = "ab".repeat(32);
    let config = with(&format!(
        "    pinFile: /p\n    grants:\n      - {{clusterIssuers: true, keys: [a], certificates: ['sha256:{pinned}']}}\n      - {{clusterIssuers: true, keys: [a], limits: {{maxDuration: 1h}}, certificates: ['sha256:{}']}}\n",
        "CD:".repeat(32).trim_end_matches(':')
    ))
    .unwrap();
    let token = config.token("t").unwrap();
    let limits = |certificate: u8| {
        token
            .grant(IssuerScope::Cluster, "a", b"", &[certificate; 32])
            .map(Grant::limits)
    };
    assert_eq!(limits(0xab), Some(&Limits::default()));
    assert_eq!(
        limits(0xcd).and_then(|limits| limits.max_duration),
        Some(SignedDuration::from_hours(1))
    );
    assert_eq!(limits(0xef), None);
    assert!(token.may_use(IssuerScope::Cluster, "a", b""));
}

#[test]
fn a_grant_by_labels_covers_only_namespaces_with_all_the_labels() {
    let config = with(
        "    pinFile: /p\n    grants: [{namespaces: [a, b], namespaceSelector: {matchLabels: {tier: prod, team: x}}, keys: [k]}, {namespaceSelector: {matchLabels: {tier: test}}, keys: [k]}]",
    )
    .unwrap();
    let token = config.token("t").unwrap();
    assert!(token.selects_namespaces());
    for (name, labels, granted) in [
        (
            "a",
            &[("tier", "prod"), ("team", "x"), ("more", "y")][..],
            true,
        ),
        ("c", &[("tier", "prod"), ("team", "x")], false),
        ("a", &[("tier", "prod")], false),
        ("a", &[("tier", "prod"), ("team", "y")], false),
        ("c", &[("tier", "test")], true),
        ("a", &[], false),
    ] {
        let labels: Labels = labels
            .iter()
            .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
            .collect();
        let owner = IssuerScope::Namespace {
            name,
            labels: &labels,
        };
        assert_eq!(token.may_use(owner, "k", b""), granted, "{name} {labels:?}");
    }
    assert!(!token.may_use(IssuerScope::Cluster, "k", b""));
}

#[test]
fn every_field_of_limits_is_read() {
    let config = with(
        "    pinFile: /p\n    grants:\n      - clusterIssuers: true\n        keys: [a]\n        limits:\n          maxDuration: 2160h\n          names:\n            dns: ['*.payments.example', '*.{{namespace}}.svc.cluster.local']\n            ip: [10.1.0.0/16]\n            uri: ['spiffe://prod/ns/{{namespace}}/*']\n            email: ['*@payments.example']\n          subject: {CN: ['*'], O: [Payments]}\n          usages: [digital signature, key encipherment, server auth, client auth, 1.2.3.4]\n          ca: {allow: true, maxPathLen: 0}\n",
    )
    .unwrap();
    let subject = [("CN", "*"), ("O", "Payments")].map(|(kind, value)| {
        let kind = crate::issuance::name::attribute_type(kind).unwrap();
        (kind, vec![value.parse().unwrap()])
    });
    let words = [
        "digital signature",
        "key encipherment",
        "server auth",
        "client auth",
    ];
    let usages = words.map(|word| Usage::parse(word).unwrap());
    let other = Usage::Extended("1.2.3.4".parse().unwrap());
    let expected = Limits {
        max_duration: Some(SignedDuration::from_hours(2160)),
        names: Some(AllowedNames::closed(
            vec![
                "*.payments.example".parse().unwrap(),
                "*.{{namespace}}.svc.cluster.local".parse().unwrap(),
            ],
            vec!["10.1.0.0/16".parse().unwrap()],
            vec!["spiffe://prod/ns/{{namespace}}/*".parse().unwrap()],
            vec!["*@payments.example".parse().unwrap()],
        )),
        subject: Some(subject.into_iter().collect()),
        usages: Some(usages.into_iter().chain([other]).collect()),
        ca: CaLimits {
            allow: true,
            max_path_length: Some(0),
        },
    };
    let token = config.token("t").unwrap();
    assert_eq!(
        token
            .grant(IssuerScope::Cluster, "a", b"", &[0; 32])
            .map(Grant::limits),
        Some(&expected)
    );
}

#[test]
fn without_grants_only_cluster_issuers_may_use_a_token_and_sign_no_ca() {
    let config = with("    pinFile: /run/pin\n").unwrap();
    let token = config.token("t").unwrap();
    assert_eq!(
        token
            .grant(IssuerScope::Cluster, "any", b"", &[0; 32])
            .map(Grant::limits),
        Some(&Limits::default())
    );
    assert!(!Limits::default().ca.allow);
    assert!(!token.may_use(within("t"), "any", b""));
}

#[test]
fn the_pin_record_is_beside_the_pin_file_or_at_pin_record() {
    for (lines, expected) in [
        ("", "/run/hsm/pkcs11-issuer-pin-record.json"),
        ("    pinRecord: /var/lib/tries\n", "/var/lib/tries"),
    ] {
        let config = with(&format!("    pinFile: /run/hsm/pin\n{lines}")).unwrap();
        let PinSource::File { path, record } = config.token("t").unwrap().pin() else {
            panic!("the PIN comes from a file");
        };
        assert_eq!(path, Path::new("/run/hsm/pin"));
        assert_eq!(record, Path::new(expected));
    }
}

/// Returns the selector of a token with these fields.
fn selected(fields: &str) -> Result<TokenSelector, String> {
    let text = format!(
        "modules: {{a: {{path: /a}}}}\ntokens: {{t: {{module: a, {fields}, pinFile: /p}}}}"
    );
    let config = Config::parse(Path::new("config.yaml"), &text);
    let config = config.map_err(|error| error.to_string())?;
    Ok(config.token("t").unwrap().selector().clone())
}

#[test]
fn a_token_is_selected_by_exactly_one_criterion_which_may_be_its_slot() {
    assert_eq!(
        selected("slotDescription: A reader"),
        Ok(TokenSelector::SlotDescription("A reader".into()))
    );
    assert_eq!(selected("slotId: 0"), Ok(TokenSelector::SlotId(0)));
    let given = ["label: l", "serial: s", "slotDescription: d", "slotId: 1"];
    for (place, one) in given.iter().enumerate() {
        for other in &given[place + 1..] {
            let error = selected(&format!("{one}, {other}")).unwrap_err();
            assert!(error.contains("exactly one of `label`"), "{error}");
        }
    }
    let error = selected("slotDescription: 'x '").unwrap_err();
    assert!(error.contains("1 to 64 octets"), "{error}");
}

/// Some libraries find their device by an environment variable, and devices may have the same label.
#[test]
fn one_library_with_two_environments_has_two_tokens() {
    let two = |env: &str, other: &str| {
        let text = format!(
            "modules: {{a: {{path: /a, env: {{DEVICE: {env}}}}}, b: {{path: /a, env: {{DEVICE: {other}}}}}}}\n\
             tokens: {{t: {{module: a, label: t}}, u: {{module: b, label: t}}}}"
        );
        Config::parse(Path::new("config.yaml"), &text).map_err(|error| error.to_string())
    };
    assert_eq!(two("x", "y").unwrap().tokens().count(), 2);
    let error = two("x", "x").unwrap_err();
    assert!(error.contains("this is the same token as \"t\""), "{error}");
}

#[test]
fn a_token_without_a_pin_belongs_to_the_operator() {
    let config = with("").unwrap();
    let token = config.token("t").unwrap();
    assert_eq!(token.pin(), &PinSource::None);
    assert!(token.serves(IssuerScope::Cluster));
    assert!(!token.pin().is_from(IssuerScope::Cluster));
}

#[test]
fn a_token_whose_pin_a_namespace_provides_belongs_to_that_namespace() {
    let payments = good().token("payments").unwrap().clone();
    assert!(payments.pin().is_from(within("payments")));
    assert!(!payments.pin().is_from(IssuerScope::Cluster));
    assert!(!payments.pin().is_from(within("other")));
    assert!(payments.may_use(within("payments"), "any", b""));
    assert!(!payments.may_use(IssuerScope::Cluster, "any", b""));
}

#[test]
fn an_operators_pin_comes_from_no_issuer() {
    let issuing = good().token("issuing").unwrap().clone();
    assert!(!issuing.pin().is_from(IssuerScope::Cluster));
}

#[test]
fn the_error_names_a_missing_file() {
    let error = Config::load(Path::new("/nonexistent/config.yaml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read the configuration /nonexistent/config.yaml"
    );
}

#[test]
fn an_error_of_syntax_names_its_place() {
    for (text, expected) in [
        (
            "modules: {}\ntokenz: {}\n",
            "config.yaml:2:1: unknown field `tokenz`, expected one of modules, tokens",
        ),
        (
            "modules:\n  hsm: {path: /lib/hsm.so, slot: 1}\n",
            "config.yaml:2:28: unknown field `slot`, expected one of path, env, socket",
        ),
        (
            "tokens:\n  t: {label: t}\n",
            "config.yaml:2:7: missing field `module`",
        ),
        (
            "tokens: {t: {module: m, sessions: many}}\n",
            "config.yaml:1:35: sessions: invalid u16",
        ),
        (
            "tokens:\n  t:\n    module: m\n    hangAfter: 1d\n",
            "config.yaml:4:16: hangAfter: \"1d\" has a number without a known unit",
        ),
        (
            "tokens:\n  t: {module: a}\n  t: {module: b}\n",
            "config.yaml:3:3: duplicate mapping key: t",
        ),
        (
            "tokens: [",
            "config.yaml:1:9: tokens: expected mapping start",
        ),
        (
            "tokens: {t: {module: m, grants: [{keyz: []}]}}\n",
            "config.yaml:1:35: unknown field `keyz`",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
}

#[test]
fn the_error_for_a_pin_in_the_file_does_not_show_the_pin() {
    for lines in [
        "    pin: '73915208'\n",
        "    pinFile: [73915208]\n",
        "    pinSecretRef: '73915208'\n",
    ] {
        let error = with(lines).unwrap_err();
        assert!(!error.contains("73915208"), "{error}");
    }
}

#[test]
fn an_error_about_modules_and_tokens_names_its_place_and_field() {
    for (text, expected) in [
        ("", "config.yaml: tokens: no token is configured"),
        (
            "modules: {hsm: {}}",
            "config.yaml:1:16: modules.hsm: a module has exactly one of `path`",
        ),
        (
            "modules: {hsm: {path: /a, socket: /b}}",
            "config.yaml:1:16: modules.hsm: a module has exactly one of `path`",
        ),
        (
            "modules: {hsm: {path: a.so}}",
            "config.yaml:1:16: modules.hsm.path: a.so is relative",
        ),
        (
            "modules: {Hsm: {path: /a}}",
            "config.yaml:1:16: modules.Hsm: \"Hsm\" is not a name",
        ),
        (
            "modules: {hsm: {path: /a, env: {A=B: c}}}",
            "config.yaml:1:16: modules.hsm.env: \"A=B\" cannot be the name",
        ),
        (
            "modules: {hsm: {socket: a.sock}}",
            "config.yaml:1:16: modules.hsm.socket: a.sock is relative",
        ),
        (
            "modules: {hsm: {socket: /a, env: {A: b}}}",
            "config.yaml:1:16: modules.hsm.env: `env` is for libraries",
        ),
        (
            "modules: {a: {path: /a}, b: {path: /b}}\ntokens: {t: {module: c}}",
            "config.yaml:2:22: tokens.t.module: no module is called \"c\": write one of a, b",
        ),
        (
            "modules: {a: {path: /a}}\ntokens: {t: {module: a, pinFile: /p}}",
            "config.yaml:2:13: tokens.t: a token has exactly one of `label`, `serial` and, as a last resort, `slotDescription` and `slotId`",
        ),
        (
            "modules: {a: {path: /a}}\ntokens: {t: {module: a, serial: '12345678901234567', pinFile: /p}}",
            "config.yaml:2:33: tokens.t.serial: a token's serial has 1 to 16 octets",
        ),
        (
            "modules: {a: {path: /a}}\ntokens: {t: {module: a, label: 't ', pinFile: /p}}",
            "config.yaml:2:32: tokens.t.label: a token's label has 1 to 32 octets",
        ),
        (
            "modules: {a: {path: /a}, b: {path: /a}}\ntokens:\n  t: {module: a, label: t, pinFile: /p}\n  u: {module: b, label: t, pinFile: /p}",
            "config.yaml:4:6: tokens.u: this is the same token as \"t\"",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn an_error_about_pins_and_grants_names_its_place_and_field() {
    for (lines, expected) in [
        (
            "    pinFile: /p\n    pinFrom: {clusterIssuers: true}",
            "config.yaml:4:5: tokens.t: a token has at most one of `pinFile`",
        ),
        (
            "    pinFile: p",
            "config.yaml:6:14: tokens.t.pinFile: p is relative",
        ),
        (
            "    pinFile: /p\n    pinRecord: r",
            "config.yaml:7:16: tokens.t.pinRecord: r is relative",
        ),
        (
            "    pinRecord: /r\n    pinFrom: {clusterIssuers: true}",
            "config.yaml:6:16: tokens.t.pinRecord: `pinRecord` is for `pinFile` only",
        ),
        (
            "    pinSecretRef: {name: a/b, key: pin}",
            "config.yaml:6:26: tokens.t.pinSecretRef.name: \"a/b\" cannot be the name",
        ),
        (
            "    pinFrom: {}",
            "config.yaml:6:14: tokens.t.pinFrom: `pinFrom` has exactly one of",
        ),
        (
            "    pinFrom: {namespace: A}",
            "config.yaml:6:14: tokens.t.pinFrom: \"A\" is not a name",
        ),
        (
            "    pinFile: /p\n    sessions: 0",
            "config.yaml:7:15: tokens.t.sessions: 0 sessions",
        ),
        (
            "    pinFile: /p\n    hangAfter: 1ms",
            "config.yaml:7:16: tokens.t.hangAfter: hangAfter is 1ms: write 1s to 60s",
        ),
        (
            "    pinFile: /p\n    hangAfter: 61s",
            "config.yaml:7:16: tokens.t.hangAfter: hangAfter is 1m1s: write 1s to 60s",
        ),
        (
            "    pinFile: /p\n    maxRejectedLogins: 3",
            "config.yaml:7:24: tokens.t.maxRejectedLogins: maxRejectedLogins is 3",
        ),
        (
            "    pinFile: /p\n    grants: []",
            "config.yaml:4:5: tokens.t.grants: the list is empty",
        ),
        (
            "    pinFile: /p\n    grants: [{keys: [a]}]",
            "config.yaml:7:14: tokens.t.grants[0]: a grant is either",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, namespaces: [a], keys: [a]}]",
            "config.yaml:7:14: tokens.t.grants[0]: a grant is either",
        ),
        (
            "    pinFile: /p\n    grants: [{namespaces: ['*'], keys: [a]}]",
            "config.yaml:7:28: tokens.t.grants[0].namespaces[0]: \"*\" is not a name",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true}]",
            "config.yaml:7:14: tokens.t.grants[0]: the grant names no key",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a, '']}]",
            "config.yaml:7:47: tokens.t.grants[0].keys[1]: an empty pattern",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keyIds: ['']}]",
            "config.yaml:7:46: tokens.t.grants[0].keyIds[0]: \"\" is not a CKA_ID",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keyIds: [abc]}]",
            "config.yaml:7:46: tokens.t.grants[0].keyIds[0]: \"abc\" is not a CKA_ID",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {maxDuration: 0s}}]",
            "config.yaml:7:70: tokens.t.grants[0].limits.maxDuration: maxDuration is 0s",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {names: {dns: ['a.*']}}}]",
            "config.yaml:7:71: tokens.t.grants[0].limits.names.dns[0]: \"a.*\" is not a pattern of DNS names",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {names: {ip: [10.0.0.1/8]}}}]",
            "config.yaml:7:70: tokens.t.grants[0].limits.names.ip[0]: \"10.0.0.1/8\" has bits set",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {subject: {XY: [a]}}}]",
            "config.yaml:7:71: tokens.t.grants[0].limits.subject.XY: \"XY\" is not an attribute",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {subject: {O: ['*a']}}}]",
            "config.yaml:7:71: tokens.t.grants[0].limits.subject.O[0]: \"*a\" is empty or has",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {usages: [server]}}]",
            "config.yaml:7:66: tokens.t.grants[0].limits.usages[0]: \"server\" is not a usage",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {usages: [server auth]}}]",
            "config.yaml:7:65: tokens.t.grants[0].limits.usages: the list must have both",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], certificates: []}]",
            "config.yaml:7:62: tokens.t.grants[0].certificates: the list is empty",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], revokeAny: true}]",
            "config.yaml:7:14: tokens.t.grants[0].revokeAny: only a grant to namespaces",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], certificates: [abcd]}]",
            "config.yaml:7:63: tokens.t.grants[0].certificates[0]: \"abcd\" is not the hash",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, namespaceSelector: {matchLabels: {a: b}}, keys: [a]}]",
            "config.yaml:7:14: tokens.t.grants[0]: a grant is either",
        ),
        (
            "    pinFile: /p\n    grants: [{namespaceSelector: {matchLabels: {}}, keys: [a]}]",
            "config.yaml:7:34: tokens.t.grants[0].namespaceSelector.matchLabels: a selector needs",
        ),
        (
            "    pinFrom: {namespace: a}\n    grants: [{clusterIssuers: true, keys: [a]}]",
            "config.yaml:7:14: tokens.t.grants[0]: the token's PIN belongs to namespace a",
        ),
    ] {
        let error = with(lines).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn an_id_of_digits_only_keeps_its_zeros() {
    let config =
        with("    pinFile: /p\n    grants: [{clusterIssuers: true, keyIds: [0012]}]").unwrap();
    let token = config.token("t").unwrap();
    assert!(token.may_use(IssuerScope::Cluster, "", &[0x00, 0x12]));
}
