//! Faults of the PIN and of its record, which the commands of the runbook mend.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::{NAMESPACE, PATIENCE};
use serde_json::json;

use super::{
    super::pages::{CLEAR_RECORD, CREATE_RECORD},
    Stage,
};
use crate::controller::issuer;

/// Name of the Secret with the PIN record.
const RECORD: &str = "pkcs11-issuer-pin-state";

impl Stage {
    /// Has two wrong PINs rejected in a row. After that, no PIN is tried until the record is cleared.
    pub(super) async fn have_two_wrong_pins(&self) -> Result<()> {
        fs::write(self.pin_file(), "98765432")?;
        self.log_in_again(3)?;
        self.no_pin_is_tried_because("rejected this PIN").await?;
        fs::write(self.pin_file(), "87654321")?;
        let because = "2 logins in a row were rejected";
        self.no_pin_is_tried_because(because).await.map(drop)
    }

    /// Gives the right PIN, and clears the record by the command of the runbook, which is also in the issuer's message.
    pub(super) async fn clear_the_record(&self) -> Result<()> {
        fs::write(self.pin_file(), self.authority.token().user_pin())?;
        let message = self.no_pin_is_tried_because("kubectl patch secret").await?;
        let key = message.split_once("\"/data/");
        let key = key.and_then(|(_, rest)| rest.split_once('"'));
        let (key, _) = key.context("the message names no record")?;
        let command = self.pages.mend(&CLEAR_RECORD, &[("KEY", key)]).await?;
        ensure!(message.contains(&command), "{message} lacks {command}");
        Ok(())
    }

    /// Removes the Secret with the PIN record before a login.
    pub(super) async fn lose_the_record(&self) -> Result<()> {
        let delete = ["delete", "secret", RECORD, "--namespace", NAMESPACE];
        self.cluster.plane().kubectl(&delete).await?;
        self.log_in_again(4)?;
        let because = "does not exist, so no PIN is tried";
        self.no_pin_is_tried_because(because).await.map(drop)
    }

    /// Creates the Secret by the command of the runbook, which is also in the issuer's message.
    pub(super) async fn create_the_record(&self) -> Result<()> {
        let message = self.no_pin_is_tried_because("kubectl create").await?;
        let command = self.pages.mend(&CREATE_RECORD, &[]).await?;
        ensure!(message.contains(&command), "{message} lacks {command}");
        Ok(())
    }

    /// Has a new worker log in, because it needs another number of sessions.
    fn log_in_again(&self, sessions: u32) -> Result<()> {
        self.configure(|all| all["tokens"]["issuing"]["sessions"] = json!(sessions))
    }

    /// Waits until the issuer says that no PIN is tried and why, and returns its message.
    async fn no_pin_is_tried_because(&self, why: &str) -> Result<String> {
        until(&format!("no login: {why}"), PATIENCE, async || {
            let status = self.cluster.issuer_status(&issuer()).await?;
            let ready = status.ready().filter(|ready| ready.message.contains(why));
            Ok(ready.map(|ready| ready.message))
        })
        .await
    }
}
