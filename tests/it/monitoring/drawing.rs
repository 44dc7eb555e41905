//! Draws the panels of the dashboard as an SVG, from the same queries, because no Grafana runs here.

use std::fmt::Write as _;

use serde_json::Value;

/// Size of a panel and of its plot, in pixels.
const PANEL: (f64, f64) = (320.0, 170.0);
const PLOT: (f64, f64) = (290.0, 90.0);
const COLUMNS: usize = 3;
const COLOURS: [&str; 6] = [
    "#3274d9", "#56a64b", "#e02f44", "#ff780a", "#a352cc", "#37872d",
];

/// A panel with the result of its queries.
pub(super) struct Drawn {
    pub(super) title: String,
    pub(super) unit: String,
    pub(super) lines: Vec<Line>,
}

/// A line of a panel.
pub(super) struct Line {
    pub(super) name: String,
    /// Time and value of each sample.
    pub(super) samples: Vec<(f64, f64)>,
}

/// Returns the lines of a matrix. `legend` is the name of a line, with labels in double braces.
pub(super) fn lines(matrix: &[Value], legend: &str) -> Vec<Line> {
    let line = |series: &Value| {
        let mut name = legend.to_owned();
        for (label, value) in series["metric"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap_or_default();
            name = name.replace(&format!("{{{{{label}}}}}"), value);
        }
        // A query without a result is drawn as zero, without labels.
        if name.contains("{{") {
            name = "none".to_owned();
        }
        let samples = series["values"].as_array().into_iter().flatten();
        let samples = samples.filter_map(|sample| {
            let value: f64 = sample[1].as_str()?.parse().ok()?;
            Some((sample[0].as_f64()?, value)).filter(|(_, value)| value.is_finite())
        });
        Line {
            name,
            samples: samples.collect(),
        }
    };
    matrix.iter().map(line).collect()
}

/// Draws all panels.
pub(super) fn draw(panels: &[Drawn]) -> String {
    let rows = panels.len().div_ceil(COLUMNS);
    let (width, height) = (PANEL.0 * 3.0, PANEL.1 * count(rows));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"10\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (index, panel) in panels.iter().enumerate() {
        let x = PANEL.0 * count(index % COLUMNS) + 15.0;
        let y = PANEL.1 * count(index / COLUMNS) + 15.0;
        panel.draw(&mut svg, x, y);
    }
    svg.push_str("</svg>\n");
    svg
}

impl Drawn {
    fn draw(&self, svg: &mut String, x: f64, y: f64) {
        let Self { title, unit, lines } = self;
        let all = || lines.iter().flat_map(|line| line.samples.iter().copied());
        let least = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::INFINITY, f64::min);
        let most = |values: &mut dyn Iterator<Item = f64>| values.fold(f64::NEG_INFINITY, f64::max);
        let (from, to) = (
            least(&mut all().map(|(at, _)| at)),
            most(&mut all().map(|(at, _)| at)),
        );
        let low = least(&mut all().map(|(_, value)| value)).min(0.0);
        let high = most(&mut all().map(|(_, value)| value)).max(low + 1e-9);
        // Writing to a `String` cannot fail.
        writeln!(
            svg,
            "<text x=\"{x}\" y=\"{y}\" font-weight=\"bold\">{title} ({unit})</text>"
        )
        .ok();
        let top = y + 8.0;
        writeln!(
            svg,
            "<rect x=\"{x}\" y=\"{top}\" width=\"{}\" height=\"{}\" fill=\"none\" stroke=\"#ccc\"/>\
             <text x=\"{}\" y=\"{}\" fill=\"#666\">{high:.3}</text>",
            PLOT.0,
            PLOT.1,
            x + 3.0,
            top + 10.0
        )
        .ok();
        for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
            let points: Vec<_> = line
                .samples
                .iter()
                .map(|(at, value)| {
                    let right = (at - from) / (to - from).max(1.0) * PLOT.0;
                    let up = (value - low) / (high - low) * PLOT.1;
                    format!("{:.0},{:.0}", x + right, top + PLOT.1 - up)
                })
                .collect();
            writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"/>",
                points.join(" ")
            )
            .ok();
        }
        let mut names = x;
        for (line, colour) in lines.iter().zip(COLOURS).take(5) {
            let name: String = line.name.chars().take(22).collect();
            let wide = 6.0 * count(name.chars().count()) + 8.0;
            if names + wide > x + PLOT.0 + 8.0 {
                break;
            }
            let below = top + PLOT.1 + 12.0;
            writeln!(
                svg,
                "<text x=\"{names}\" y=\"{below}\" fill=\"{colour}\">{name}</text>"
            )
            .ok();
            names += wide;
        }
    }
}

fn count(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
