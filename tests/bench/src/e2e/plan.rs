//! The scenarios, their order and their number of runs.

use std::fmt;
use std::num::NonZeroUsize;

use anyhow::Result;
use bench::Report;
use clap::Args;

use crate::contestant::{ALL, Contestant};
use crate::drain::{Restarted, drain};
use crate::field::Field;
use crate::in_flight::in_flight;
use crate::measured::Measured;
use crate::tables;

/// The arguments that select the runs.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// Runs per scenario and contestant; the tables show medians.
    #[arg(long, default_value = "5")]
    runs: NonZeroUsize,
    /// Numbers of requests that are approved before the issuer starts; 0 for none.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000")]
    sizes: Vec<usize>,
    /// Numbers of requests in flight; 0 for none.
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    in_flight: Vec<usize>,
    /// Requests to issue in each run with requests in flight.
    #[arg(long, default_value = "500")]
    each: NonZeroUsize,
    /// Measure only these contestants.
    #[arg(long, value_delimiter = ',')]
    only: Vec<Contestant>,
}

/// What a contestant does.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scenario {
    Drain(usize),
    InFlight(usize),
}

/// The runs of one scenario, by contestant.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) scenario: Scenario,
    pub(crate) runs: Vec<(Contestant, Vec<Measured>)>,
    pub(crate) restarts: Vec<Restarted>,
}

/// Requests that the limit drains before the first measurement, to warm up the control plane.
const WARM_UP: usize = 200;

impl Plan {
    /// Runs everything on one control plane. Prints results as they come, so that an early end keeps what was measured
    /// until then.
    pub(crate) async fn run(self) -> Result<()> {
        let contestants = if self.only.is_empty() {
            ALL.to_vec()
        } else {
            self.only.clone()
        };
        let field = Field::start().await?;
        for contestant in contestants.iter().take(1) {
            drain(&field, *contestant, WARM_UP).await?;
        }
        let mut report = Report::new("e2e");
        let drains = self.sizes.iter().map(|size| Scenario::Drain(*size));
        let loops = self
            .in_flight
            .iter()
            .map(|depth| Scenario::InFlight(*depth));
        for scenario in drains.chain(loops).filter(|scenario| !scenario.is_empty()) {
            let results = self.measure(&field, scenario, &contestants).await?;
            tables::print(&results);
            for row in tables::rows(&results) {
                report.push(row);
            }
            report.write()?;
        }
        Ok(())
    }

    async fn measure(
        &self,
        field: &Field,
        scenario: Scenario,
        contestants: &[Contestant],
    ) -> Result<Results> {
        let mut results = Results {
            scenario,
            runs: contestants.iter().map(|one| (*one, Vec::new())).collect(),
            restarts: Vec::new(),
        };
        for run in 1..=self.runs.get() {
            for (contestant, measured) in &mut results.runs {
                let now = match scenario {
                    Scenario::Drain(size) => {
                        let (now, restarted) = drain(field, *contestant, size).await?;
                        results.restarts.extend(restarted);
                        now
                    }
                    Scenario::InFlight(depth) => {
                        in_flight(field, *contestant, depth, self.each.get()).await?
                    }
                };
                eprintln!(
                    "{scenario}, run {run} of {}: {contestant} {:.1}/s",
                    self.runs, now.rate
                );
                measured.push(now);
            }
            // Rotate the order, so that no contestant is always first or always follows the same one.
            results.runs.rotate_left(1);
        }
        results
            .runs
            .sort_by_key(|(contestant, _)| contestants.iter().position(|one| one == contestant));
        Ok(results)
    }
}

impl Scenario {
    fn is_empty(self) -> bool {
        match self {
            Self::Drain(count) | Self::InFlight(count) => count == 0,
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Drain(size) => write!(f, "{size} drained"),
            Self::InFlight(depth) => write!(f, "{depth} in flight"),
        }
    }
}
