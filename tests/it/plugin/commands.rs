//! Each command of the plugin once, by users with all rights, with some and with none.

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{IssuerName, PATIENCE, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::{CaProfile, KeyKind};

use super::{SHOP, command, run, stage::stage};
use crate::screens::terminal::on_terminal;

fn text(kubeconfig: &std::path::Path, words: &[&str]) -> Result<(Option<i32>, String, String)> {
    let output = run(kubeconfig, words)?;
    let read = |octets: Vec<u8>| String::from_utf8(octets).context("not UTF-8");
    Ok((
        output.status.code(),
        read(output.stdout)?,
        read(output.stderr)?,
    ))
}

#[tokio::test]
async fn status_shows_what_signs_and_what_to_do() -> Result<()> {
    let stage = stage().await?;
    let (code, ready) = super::json(&stage.admin(), &["status", "issuing"])?;
    assert_eq!(code, Some(0), "{ready:#}");
    assert_eq!(ready["issuer"], "PKCS11ClusterIssuer issuing");
    assert_eq!(
        (&ready["ready"], &ready["observed"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(
        ready["tokenFound"]["label"],
        stage.authority.token().label()
    );
    assert_eq!(ready["key"]["algorithm"], "P-256");
    assert_eq!(ready["certificate"]["subject"], "CN=Test issuing");
    let replica = &ready["replicas"][0];
    assert_eq!(
        (&replica["live"], &replica["signs"]),
        (&json!(true), &json!(true))
    );
    let ends = ready["ends"].as_array().context("no ends")?;
    assert!(
        ends.iter()
            .any(|end| end["what"] == "the issuing certificate ends" && end["over"] == false),
        "{ready:#}"
    );
    assert_eq!(ready["unknown"], Value::Null);
    let (code, faulty) = super::json(&stage.admin(), &["status", "p11ci/no-key"])?;
    assert_eq!((code, &faulty["ready"]), (Some(3), &json!(false)));
    let condition = &faulty["conditions"][0];
    assert_eq!(condition["reason"], "KeyNotFound");
    assert_eq!(condition["who"], "the issuer's author, the operator");
    let (code, shown, _) = text(&stage.admin(), &["status", "no-key"])?;
    assert_eq!(code, Some(3));
    assert!(shown.contains("Name the right key"), "{shown}");
    // stdout is no terminal.
    assert!(!shown.contains('\u{1b}'), "{shown}");
    for (no_color, has_colour) in [("", true), ("1", false)] {
        let mut command = command(&stage.admin(), &["status", "no-key"])?;
        command.env("TERM", "xterm").env("NO_COLOR", no_color);
        let shown = on_terminal(&mut command)?;
        assert!(shown.contains("Name the right key"), "{shown}");
        assert_eq!(shown.contains('\u{1b}'), has_colour, "{shown}");
    }
    let (code, _, errors) = text(&stage.admin(), &["status", "nobody"])?;
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("there is no PKCS11ClusterIssuer nobody"),
        "{errors}"
    );
    Ok(())
}

#[tokio::test]
async fn requests_shows_the_waiting_ones_first_and_why_refused_the_word_and_its_page() -> Result<()>
{
    let stage = stage().await?;
    let requests = stage.cluster.requests("default").await?;
    let issuing = IssuerName::cluster("issuing");
    let good = || Ok::<_, anyhow::Error>(request_spec(&issuing, &csr_for("web.shop.example")?));
    requests.create_approved("good", good()?).await?;
    let bad = request_spec(&issuing, &csr_for("bank.example")?);
    requests.create_approved("bad", bad).await?;
    requests.reaches("good", "Issued").await?;
    requests.reaches("bad", "Failed").await?;
    requests.create("waiting", good()?).await?;
    let admin = stage.admin();
    let (code, listed) = super::json(
        &admin,
        &["requests", "--issuer", "issuing", "-n", "default"],
    )?;
    assert_eq!(code, Some(0));
    let rows = listed["requests"].as_array().context("no requests")?;
    let rows: Vec<_> = rows
        .iter()
        .map(|row| ["name", "state", "heldBy"].map(|field| row[field].as_str().unwrap_or("-")))
        .collect();
    assert_eq!(
        rows,
        [
            ["waiting", "waiting", "approval"],
            ["bad", "failed", "policy"],
            ["good", "issued", "-"]
        ]
    );
    let (_, shown, _) = text(&admin, &["requests", "--issuer", "issuing"])?;
    assert!(shown.contains("default/waiting"), "{shown}");
    let (code, refused) = super::json(&admin, &["why-refused", "bad"])?;
    assert_eq!(
        (code, &refused["reason"]),
        (Some(0), &json!("san-not-allowed"))
    );
    let page = refused["page"].as_str().context("no page")?;
    assert!(page.ends_with("docs/refusals.md#san-not-allowed"), "{page}");
    let (code, not_refused) = super::json(&admin, &["why-refused", "good"])?;
    assert_eq!((code, &not_refused["isRefused"]), (Some(3), &json!(false)));
    let (code, explained) = super::json(&admin, &["explain", "good"])?;
    assert_eq!(
        (code, &explained["heldBy"]),
        (Some(0), &Value::Null),
        "{explained:#}"
    );
    Ok(())
}

#[tokio::test]
async fn a_user_whose_rights_do_not_reach_sees_the_rest_and_which_right_is_missing() -> Result<()> {
    let stage = stage().await?;
    let plane = stage.cluster.plane();
    let requests = stage.cluster.requests(SHOP).await?;
    let spec = request_spec(
        &IssuerName::cluster("no-key"),
        &csr_for("web.shop.example")?,
    );
    requests.create_approved("dark", spec).await?;
    // This user may get requests and nothing else.
    let some = plane.user("requester", None)?;
    // The status of the request has the reason, although this user may not read that of the issuer.
    requests.reaches("dark", "Pending").await?;
    let (code, explained) = super::json(&some, &["explain", "cr/dark", "-n", SHOP])?;
    assert_eq!(
        (code, &explained["heldBy"]),
        (Some(3), &json!("token")),
        "{explained:#}"
    );
    let gaps = explained["unknown"].as_array().context("no gaps")?;
    let gaps: Vec<_> = gaps
        .iter()
        .map(|gap| ["verb", "resource"].map(|field| gap[field].as_str().unwrap_or_default()))
        .collect();
    assert_eq!(
        gaps,
        [
            ["get", "pkcs11clusterissuers.pkcs11-issuer.dev"],
            ["list", "events.events.k8s.io"]
        ]
    );
    let (_, shown, _) = text(&some, &["explain", "cr/dark", "-n", SHOP])?;
    let word = "unknown: the state of PKCS11ClusterIssuer no-key: you may not get \
                pkcs11clusterissuers.pkcs11-issuer.dev in the whole cluster";
    assert!(shown.contains(word), "{shown}");
    let none = plane.user("nobody", None)?;
    let (code, shown, errors) = text(&none, &["explain", "cr/dark", "-n", SHOP])?;
    assert_eq!((code, shown.as_str()), (Some(1), ""));
    let word = "you may not get certificaterequests.cert-manager.io in namespace shop";
    assert!(errors.contains(word), "{errors}");
    let (code, _, errors) = text(&none, &["status", "p11ci/issuing"])?;
    assert_eq!(code, Some(1));
    assert!(
        errors.contains("you may not get pkcs11clusterissuers"),
        "{errors}"
    );
    Ok(())
}

/// Runs a command whose JSON does not matter, and returns its exit code and stderr.
fn fails(kubeconfig: &std::path::Path, words: &[&str]) -> Result<String> {
    let (code, shown, errors) = text(kubeconfig, words)?;
    ensure!(
        (code, shown.as_str()) == (Some(1), ""),
        "{code:?} {shown} {errors}"
    );
    Ok(errors)
}

#[tokio::test]
async fn rollover_status_shows_which_steps_are_done() -> Result<()> {
    let stage = stage().await?;
    let admin = stage.admin();
    let (code, none) = super::json(&admin, &["rollover", "status", "issuing"])?;
    assert_eq!((code, &none["inProgress"]), (Some(3), &json!(false)));
    let authority = &stage.authority;
    let next = authority
        .token()
        .generate_key("next", &[9], KeyKind::P256)?;
    let certificate = authority
        .root()
        .issue(&next, &CaProfile::named("Test next"))?;
    let mut spec = authority.issuer_spec();
    spec["next"] = json!({
        "key": {"label": "next"},
        "certificate": {"pem": certificate.pem(), "rootPem": authority.root().pem()},
    });
    let moving = IssuerName::cluster("moving");
    stage.cluster.apply_issuer(&moving, &spec).await?;
    let trusted = stage.cluster.issuer_reaches(&moving, |status| {
        status
            .condition("RollingOver")
            .is_some_and(|one| one.reason == "NextTrusted")
    });
    trusted.await?;
    let (code, told) = super::json(&admin, &["rollover", "status", "moving"])?;
    assert_eq!(
        (code, &told["reason"]),
        (Some(0), &json!("NextTrusted")),
        "{told:#}"
    );
    let steps = told["steps"].as_array().context("no steps")?;
    let done: Vec<_> = steps
        .iter()
        .map(|step| (step["step"].as_str(), step["done"].as_bool()))
        .collect();
    assert_eq!(done[0], (Some("trusted"), Some(true)));
    assert_eq!(done[2], (Some("switched"), Some(false)));
    let (_, shown, _) = text(&admin, &["rollover", "status", "moving"])?;
    assert!(shown.contains("nobody has asked for it"), "{shown}");
    assert!(shown.contains("the next one: CN=Test next"), "{shown}");
    Ok(())
}

#[tokio::test]
async fn revoke_creates_the_revocation_after_a_dry_run_and_asks_first() -> Result<()> {
    let stage = stage().await?;
    let admin = stage.admin();
    let requests = stage.cluster.requests(SHOP).await?;
    let revoking = IssuerName::cluster("revoking");
    let spec = request_spec(&revoking, &csr_for("web.shop.example")?);
    requests.create_approved("leaked", spec).await?;
    requests.reaches("leaked", "Issued").await?;
    let words = ["revoke", "leaked", "-n", SHOP, "--reason", "KeyCompromise"];
    let errors = fails(&admin, &words)?;
    assert!(errors.contains("give --yes"), "{errors}");
    let list = ["get", "certificaterevocations", "-n", SHOP, "-o", "name"];
    let (code, tried) = super::json(&admin, &[&words[..], &["--dry-run"]].concat())?;
    assert_eq!((code, &tried["dryRun"]), (Some(0), &json!(true)));
    assert_eq!(
        tried["object"]["spec"]["certificateRequestRef"]["name"],
        "leaked"
    );
    assert_eq!(stage.cluster.plane().kubectl(&list).await?, "");
    let nobody = stage.cluster.plane().user("requester", None)?;
    let errors = fails(&nobody, &[&words[..], &["--yes"]].concat())?;
    let word = "you may not create certificaterevocations.pkcs11-issuer.dev in namespace shop";
    assert!(errors.contains(word), "{errors}");
    let (code, made) = super::json(&admin, &[&words[..], &["--yes"]].concat())?;
    assert_eq!(code, Some(0), "{made:#}");
    let name = made["object"]["metadata"]["name"]
        .as_str()
        .context("no name")?;
    assert!(name.starts_with("leaked-"), "{name}");
    let wait = [
        "wait",
        "certificaterevocation",
        name,
        "-n",
        SHOP,
        "--timeout=60s",
    ];
    let accepted = [&wait[..], &["--for=condition=Accepted"]].concat();
    stage.cluster.plane().kubectl(&accepted).await?;
    Ok(())
}

#[tokio::test]
async fn reissue_has_the_chosen_certificates_renewed_and_a_dry_run_none() -> Result<()> {
    let stage = stage().await?;
    let admin = stage.admin();
    for name in ["chosen", "left"] {
        let certificate = json!({
            "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
            "metadata": {"namespace": SHOP, "name": name, "labels": {"app": name}},
            "spec": {
                "secretName": name, "dnsNames": ["web.shop.example"],
                "issuerRef": IssuerName::cluster("revoking").reference(),
            },
        });
        stage.cluster.apply(&certificate).await?;
        let requests = stage.cluster.requests(SHOP).await?;
        let first = format!("{name}-1");
        until(&first, PATIENCE, async || {
            Ok(requests.get(&first).await.ok())
        })
        .await?;
        requests.approve(&first).await?;
    }
    let kubectl = |words: &[&str]| {
        let words: Vec<_> = words.iter().map(|&word| word.to_owned()).collect();
        async move {
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            stage.cluster.plane().kubectl(&words).await
        }
    };
    let wait = [
        "wait",
        "certificate",
        "chosen",
        "left",
        "-n",
        SHOP,
        "--timeout=60s",
    ];
    kubectl(&[&wait[..], &["--for=condition=Ready"]].concat()).await?;
    let words = ["reissue", "revoking", "-n", SHOP, "-l", "app=chosen"];
    let rows = json!([{"namespace": SHOP, "name": "chosen", "outcome": "renewed"}]);
    let (code, tried) = super::json(&admin, &[&words[..], &["--dry-run"]].concat())?;
    assert_eq!(
        (code, &tried["certificates"]),
        (Some(0), &rows),
        "{tried:#}"
    );
    let errors = fails(&admin, &words)?;
    assert!(errors.contains("give --yes"), "{errors}");
    let (code, done) = super::json(&admin, &[&words[..], &["--yes"]].concat())?;
    assert_eq!((code, &done["certificates"]), (Some(0), &rows), "{done:#}");
    let requests = stage.cluster.requests(SHOP).await?;
    until("the next request", PATIENCE, async || {
        Ok(requests.get("chosen-2").await.ok())
    })
    .await?;
    requests.get("left-2").await.unwrap_err();
    let (code, none) = super::json(&admin, &["reissue", "of-shop", "-n", SHOP, "--dry-run"])?;
    assert_eq!(
        (code, &none["certificates"]),
        (Some(3), &json!([])),
        "{none:#}"
    );
    Ok(())
}
