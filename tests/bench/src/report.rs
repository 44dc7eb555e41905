//! The report of every benchmark: a table for people, and the same figures as JSON in `target/bench/`.

use std::fs;
use std::io;
use std::path::Path;
use std::thread::available_parallelism;

use serde::Serialize;
use serde_json::json;

/// One figure of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    name: String,
    unit: &'static str,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spread: Option<[f64; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    beside: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ratio: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    most: Option<f64>,
}

/// The figures of one benchmark.
#[derive(Clone, Debug)]
pub struct Report {
    bench: &'static str,
    rows: Vec<Row>,
}

impl Row {
    /// Creates a row with a value only.
    #[must_use]
    pub fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            value: rounded(value),
            spread: None,
            beside: None,
            ratio: None,
            most: None,
        }
    }

    /// Adds the goal: the value must not be greater.
    #[must_use]
    pub fn at_most(mut self, most: f64) -> Self {
        self.most = Some(most);
        self
    }

    /// Adds the least and the greatest of the values of which `value` is the median.
    #[must_use]
    pub fn spread(mut self, [least, greatest]: [f64; 2]) -> Self {
        self.spread = Some([rounded(least), rounded(greatest)]);
        self
    }

    /// Adds the value to compare with, and the ratio.
    #[must_use]
    pub fn beside(mut self, other: f64) -> Self {
        self.beside = Some(rounded(other));
        self.ratio = Some((self.value / other * 1000.0).round() / 1000.0);
        self
    }
}

impl Report {
    /// Creates an empty report. Its file is named after the benchmark.
    #[must_use]
    pub fn new(bench: &'static str) -> Self {
        Self {
            bench,
            rows: Vec::new(),
        }
    }

    /// Adds a figure.
    pub fn push(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints a line for each figure; `beside` is the head of the middle column.
    pub fn print(&self, beside: &str) {
        println!("{:<46} {:>10} {beside:>12} {:>7}", "", "ours", "ratio");
        for row in &self.rows {
            let number = |number: Option<f64>, decimals: usize| {
                number.map_or_else(String::new, |number| format!("{number:.decimals$}"))
            };
            println!(
                "{:<46} {:>10} {:>12} {:>7} {}",
                row.name,
                number(Some(row.value), 1),
                number(row.beside, 1),
                number(row.ratio, 3),
                row.unit
            );
        }
    }

    /// Returns whether every figure reaches its goal.
    ///
    /// # Errors
    /// Those that do not, with their goals.
    pub fn goals_are_reached(&self) -> Result<(), String> {
        let missed = self.rows.iter().filter_map(|row| {
            let most = row.most.filter(|most| row.value > *most)?;
            let Row {
                name, unit, value, ..
            } = row;
            Some(format!("{name}: {value} {unit}, more than {most} {unit}"))
        });
        let missed: Vec<_> = missed.collect();
        match missed.is_empty() {
            true => Ok(()),
            false => Err(missed.join("; ")),
        }
    }

    /// Writes `target/bench/<bench>.json`.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self) -> io::Result<()> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/bench");
        fs::create_dir_all(&folder)?;
        let report = json!({"bench": self.bench, "machine": machine(), "rows": self.rows});
        fs::write(
            folder.join(format!("{}.json", self.bench)),
            format!("{report:#}\n"),
        )
    }
}

/// Rounds to a thousandth: no measurement here is more precise.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn machine() -> String {
    let cores = available_parallelism().map_or(1, usize::from);
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
        .map_or("unknown CPU", |(_, model)| model);
    format!("{cores} × {model}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_above_its_goal_is_named() {
        let mut report = Report::new("a");
        report.push(Row::new("log", "µs", 30.0).at_most(30.0));
        report.push(Row::new("size", "MB", 7.0));
        assert_eq!(report.goals_are_reached(), Ok(()));
        report.push(Row::new("metrics", "µs", 5.1).at_most(5.0));
        let missed = "metrics: 5.1 µs, more than 5 µs".to_owned();
        assert_eq!(report.goals_are_reached(), Err(missed));
    }

    #[test]
    fn a_row_has_only_the_fields_that_it_was_given() {
        let alone = serde_json::to_value(Row::new("a", "s", 1.23456)).unwrap();
        assert_eq!(alone, json!({"name": "a", "unit": "s", "value": 1.235}));
        let whole = Row::new("a", "s", 3.0).spread([2.0, 4.0]).beside(6.0);
        assert_eq!(
            serde_json::to_value(whole).unwrap(),
            json!({"name": "a", "unit": "s", "value": 3.0, "spread": [2.0, 4.0], "beside": 6.0, "ratio": 0.5})
        );
    }
}
