//! Prints the figures as tables and converts them to rows of the report: medians of the runs.

use bench::{Row, median, spread};

use crate::contestant::Contestant;
use crate::measured::{FIGURES, Figure, Measured, RATE};
use crate::plan::{Results, Scenario};

/// Prints a line for each contestant.
pub(crate) fn print(results: &Results) {
    let scenario = results.scenario.to_string();
    print!(
        "\n{scenario:<28} {:>7} {:>15} {:>6} {:>6}",
        RATE.short, "least to most", "ratio", "paired"
    );
    for figure in &FIGURES {
        print!(" {:>8}", figure.short);
    }
    println!();
    for (contestant, runs) in &results.runs {
        let rates = values(runs, &RATE);
        let (rate, [least, most]) = (median(&rates), spread(&rates));
        let other = beside(results, *contestant, &RATE);
        let shown = |ratio: f64| format!("{ratio:.3}");
        let ratio = other.as_ref().map(|other| shown(rate / median(other)));
        let paired = other.map(|other| shown(paired(&rates, &other)));
        let range = format!("{least:.1} to {most:.1}");
        print!(
            "{contestant:<28} {rate:>7.1} {range:>15} {:>6} {:>6}",
            ratio.unwrap_or_default(),
            paired.unwrap_or_default()
        );
        for figure in &FIGURES {
            print!(" {:>8.*}", figure.decimals, median(&values(runs, figure)));
        }
        println!();
    }
    for (name, unit, values) in restarts(results) {
        let ([least, most], value) = (spread(&values), median(&values));
        println!("{name:<52} {value:.2} {unit} ({least:.2} to {most:.2})");
    }
}

/// Returns every figure of every contestant.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for (contestant, runs) in &results.runs {
        for figure in std::iter::once(&RATE).chain(&FIGURES) {
            let values = values(runs, figure);
            let name = format!("{}, {contestant}, {}", results.scenario, figure.name);
            let row = Row::new(name, figure.unit, median(&values)).spread(spread(&values));
            rows.push(match beside(results, *contestant, figure) {
                Some(other) => row.beside(median(&other)),
                None => row,
            });
        }
    }
    rows.extend(
        restarts(results).into_iter().map(|(name, unit, values)| {
            Row::new(name, unit, median(&values)).spread(spread(&values))
        }),
    );
    rows
}

/// Returns the same figure of the limit that the contestant is compared with, if that was measured and is not the contestant
/// itself.
fn beside(results: &Results, contestant: Contestant, figure: &Figure) -> Option<Vec<f64>> {
    let other = contestant.beside();
    let (_, runs) = results
        .runs
        .iter()
        .find(|(one, _)| *one == other && *one != contestant)?;
    Some(values(runs, figure))
}

/// Returns the median of the ratios run by run. A machine that is slower for some minutes is slower for both.
fn paired(values: &[f64], others: &[f64]) -> f64 {
    let ratios = values
        .iter()
        .zip(others)
        .map(|(value, other)| value / other);
    median(&ratios.collect::<Vec<_>>())
}

fn values(runs: &[Measured], figure: &Figure) -> Vec<f64> {
    runs.iter().map(figure.of).collect()
}

fn restarts(results: &Results) -> Vec<(String, &'static str, Vec<f64>)> {
    let (Scenario::Drain(size), false) = (results.scenario, results.restarts.is_empty()) else {
        return Vec::new();
    };
    let all = &results.restarts;
    vec![
        (
            format!("restart among {size} finished requests, ready"),
            "s",
            all.iter().map(|restarted| restarted.ready).collect(),
        ),
        (
            format!("restart among {size} finished requests, peak memory"),
            "MB",
            all.iter().map(|restarted| restarted.memory).collect(),
        ),
    ]
}
