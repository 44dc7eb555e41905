//! The rates as an SVG: one line for each mechanism, by number of sessions.

use anyhow::anyhow;
use plotters::prelude::*;

use super::BenchRecord;

const SIZE: (u32, u32) = (800, 500);
/// Okabe and Ito's colours, which people with any colour vision can tell apart.
const COLOURS: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// Draws the chart.
///
/// # Errors
/// The library cannot draw it.
pub(super) fn draw(record: &BenchRecord) -> anyhow::Result<String> {
    let mut svg = String::new();
    lines(record, &mut svg).map_err(|error| anyhow!("failed to draw the chart: {error}"))?;
    Ok(svg)
}

fn lines(record: &BenchRecord, svg: &mut String) -> Result<(), Box<dyn std::error::Error>> {
    let most = record.points.iter().map(|point| point.sessions).max();
    let most = f64::from(most.unwrap_or(1)) + 1.0;
    let best = record.points.iter().map(|point| point.rate);
    let best = best.fold(1.0, f64::max) * 1.1;
    let area = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let title = format!("Signatures per second, {} key", record.kind);
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(20)
        .x_label_area_size(45)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..most, 0.0..best)?;
    chart
        .configure_mesh()
        .x_desc("sessions")
        .y_desc("per second")
        .x_label_formatter(&|sessions| format!("{sessions:.0}"))
        .y_label_formatter(&|rate| format!("{rate:.0}"))
        .draw()?;
    for (choice, colour) in record.choices.iter().zip(COLOURS.iter().cycle()) {
        let name = choice.mechanism;
        let points = || {
            let of_it = record.points.iter().filter(|one| one.mechanism == name);
            of_it.map(|one| (f64::from(one.sessions), one.rate))
        };
        chart
            .draw_series(LineSeries::new(points(), colour.stroke_width(2)))?
            .label(format!("{name}: {} sessions", choice.sessions))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], *colour));
        let dots = points().map(|point| Circle::new(point, 4, colour.filled()));
        chart.draw_series(dots)?;
    }
    chart
        .configure_series_labels()
        .border_style(BLACK)
        .background_style(WHITE)
        .position(SeriesLabelPosition::LowerRight)
        .draw()?;
    area.present()?;
    Ok(())
}
