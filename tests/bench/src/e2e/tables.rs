//! The figures as a table for people and as rows of the report: medians of the runs.

use bench::{Row, median, spread};

use crate::contestant::Contestant;
use crate::measured::{FIGURES, Figure, Measured, RATE};
use crate::plan::{Results, Scenario};

/// A line for each contestant.
pub(crate) fn print(results: &Results) {
    let scenario = results.scenario.to_string();
    print!(
        "\n{scenario:<28} {:>7} {:>15} {:>6}",
        RATE.short, "least to most", "ratio"
    );
    for figure in &FIGURES {
        print!(" {:>8}", figure.short);
    }
    println!();
    for (contestant, runs) in &results.runs {
        let rates = values(runs, &RATE);
        let (rate, [least, most]) = (median(&rates), spread(&rates));
        let ratio = beside(results, *contestant, &RATE)
            .map_or_else(String::new, |other| format!("{:.3}", rate / other));
        let range = format!("{least:.1} to {most:.1}");
        print!("{contestant:<28} {rate:>7.1} {range:>15} {ratio:>6}");
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

/// Every figure of every contestant.
pub(crate) fn rows(results: &Results) -> Vec<Row> {
    let mut rows = Vec::new();
    for (contestant, runs) in &results.runs {
        for figure in std::iter::once(&RATE).chain(&FIGURES) {
            let values = values(runs, figure);
            let name = format!("{}, {contestant}, {}", results.scenario, figure.name);
            let row = Row::new(name, figure.unit, median(&values)).spread(spread(&values));
            rows.push(match beside(results, *contestant, figure) {
                Some(other) => row.beside(other),
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

/// The same figure of what the contestant is compared with, if that was measured and is another.
fn beside(results: &Results, contestant: Contestant, figure: &Figure) -> Option<f64> {
    let other = contestant.beside();
    let (_, runs) = results
        .runs
        .iter()
        .find(|(one, _)| *one == other && *one != contestant)?;
    Some(median(&values(runs, figure)))
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
