//! Makes faults in a running controller, and checks with a real Prometheus that the alert of each fault fires, and clears
//! once the fault is mended.

mod bug;
mod expected;
mod faults;
mod pages;
mod stage;

use std::{cell::Cell, time::Duration};

use anyhow::{Context as _, Result, ensure};
use control_plane::until;
use rig::PATIENCE;

use self::{faults::Fault, stage::Stage};
use super::{dashboard, runbooks};

/// Divisor of the rules' durations: waits and look-back ranges. The thresholds are those of the chart.
const FACTOR: u32 = 30;

/// The longest time that an alert may take.
const WITHIN: Duration = Duration::from_secs(240);

/// The filter of the log that the chart sets.
const INFO: &str = "info";

/// Waits until every query of the dashboard returns data. Some show only what was issued within the last minute.
async fn every_panel_has_data(stage: &Stage) -> Result<()> {
    let issued = Cell::new(0_u32);
    for query in dashboard::queries()? {
        let what = format!("data for the panel {}: {}", query.panel, query.expr);
        until(&what, PATIENCE, async || {
            if !stage.prometheus.numbers(&query.expr).await?.is_empty() {
                return Ok(Some(()));
            }
            issued.set(issued.get() + 1);
            stage.issues(&format!("recent-{}", issued.get())).await?;
            Ok(None)
        })
        .await?;
    }
    Ok(())
}

/// The queries of the dashboard that show zero where there is no data, and have not had data yet.
struct Zeros(Vec<dashboard::PanelQuery>);

impl Zeros {
    fn new() -> Result<Self> {
        let mut queries = dashboard::queries()?;
        queries.retain_mut(|query| {
            let bare = query.expr.strip_suffix(dashboard::OR_ZERO);
            let bare = bare.map(str::to_owned);
            bare.is_some_and(|bare| {
                query.expr = bare;
                true
            })
        });
        ensure!(!queries.is_empty(), "no query shows zero");
        Ok(Self(queries))
    }

    /// Asks again for those without data.
    async fn ask(&mut self, stage: &Stage) -> Result<()> {
        let mut without = Vec::new();
        for query in std::mem::take(&mut self.0) {
            if stage.prometheus.numbers(&query.expr).await?.is_empty() {
                without.push(query);
            }
        }
        self.0 = without;
        Ok(())
    }

    /// Returns the panels that have never had data.
    fn panels(&self) -> Vec<&str> {
        self.0.iter().map(|query| query.panel.as_str()).collect()
    }
}

/// Makes a fault, waits until its alerts fire, has their pages help, and mends it.
async fn make_and_mend(stage: &mut Stage, fault: Fault, zeros: &mut Zeros) -> Result<()> {
    stage.make(fault).await?;
    stage.prometheus.fire(fault.alerts(), WITHIN).await?;
    zeros.ask(stage).await?;
    for alert in fault.alerts() {
        let helps = stage.pages.help(&stage.prometheus, alert).await;
        helps.with_context(|| format!("the page of {alert}"))?;
    }
    if fault == faults::TOKEN_DOWN {
        stage.overview_helps().await.context("docs/runbook.md")?;
    }
    stage.mend(fault).await?;
    if !fault.is_remembered_for_an_hour() {
        stage.prometheus.clear(fault.alerts(), WITHIN).await?;
    }
    Ok(())
}

