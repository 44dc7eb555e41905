//! A token's PIN is tried once per version, its result is remembered across restarts, and the PIN is shown nowhere.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use control_plane::{CertManagerOptions, until};
use rig::{Authority, Cluster, Controller, ControllerOptions, PATIENCE, csr_for, request_spec};
use serde_json::{Value, json};
use softhsm_test_helpers::{FaultyModule, Function, KeyKind};

use super::{issuer, programs, shared_rig};

const STATE: [&str; 5] = [
    "secret",
    "pkcs11-issuer-pin-state",
    "-n",
    rig::NAMESPACE,
    "-ojson",
];

/// A controller whose PIN file the test writes.
struct Case {
    options: ControllerOptions,
    controller: Controller,
    cluster: Cluster,
    /// The library of the token. It counts its calls and has no faults.
    library: FaultyModule,
    authority: Authority,
    folder: tempfile::TempDir,
}

/// The operator's Secret with the PIN, in tests that do not use a file.
const SECRET: &str = "hsm-pin";

impl Case {
    /// Starts a controller with the PIN in a file.
    async fn with_pin(pin: &str) -> Result<Self> {
        Self::start(pin, |token, folder| {
            token["pinFile"] = json!(folder.join("pin"));
        })
        .await
    }

    /// Starts a controller with the PIN in a Secret.
    async fn with_pin_in_a_secret(pin: &str) -> Result<Self> {
        Self::start(pin, |token, _| {
            if let Some(token) = token.as_object_mut() {
                token.remove("pinFile");
            }
            token["pinSecretRef"] = json!({"name": SECRET, "key": "pin"});
        })
        .await
    }

