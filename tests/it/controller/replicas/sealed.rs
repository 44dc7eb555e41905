//! Signed checkpoints: each replica shows its own in its Lease and records those of the others, so a cut log is noticed.

use std::{
    cell::RefCell,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use jiff::{SignedDuration, Timestamp};
use rig::{Cluster, Controller, NAMESPACE, PATIENCE};
use serde_json::Value;

use super::{Replicas, programs};

/// `audit.checkpoints.every` of the rig, less what a clock may be slewed.
const EVERY: SignedDuration = SignedDuration::from_millis(990);

/// Exit code of `audit verify` if something is missing or was changed.
const FAULTY: i32 = 3;

/// Runs `audit verify` with this key and demands whole logs; returns the exit code and what it prints.
pub(crate) fn verify(key: &str, files: &[PathBuf]) -> Result<(Option<i32>, String)> {
    let run = Command::new(programs()?.controller)
        .args(["audit", "verify", "--whole", "--key", key])
        .args(files)
        .output()
        .context("run audit verify")?;
    let told = String::from_utf8_lossy(&run.stdout).into_owned();
    let told = told + &String::from_utf8_lossy(&run.stderr);
    Ok((run.status.code(), told))
}

/// Returns the checkpoints in the Leases, by the name of the replica.
async fn shown(cluster: &Cluster) -> Result<Vec<(String, String)>> {
    let get = ["get", "leases", "--namespace", NAMESPACE, "-o", "json"];
    let leases: Value = serde_json::from_str(&cluster.plane().kubectl(&get).await?)?;
    let leases = leases["items"].as_array().context("no list")?;
    let shown = leases.iter().filter_map(|lease| {
        let note = &lease["metadata"]["annotations"]["pkcs11-issuer.dev/checkpoint"];
        let holder = lease["spec"]["holderIdentity"].as_str()?;
        Some((holder.to_owned(), note.as_str()?.to_owned()))
    });
    Ok(shown.collect())
}

/// Returns the name of the only run in a log.
fn run_of(controller: &Controller) -> Result<String> {
    let lines = controller.issuance_log()?;
    let run = lines.first().and_then(|line| line["run"].as_str());
    Ok(run.context("no run")?.to_owned())
}

/// Returns the size of the largest checkpoint of a run that these lines of logs have recorded.
fn recorded(run: &str, lines: &[Value]) -> Result<Option<u64>> {
    let mut largest = None;
    for line in lines {
        let heads = line["heads"].as_array().into_iter().flatten();
        for note in heads.filter_map(Value::as_str) {
            let mut lines = note.lines();
            let origin = lines.next().unwrap_or_default();
            if origin.ends_with(&format!("/{run}")) {
                let size = lines.next().context("no size")?.parse()?;
                largest = largest.max(Some(size));
            }
        }
    }
    Ok(largest)
}

/// Fails unless a replica has signed several checkpoints, and none sooner after another than the configuration says.
fn checkpoints_are_apart(controller: &Controller) -> Result<()> {
    let (run, lines) = (run_of(controller)?, controller.issuance_log()?);
    let checkpoints = lines
        .iter()
        .filter(|line| line["event"] == "checkpoint" && line["run"] == run.as_str());
    let times = checkpoints.map(|line| {
        let note = line["checkpoint"].as_str().context("no note")?;
        assert!(note.contains("\n\n\u{2014} prod "), "not signed: {note}");
        Ok(line["time"].as_str().context("no time")?.parse()?)
    });
    let times: Vec<Timestamp> = times.collect::<Result<_>>()?;
    assert!(times.len() > 2, "{times:?}");
    let soonest = times.windows(2).map(|two| two[1].duration_since(two[0]));
    let soonest = soonest.min().context("no pair")?;
    assert!(soonest >= EVERY, "{soonest:#}");
    Ok(())
}

/// Fails unless every replica shows a signed checkpoint that is in its log, all logs verify together under the one key, and a
/// cut or missing log of one replica is found by the logs of the others.
pub(super) async fn replicas_bind_each_other(replicas: &Replicas) -> Result<()> {
    let mut keys = Vec::new();
    for controller in &replicas.controllers {
        keys.push(controller.verifier_key().await?);
    }
    let [a, b, c] = replicas.controllers.as_slice() else {
        panic!("three replicas");
    };
    let key = keys.first().context("no key")?;
    assert!(keys.iter().all(|other| other == key), "{keys:?}");
    let shown = until("every Lease to show a checkpoint", PATIENCE, async || {
        let shown = shown(&replicas.cluster).await?;
        Ok((shown.len() == 3).then_some(shown))
    })
    .await?;
    for (controller, (holder, note)) in replicas.controllers.iter().zip(&shown) {
        checkpoints_are_apart(controller)?;
        let lines = controller.issuance_log()?;
        let written = |line: &Value| line["checkpoint"] == note.as_str();
        assert!(lines.iter().any(written), "{holder}: {note}");
    }
    let run = run_of(a)?;
    until(
        "another replica to record the first one",
        PATIENCE,
        async || {
            let lines = [b.issuance_log()?, c.issuance_log()?].concat();
            let size = recorded(&run, &lines)?;
            Ok(size.filter(|size| *size > 10).map(drop))
        },
    )
    .await?;

    // Copies the logs, because the replicas go on writing.
    let folder = tempfile::tempdir()?;
    let copy = |controller: &Controller, name: &str| -> Result<PathBuf> {
        let path = folder.path().join(name);
        fs::copy(controller.issuance_log_path(), &path)?;
        Ok(path)
    };
    // Copies the log of the first replica last, so that it has every line that the others have recorded of it.
    let (of_b, of_c) = (copy(b, "b.log")?, copy(c, "c.log")?);
    let both = fs::read_to_string(&of_b)? + &fs::read_to_string(&of_c)?;
    // The last line of a copy may be incomplete.
    let both = both
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let told = recorded(&run, &both.collect::<Vec<_>>())?.context("no head")?;
    let of_a = copy(a, "a.log")?;
    // What the first replica has recorded of the others may be newer than the copies of their logs.
    let only_heads = |told: &str| {
        let faults = told.lines().filter(|line| line.starts_with("FAULT"));
        faults
            .filter(|fault| !fault.contains("missing at its end"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let (_, whole) = verify(key, &[of_a.clone(), of_b.clone(), of_c.clone()])?;
    assert_eq!(only_heads(&whole), Vec::<String>::new(), "{whole}");
    assert_eq!(
        whole.matches(&format!("the key {key} signed")).count(),
        3,
        "{whole}"
    );
    assert!(!whole.contains(&format!("run {run}: lines")), "{whole}");

    let text = fs::read_to_string(&of_a)?;
    let last = format!("\"seq\":{},", told - 1);
    let cut = text
        .find(&last)
        .context("the log lacks a line that others know of")?;
    let cut = text[..cut].rfind('\n').map_or(0, |end| end + 1);
    fs::write(&of_a, &text[..cut])?;
    let (code, found) = verify(key, &[of_a, of_b.clone(), of_c.clone()])?;
    let expected = format!(
        "run {run}: lines {0} to {0} of the log are missing at its end",
        told - 1
    );
    assert_eq!(code, Some(FAULTY), "{found}");
    assert!(found.contains(&expected), "{expected}: {found}");

    let (code, found) = verify(key, &[of_b, of_c])?;
    let expected = format!("with at least {told} lines is missing");
    assert_eq!(code, Some(FAULTY), "{found}");
    assert!(found.contains(&expected), "{expected}: {found}");
    Ok(())
}

/// Waits until the logs of all replicas and all their runs verify together, with everything that they say about each other.
/// A log that is read early may lack lines that a log read later already records.
pub(super) async fn logs_verify_together(replicas: &Replicas) -> Result<()> {
    let mut key = None;
    for controller in &replicas.controllers {
        if let (None, Ok(found)) = (&key, controller.verifier_key().await) {
            key = Some(found);
        }
    }
    let key = key.context("no replica signs checkpoints")?;
    let files = replicas.controllers.iter();
    let files: Vec<_> = files
        .map(|controller| controller.issuance_log_path().to_owned())
        .collect();
    let last = RefCell::new(String::new());
    let verified = until("the logs to verify together", PATIENCE, async || {
        let (code, told) = verify(&key, &files)?;
        last.replace(told);
        Ok((code == Some(0)).then_some(()))
    })
    .await;
    verified.with_context(|| last.take())?;
    for controller in &replicas.controllers {
        if controller.stdout_path() != controller.issuance_log_path() {
            copy_verifies(&key, controller.stdout_path())?;
        }
    }
    Ok(())
}

/// Fails if the copy of a log that stdout has lacks a line or has a changed one. The end of a run may be missing, because what a
/// pipe holds is lost when its reader is killed. The logs of the other replicas, which *heads* name, are not given.
fn copy_verifies(key: &str, copy: &Path) -> Result<()> {
    let (_, told) = verify(key, &[copy.to_owned()])?;
    let may_be = ["is missing: another log has", "are missing at its end"];
    let mut wrong = told.lines().filter(|line| {
        let is_expected = may_be.iter().any(|expected| line.contains(expected));
        line.starts_with("GAP") || line.starts_with("FAULT") && !is_expected
    });
    ensure!(wrong.next().is_none(), "{}: {told}", copy.display());
    ensure!(
        told.contains("signed the checkpoint over the first"),
        "{}: {told}",
        copy.display()
    );
    Ok(())
}

/// Waits until the last checkpoint of a replica that has stopped is archived, and fails unless it is the last one in its log.
pub(super) async fn last_checkpoint_is_archived(
    cluster: &Cluster,
    controller: &Controller,
) -> Result<()> {
    let run = run_of(controller)?;
    let get = [
        "get",
        "configmap",
        "pkcs11-issuer-log-heads",
        "--namespace",
        NAMESPACE,
        "-o",
        "json",
    ];
    let note = until("the last checkpoint to be archived", PATIENCE, async || {
        let map: Value = serde_json::from_str(&cluster.plane().kubectl(&get).await?)?;
        let data = map["data"].as_object().cloned().unwrap_or_default();
        let mut entries = data.into_iter();
        Ok(entries
            .find(|(key, _)| key.ends_with(&run))
            .map(|(_, note)| note))
    })
    .await?;
    let lines = controller.issuance_log()?;
    let (stopped, checkpoint) = match lines.as_slice() {
        [.., stopped, checkpoint] => (stopped, checkpoint),
        short => panic!("{short:?}"),
    };
    assert_eq!(stopped["event"], "stopped");
    assert_eq!(checkpoint["checkpoint"], note);
    Ok(())
}
