//! Cost of signatures in both processes: processor time and context switches, from the kernel's own counts.

use std::{fs, path::Path};

use crate::Failed;

/// Cost of this process and of its worker, each since its start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    client: Spent,
    worker: Spent,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    /// Nanoseconds on a processor.
    pub(crate) nanoseconds: f64,
    pub(crate) switches: f64,
}

type Part = (&'static str, &'static str, fn(&Cost) -> f64);

/// The row that is compared with the bare loop.
pub(crate) const WORKER: &str = "CPU per signature, worker and library";

/// Rows of the report.
pub(crate) const PARTS: [Part; 4] = [
    ("CPU per signature, client", "µs", |cost| {
        cost.client.nanoseconds / 1000.0
    }),
    (WORKER, "µs", |cost| cost.worker.nanoseconds / 1000.0),
    ("context switches per signature, client", "", |cost| {
        cost.client.switches
    }),
    ("context switches per signature, worker", "", |cost| {
        cost.worker.switches
    }),
];

impl Cost {
    pub(crate) fn now() -> Result<Self, Failed> {
        let own = std::process::id();
        Ok(Self {
            client: spent(own)?,
            worker: spent(worker_of(own)?)?,
        })
    }

    /// Returns the cost per signature between two measurements.
    pub(crate) fn until(self, later: Self, signatures: f64) -> Self {
        let each = |before: Spent, after: Spent| Spent {
            nanoseconds: (after.nanoseconds - before.nanoseconds) / signatures,
            switches: (after.switches - before.switches) / signatures,
        };
        Self {
            client: each(self.client, later.client),
            worker: each(self.worker, later.worker),
        }
    }
}

/// Returns the only running child of this process.
fn worker_of(own: u32) -> Result<u32, Failed> {
    let worker = bench::children(own)?.into_iter().next();
    worker.ok_or_else(|| "there is no worker".into())
}

fn spent(process: u32) -> Result<Spent, Failed> {
    let mut sum = Spent::default();
    for task in fs::read_dir(format!("/proc/{process}/task"))? {
        let Spent {
            nanoseconds,
            switches,
        } = spent_by(&task?.path())?;
        sum.nanoseconds += nanoseconds;
        sum.switches += switches;
    }
    Ok(sum)
}

/// Reads the cost of one thread from its directory in `/proc`.
pub(crate) fn spent_by(task: &Path) -> Result<Spent, Failed> {
    let schedule = fs::read_to_string(task.join("schedstat"))?;
    let on_processor = schedule.split_whitespace().next().ok_or("no schedstat")?;
    let mut switches = 0.0;
    for line in fs::read_to_string(task.join("status"))?.lines() {
        if let Some((name, count)) = line.split_once(':')
            && name.ends_with("_ctxt_switches")
        {
            switches += count.trim().parse::<f64>()?;
        }
    }
    Ok(Spent {
        nanoseconds: on_processor.parse()?,
        switches,
    })
}