    async fn start(pin: &str, pin_is: impl FnOnce(&mut Value, &Path)) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("pin"), pin)?;
        let authority = Authority::new(KeyKind::P256)?;
        let cluster = Cluster::start(&programs()?, CertManagerOptions::default()).await?;
        cluster
            .apply_issuer(&issuer(), &authority.issuer_spec())
            .await?;
        let library = authority.token().with_faults()?;
        let mut configuration = authority.configuration(&[]);
        configuration["modules"]["softhsm"] =
            json!({"path": library.module(), "env": library.env()});
        pin_is(&mut configuration["tokens"]["issuing"], folder.path());
        let secret = BTreeMap::from([("pin", pin.to_owned())]);
        cluster
            .apply_secret(rig::NAMESPACE, SECRET, &secret)
            .await?;
        let options = ControllerOptions::new(configuration.to_string(), &programs()?);
        let controller = Controller::start(&cluster, &options).await?;
        Ok(Self {
            options,
            controller,
            cluster,
            library,
            authority,
            folder,
        })
    }

    fn write_pin(&self, pin: &str) -> Result<()> {
        // Replaces the file atomically, as kubelet does.
        let new = self.folder.path().join("pin.new");
        fs::write(&new, pin)?;
        Ok(fs::rename(new, self.folder.path().join("pin"))?)
    }

    async fn write_secret(&self, pin: &str) -> Result<()> {
        let texts = BTreeMap::from([("pin", pin.to_owned())]);
        self.cluster
            .apply_secret(rig::NAMESPACE, SECRET, &texts)
            .await
    }

    /// Restarts the controller and waits until it has refused to try the PIN.
    async fn refuses_after_a_restart(&self) -> Result<()> {
        self.controller.restart().await?;
        let process = self.controller.process();
        process.line("rejected this PIN", PATIENCE).await.map(drop)
    }

    /// Waits until the issuer says that no PIN is tried, and returns its message.
    async fn refused(&self, because: &str) -> Result<String> {
        let issuer = issuer();
        let refused = self.cluster.issuer_reaches(&issuer, |status| {
            status.ready().is_some_and(|ready| {
                ready.reason == "LoginRefused" && ready.message.contains(because)
            })
        });
        let ready = refused.await?.ready();
        Ok(ready.context("no condition")?.message)
    }

    /// Waits until the token's entry in the PIN record has this state, and returns the entry.
    async fn record(&self, state: &str) -> Result<Value> {
        until("the PIN record", PATIENCE, async || {
            let record = self.record_now().await?;
            Ok((record["state"] == state).then_some(record))
        })
        .await
    }

    async fn record_now(&self) -> Result<Value> {
        match self.entry().await? {
            Some((_, entry)) => Ok(serde_json::from_slice(
                &STANDARD.decode(&entry).ok().context("base64")?,
            )?),
            None => Ok(Value::Null),
        }
    }

    /// Returns the token's entry in the PIN record, with its key.
    async fn entry(&self) -> Result<Option<(String, String)>> {
        let mut command = vec!["get"];
        command.extend(STATE);
        let mut secret: Value =
            serde_json::from_str(&self.cluster.plane().kubectl(&command).await?)?;
        let data: Option<BTreeMap<String, String>> = serde_json::from_value(secret["data"].take())?;
        let data = data.unwrap_or_default();
        let prefix = format!("token.{}.", self.authority.token().serial());
        Ok(data.into_iter().find(|(key, _)| key.starts_with(&prefix)))
    }

    async fn write_record(&self, record: &Value) -> Result<()> {
        let entry = STANDARD.encode(record.to_string().as_bytes());
        self.patch_record(json!({"op": "replace", "value": entry}))
            .await
    }

    /// Removes the token's entry from the PIN record, as an operator does after checking the PIN.
    async fn clear_record(&self) -> Result<()> {
        self.patch_record(json!({"op": "remove"})).await
    }

    async fn patch_record(&self, mut operation: Value) -> Result<()> {
        let (key, _) = self.entry().await?.context("the token has a record")?;
        operation["path"] = json!(format!("/data/{key}"));
        let patch = json!([operation]).to_string();
        let [kind, name, flag, namespace, _] = STATE;
        let command = [
            "patch",
            kind,
            name,
            flag,
            namespace,
            "--type=json",
            "-p",
            &patch,
        ];
        self.cluster.plane().kubectl(&command).await?;
        Ok(())
    }
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_across_restarts_and_the_right_pin_needs_no_restart() -> Result<()>
{
    let case = Case::with_pin("wrong").await?;
    case.refused("rejected this PIN").await?;
    assert_eq!(case.record("Rejected").await?["rejectedInARow"], 1);
    let log = case.controller.process().log()?;
    let is_error = |line: &str| line.contains("\"ERROR\"") && line.contains("login-refused");
    assert!(log.lines().any(is_error), "a person must act: {log}");
    let logins = || -> Result<Vec<Value>> {
        let lines = case.controller.issuance_log()?.into_iter();
        let logins = lines.filter(|line| line["event"] == "login");
        Ok(logins
            .map(|line| json!([line["token"], line["outcome"], line["code"]]))
            .collect())
    };
    until("the issuance log to have the login", PATIENCE, async || {
        Ok((!logins()?.is_empty()).then_some(()))
    })
    .await?;
    case.controller.restart().await?;
    case.refused("rejected this PIN").await?;
    assert_eq!(case.record_now().await?["rejectedInARow"], 1);
    assert_eq!(case.library.calls(Function::C_Login)?, 1);
    assert_eq!(
        logins()?,
        [json!(["issuing", "rejected", "CKR_PIN_INCORRECT"])]
    );
    case.write_pin(case.authority.token().user_pin())?;
    case.cluster.issuer_is_ready(&issuer()).await?;
    assert_eq!(case.record("Accepted").await?["rejectedInARow"], 0);
    assert_eq!(case.library.calls(Function::C_Login)?, 2);
    Ok(())
}

#[tokio::test]
async fn a_rewritten_secret_does_not_retry_a_rejected_pin() -> Result<()> {
    let case = Case::with_pin_in_a_secret("wrong").await?;
    case.refused("rejected this PIN").await?;
    let rejected = case.record("Rejected").await?;
    let annotate = [
        "annotate",
        "secret",
        SECRET,
        "-n",
        rig::NAMESPACE,
        "example.com/touched=yes",
    ];
    case.cluster.plane().kubectl(&annotate).await?;
    case.refuses_after_a_restart().await?;
    // A new Secret of the same name and content, with another UID.
    let delete = ["delete", "secret", SECRET, "-n", rig::NAMESPACE];
    case.cluster.plane().kubectl(&delete).await?;
    case.write_secret("wrong").await?;
    case.refuses_after_a_restart().await?;
    assert_eq!(case.library.calls(Function::C_Login)?, 1);
    assert_eq!(case.record_now().await?, rejected);
    case.write_secret(case.authority.token().user_pin()).await?;
    case.cluster.issuer_is_ready(&issuer()).await?;
    case.record("Accepted").await?;
    // Back to the PIN that the token has rejected.
    case.write_secret("wrong").await?;
    case.refuses_after_a_restart().await?;
    assert_eq!(case.library.calls(Function::C_Login)?, 2);
    Ok(())
}

