//! Whole configurations: what is read, and what each mistake is called.

use super::*;

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
        limits: {allowCA: true}
      - namespaces: [payments]
        keys: ["payments-*"]
        keyIds: [a1B2]
        limits: {allowCA: false, maxDuration: 2160h, allowedDNS: ["*.payments.example"]}
  payments:
    module: softhsm
    serial: 1404389111
    pinFrom: {namespace: payments}
"#;

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(Path::new("config.yaml"), text).map_err(|error| error.to_string())
}

fn good() -> Config {
    parse(GOOD).unwrap()
}

/// A configuration of one token with these lines in place of its PIN and grants.
fn with(lines: &str) -> Result<Config, String> {
    parse(&format!(
        "modules: {{hsm: {{path: /lib/hsm.so}}}}\ntokens:\n  t:\n    module: hsm\n    label: t\n{lines}"
    ))
}

#[test]
fn a_module_may_be_the_socket_of_a_worker_elsewhere() {
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
    let limits = issuing
        .may_use(IssuerScope::Namespace("payments"), "other", &[0xa1, 0xb2])
        .unwrap();
    assert!(!limits.allow_ca);
    assert_eq!(limits.max_duration, Some("2160h".parse().unwrap()));
    assert_eq!(
        limits.allowed_dns.as_deref(),
        Some(["*.payments.example".to_owned()].as_slice())
    );
    assert!(
        issuing
            .may_use(IssuerScope::Cluster, "issuing-ca", b"")
            .unwrap()
            .allow_ca
    );
    assert!(
        issuing
            .may_use(IssuerScope::Namespace("payments"), "issuing-ca", b"")
            .is_none()
    );
}

#[test]
fn without_grants_only_cluster_issuers_may_use_a_token_and_sign_no_ca() {
    let config = with("    pinFile: /run/pin\n").unwrap();
    let token = config.token("t").unwrap();
    assert_eq!(
        token.may_use(IssuerScope::Cluster, "any", b""),
        Some(&Limits::default())
    );
    assert!(!Limits::default().allow_ca);
    assert_eq!(token.may_use(IssuerScope::Namespace("t"), "any", b""), None);
}

#[test]
fn the_record_of_pin_tries_lies_beside_the_pin_file_or_where_it_is_told_to() {
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

#[test]
fn a_token_whose_pin_a_namespace_brings_belongs_to_that_namespace() {
    let payments = good().token("payments").unwrap().clone();
    assert!(payments.pin().is_from(IssuerScope::Namespace("payments")));
    assert!(!payments.pin().is_from(IssuerScope::Cluster));
    assert!(!payments.pin().is_from(IssuerScope::Namespace("other")));
    assert!(
        payments
            .may_use(IssuerScope::Namespace("payments"), "any", b"")
            .is_some()
    );
    assert_eq!(payments.may_use(IssuerScope::Cluster, "any", b""), None);
}

#[test]
fn no_issuer_brings_the_pin_that_the_operator_brings() {
    let issuing = good().token("issuing").unwrap().clone();
    assert!(!issuing.pin().is_from(IssuerScope::Cluster));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = Config::load(Path::new("/nonexistent/config.yaml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "failed to read the configuration /nonexistent/config.yaml"
    );
}

#[test]
fn a_mistake_of_form_is_named_with_its_place() {
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
            "config.yaml:4:16: hangAfter: \"1d\" has a number without a unit",
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
fn a_pin_written_into_the_file_is_refused_and_not_repeated() {
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
fn a_mistake_of_sense_is_named_with_its_place_and_field() {
    for (text, expected) in [
        ("", "config.yaml: tokens: no token is named"),
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
            "config.yaml:2:13: tokens.t: a token has exactly one of `label` and `serial`",
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
            "config.yaml:4:6: tokens.u: token \"t\" is the same one",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.starts_with(expected), "{error}\n{expected}");
    }
}

#[test]
fn a_mistake_about_pins_and_grants_is_named_with_its_place_and_field() {
    for (lines, expected) in [
        (
            "",
            "config.yaml:4:5: tokens.t: a token has exactly one of `pinFile`",
        ),
        (
            "    pinFile: /p\n    pinFrom: {clusterIssuers: true}",
            "config.yaml:4:5: tokens.t: a token has exactly one of `pinFile`",
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
            "config.yaml:6:16: tokens.t.pinRecord: `pinRecord` goes with `pinFile` only",
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
            "config.yaml:7:16: tokens.t.hangAfter: hangAfter is 1ms",
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
            "config.yaml:7:14: tokens.t.grants[0]: a grant has exactly one of",
        ),
        (
            "    pinFile: /p\n    grants: [{clusterIssuers: true, namespaces: [a], keys: [a]}]",
            "config.yaml:7:14: tokens.t.grants[0]: a grant has exactly one of",
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
            "    pinFile: /p\n    grants: [{clusterIssuers: true, keys: [a], limits: {allowedDNS: ['*']}}]",
            "config.yaml:7:70: tokens.t.grants[0].limits.allowedDNS[0]: \"*\" is not a DNS name",
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
    assert!(
        token
            .may_use(IssuerScope::Cluster, "", &[0x00, 0x12])
            .is_some()
    );
}