/// Runs every query of the runbooks.
async fn the_queries_of_the_runbooks_run(stage: &Stage) -> Result<()> {
    for (page, text) in runbooks::pages()? {
        for query in runbooks::queries(&text) {
            let ran = stage.prometheus.query(&query).await;
            ran.with_context(|| format!("docs/runbooks/{page}.md"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn alerts_fire_and_clear_and_every_panel_of_the_dashboard_has_data() -> Result<()> {
    let mut stage = Stage::start(FACTOR, INFO).await?;
    stage.issues("first").await?;
    stage
        .prometheus
        .has_sampled("pkcs11_issuer_requests_total")
        .await?;
    stage.issues("second").await?;
    every_panel_has_data(&stage).await?;
    the_queries_of_the_runbooks_run(&stage).await?;
    stage.prometheus.clear(faults::ALL, WITHIN).await?;
    let sample = [
        faults::CA_ENDS,
        faults::CONFIGURATION_REFUSED,
        faults::TOKEN_DOWN,
        faults::WRONG_PINS,
        faults::NO_PIN_RECORD,
        faults::LOG_WITHOUT_FOLDER,
    ];
    let mut zeros = Zeros::new()?;
    for fault in sample {
        let done = make_and_mend(&mut stage, fault, &mut zeros).await;
        done.with_context(|| format!("{fault:?}"))?;
    }
    // Only the longer test takes the API server away, which certainly makes watches fail.
    let mut without = zeros.panels();
    without.retain(|panel| *panel != "Failed watches");
    assert_eq!(without, [""; 0]);
    stage.issues("last").await?;
    stage.an_auditor_is_answered().await
}

mod soak {
    //! All faults, one after the other.

    use std::{cell::RefCell, collections::BTreeSet, env, fs};

    use tokio::time::sleep;

    use super::*;
    use crate::monitoring::drawing::{Drawn, draw, lines};

    /// Smaller than in the shorter test: a failing list backs off, and some alerts count its retries.
    const FACTOR: u32 = 12;

    /// Longer than the slowest of the alerts takes: a CRL is late after 15 minutes.
    const QUARTER: Duration = Duration::from_secs(18 * 60);

    /// The longest range of a rule is an hour, and an alert may take twice as long to clear.
    const AT_THE_END: Duration = Duration::from_secs(2 * 3600 / 12);

    #[tokio::test]
    #[ignore = "takes minutes; `make soak` runs it"]
    async fn every_alert_fires_in_its_fault_and_clears_when_it_is_mended() -> Result<()> {
        let slow = [faults::TOKEN_DOWN_FOR_LONG, faults::STDERR_UNREAD];
        let slow = slow.iter().flat_map(|fault| fault.alerts());
        let known = faults::ALL.iter().chain(slow);
        let known: BTreeSet<&str> = known.copied().collect();
        for alert in crate::monitoring::alerts()? {
            let name = alert
                .name
                .trim_start_matches(crate::monitoring::alerts::PREFIX);
            ensure!(known.contains(name), "no fault for {name}");
        }
        let mut stage = Stage::start(FACTOR, INFO).await?;
        stage.issues("first").await?;
        stage
            .prometheus
            .has_sampled("pkcs11_issuer_requests_total")
            .await?;
        stage.issues("second").await?;
        stage.prometheus.clear(faults::ALL, WITHIN).await?;
        let mut zeros = Zeros::new()?;
        for fault in faults::FAULTS {
            println!("{fault:?}");
            let done = make_and_mend(&mut stage, *fault, &mut zeros).await;
            done.with_context(|| format!("{fault:?}"))?;
        }
        assert_eq!(zeros.panels(), [""; 0]);
        stage.prometheus.clear(faults::ALL, AT_THE_END).await?;
        stage.issues("last").await?;
        match env::var_os("DRAW_DASHBOARD") {
            Some(file) => Ok(fs::write(file, picture(&stage).await?)?),
            None => Ok(()),
        }
    }

    #[tokio::test]
    #[ignore = "takes half an hour; `make soak` runs it"]
    async fn the_alerts_about_crls_and_checkpoints_fire_while_a_token_is_away_and_clear_when_it_is_back()
    -> Result<()> {
        let fault = faults::TOKEN_DOWN_FOR_LONG;
        let mut stage = Stage::start(FACTOR, INFO).await?;
        stage.make(fault).await?;
        let fired = RefCell::new(BTreeSet::new());
        let lines = Cell::new(0_u32);
        let what = format!("{:?} to fire", fault.alerts());
        until(&what, QUARTER, async || {
            // An alert about lines that nobody has signed needs lines.
            lines.set(lines.get() + 1);
            stage.write_a_line(lines.get())?;
            sleep(Duration::from_secs(2)).await;
            let firing = stage.prometheus.firing().await?;
            let mut fired = fired.borrow_mut();
            for alert in firing {
                if fired.insert(alert.clone()) {
                    println!("{alert} fires");
                }
            }
            let all = fault.alerts().iter().all(|alert| fired.contains(*alert));
            Ok(all.then_some(()))
        })
        .await?;
        for alert in fault.alerts() {
            stage.pages.help(&stage.prometheus, alert).await?;
        }
        stage.mend(fault).await?;
        stage.prometheus.clear(fault.alerts(), WITHIN).await?;
        stage.issues("last").await
    }

    #[tokio::test]
    #[ignore = "takes minutes; `make soak` runs it"]
    async fn the_alert_about_dropped_lines_fires_while_nobody_reads_stderr_and_clears_afterwards()
    -> Result<()> {
        let fault = faults::STDERR_UNREAD;
        let mut stage = Stage::start(FACTOR, "trace").await?;
        stage.make(fault).await?;
        let issued = Cell::new(0_u32);
        until("lines to be dropped", WITHIN, async || {
            issued.set(issued.get() + 1);
            stage.asks(&format!("web-{}", issued.get())).await?;
            let dropped = stage
                .prometheus
                .query("pkcs11_issuer_log_dropped_lines_total > 0")
                .await?;
            Ok((!dropped.is_empty()).then_some(()))
        })
        .await?;
        stage.prometheus.fire(fault.alerts(), WITHIN).await?;
        for alert in fault.alerts() {
            stage.pages.help(&stage.prometheus, alert).await?;
        }
        stage.mend(fault).await?;
        stage.prometheus.clear(fault.alerts(), WITHIN).await?;
        stage.issues("last").await
    }

    /// Draws what the dashboard shows of this run.
    async fn picture(stage: &Stage) -> Result<String> {
        let mut drawn: Vec<Drawn> = Vec::new();
        for query in dashboard::queries()? {
            let history = stage.prometheus.history(&query.expr, 10).await?;
            let lines = lines(&history, &query.legend);
            match drawn.last_mut().filter(|panel| panel.title == query.panel) {
                Some(panel) => panel.lines.extend(lines),
                None => drawn.push(Drawn {
                    title: query.panel,
                    unit: query.unit,
                    lines,
                }),
            }
        }
        Ok(draw(&drawn))
    }
}