#[tokio::test]
async fn a_crash_between_login_and_record_does_not_retry_a_wrong_pin() -> Result<()> {
    let case = Case::with_pin("wrong").await?;
    case.refused("rejected this PIN").await?;
    case.controller.kill();
    // Simulates a crash before the controller could write the result of the login.
    let mut record = case.record_now().await?;
    record["state"] = json!("Trying");
    record["rejectedInARow"] = json!(1);
    case.write_record(&record).await?;
    case.controller.restart().await?;
    // SoftHSM reports that a PIN was rejected since the last login, so the count becomes two.
    case.refused("2 logins in a row were rejected").await?;
    assert_eq!(case.library.calls(Function::C_Login)?, 1);
    Ok(())
}

#[tokio::test]
async fn two_replicas_that_start_at_once_try_a_wrong_pin_once() -> Result<()> {
    let case = Case::with_pin("wrong").await?;
    case.refused("rejected this PIN").await?;
    case.controller.kill();
    case.clear_record().await?;
    let mut options = case.options.clone();
    options.name = "other".to_owned();
    let other = Controller::launch(&case.cluster, &options)?;
    case.controller.restart().await?;
    other.is_ready().await?;
    case.record("Rejected").await?;
    for controller in [&case.controller, &other] {
        controller
            .process()
            .line("rejected this PIN", PATIENCE)
            .await?;
    }
    assert_eq!(case.record_now().await?["rejectedInARow"], 1);
    // One login by the first start, whose record was cleared, and one by the two replicas together.
    assert_eq!(case.library.calls(Function::C_Login)?, 2);
    let metrics = other.metrics().await?;
    let refused = [("state", "login-refused")];
    assert_eq!(metrics.sum("pkcs11_issuer_token_state", &refused), 1.0);
    Ok(())
}

#[tokio::test]
async fn after_two_wrong_pins_nothing_is_tried_until_the_operator_clears_the_record() -> Result<()>
{
    let case = Case::with_pin("wrong").await?;
    case.refused("rejected this PIN").await?;
    case.write_pin("wrong again")?;
    case.refused("2 logins in a row were rejected").await?;
    case.write_pin(case.authority.token().user_pin())?;
    case.controller.restart().await?;
    let message = case.refused("2 logins in a row were rejected").await?;
    assert_eq!(case.record_now().await?["rejectedInARow"], 2);
    assert_eq!(case.library.calls(Function::C_Login)?, 2);
    let source = case.folder.path().join("pin").display().to_string();
    assert!(message.contains(&source), "{message}");
    // The command of the message, as a shell reads it.
    let (_, command) = message.split_once("kubectl ").context("no command")?;
    let (words, patch) = command.split_once(" '").context("no patch")?;
    let (patch, _) = patch.split_once('\'').context("no end of the patch")?;
    let command: Vec<_> = words.split(' ').chain([patch]).collect();
    case.cluster.plane().kubectl(&command).await?;
    case.cluster.issuer_is_ready(&issuer()).await?;
    Ok(())
}

#[tokio::test]
async fn the_pin_is_in_no_log_no_argument_and_no_environment() -> Result<()> {
    let rig = shared_rig().await?;
    let requests = rig.cluster().requests("default").await?;
    requests
        .create("pin", request_spec(&issuer(), &csr_for("web.example")?))
        .await?;
    requests.approve("pin").await?;
    requests.reaches("pin", "Issued").await?;
    let pin = rig.authority().token().user_pin().as_bytes();
    let mut looked_at = 0;
    let mut look = |file: &Path| {
        // The process may have ended in the meantime.
        if let Ok(octets) = fs::read(file) {
            looked_at += 1;
            assert!(
                !octets.windows(pin.len()).any(|part| part == pin),
                "the PIN is in {}",
                file.display()
            );
        }
    };
    for entry in fs::read_dir(rig.cluster().plane().log_dir())? {
        look(&entry?.path());
    }
    for process in fs::read_dir("/proc")?.filter_map(Result::ok) {
        if process
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|octet| octet.is_ascii_digit())
        {
            look(&process.path().join("cmdline"));
            look(&process.path().join("environ"));
        }
    }
    assert!(looked_at > 10, "only {looked_at} files were searched");
    Ok(())
}
