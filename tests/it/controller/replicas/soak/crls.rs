//! CRLs under faults of every kind, the steps of clocks included.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use proptest::prelude::*;
use tempfile::TempDir;
use tokio::time::sleep;

use super::{Fault, SHORT_SECONDS, given, one_by_one, planned};
use crate::controller::replicas::{Replicas, crls::chased};

/// Revocations, unless `SOAK_REVOCATIONS` says otherwise.
const REVOCATIONS: u32 = 5000;
/// The longest step of a clock, in seconds.
const LONGEST_STEP: i64 = 300;

/// The clocks of the replicas, which libfaketime lets step. Each is a file with the offset from the real time.
struct Clocks(TempDir);

impl Clocks {
    fn new() -> Result<Self> {
        let clocks = Self(tempfile::tempdir()?);
        (0..3).try_for_each(|replica| clocks.set(replica, 0))?;
        Ok(clocks)
    }

    fn file(&self, replica: usize) -> PathBuf {
        self.0.path().join(replica.to_string())
    }

    /// Lets a clock step to this offset, in seconds.
    fn set(&self, replica: usize, seconds: i64) -> Result<()> {
        let file = self.file(replica);
        let new = file.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n"))?;
        fs::rename(new, file).context("let a clock step")
    }

    /// Returns the environment variables of a replica. Its monotonic clock stays as it is.
    fn of(&self, replica: usize) -> Result<Vec<(String, String)>> {
        let library = glob("/usr/lib", "faketime/libfaketimeMT.so.1")?;
        let file = self.file(replica).display().to_string();
        let variables = [
            ("LD_PRELOAD", library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DISABLE_SHM", "1"),
        ];
        let owned = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(owned.into())
    }
}

/// Returns the file of this name in a folder of the machine's architecture.
fn glob(folder: &str, name: &str) -> Result<String> {
    let mut found = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path().join(name)));
    let found = found.find(|path| path.exists());
    let found = found.context("libfaketime is not installed: tests/setup/packages")?;
    Ok(found.display().to_string())
}

/// A fault, or the step of a replica's clock to an offset.
#[derive(Clone, Copy, Debug)]
enum Event {
    Fault(Fault),
    Step(usize, i64),
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes: make soak"]
async fn whatever_fails_and_however_clocks_step_crl_numbers_rise_and_no_entry_is_lost() -> Result<()>
{
    let revocations = given("SOAK_REVOCATIONS")?.map_or(Ok(REVOCATIONS), u32::try_from)?;
    let event = prop_oneof![
        super::any_fault().prop_map(Event::Fault),
        (0..3_usize, -LONGEST_STEP..LONGEST_STEP)
            .prop_map(|(replica, offset)| Event::Step(replica, offset)),
    ];
    let plan = planned(Just(Vec::new()), event)?;
    let clocks = Clocks::new()?;
    let env: Vec<_> = (0..3)
        .map(|replica| clocks.of(replica))
        .collect::<Result<_>>()?;
    let replicas = Replicas::start_changed(&format!("{SHORT_SECONDS}s"), |replica, options| {
        options.env = env[replica].clone();
    })
    .await?;
    let faulty = async {
        one_by_one(plan, async |event| match event {
            Event::Fault(fault) => fault.happens(&replicas).await,
            Event::Step(replica, offset) => clocks.set(replica, offset),
        })
        .await?;
        for replica in 0..3 {
            clocks.set(replica, 0)?;
        }
        // A replica whose clock was ahead has made CRLs with a later time.
        sleep(Duration::from_secs(1)).await;
        anyhow::Ok(())
    };
    chased(&replicas, revocations, faulty).await?;
    replicas.see(3).await
}
