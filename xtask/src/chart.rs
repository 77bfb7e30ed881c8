//! A chart of what was measured over time, as SVG: a small panel for each series, all on one axis of time.

use std::fmt::Write as _;

const WIDTH: f64 = 720.0;
const PANEL: f64 = 110.0;
const GAP: f64 = 34.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 28.0;
const BOTTOM: f64 = 34.0;

/// One panel.
pub struct Series<'a> {
    /// With its unit.
    pub name: &'a str,
    /// One for each moment.
    pub values: Vec<f64>,
}

/// Draws series over `moments`, which grow; what they are counted in is `unit`.
pub fn svg(unit: &str, moments: &[f64], all: &[Series<'_>]) -> String {
    let height = TOP + all.len() as f64 * (PANEL + GAP) - GAP + BOTTOM;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    let end = moments.last().copied().filter(|end| *end > 0.0).unwrap_or(1.0);
    for (n, series) in all.iter().enumerate() {
        panel(&mut svg, TOP + n as f64 * (PANEL + GAP), moments, end, series);
    }
    let bottom = height - BOTTOM;
    for tick in ticks(end) {
        let x = x(tick, end);
        let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>", bottom + 14.0);
    }
    let middle = (LEFT + WIDTH - RIGHT) / 2.0;
    let _ = writeln!(svg, "<text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", bottom + 28.0, escaped(unit));
    svg + "</svg>\n"
}

fn panel(svg: &mut String, top: f64, moments: &[f64], end: f64, series: &Series<'_>) {
    let most = series.values.iter().copied().fold(0.0, f64::max);
    let steps = ticks(if most > 0.0 { most } else { 1.0 });
    let full = steps.last().copied().unwrap_or(1.0).max(most);
    let y = |value: f64| top + PANEL - value / full * PANEL;
    let _ = writeln!(svg, "<text x=\"{LEFT}\" y=\"{:.1}\" font-weight=\"bold\">{}</text>", top - 7.0, escaped(series.name));
    for step in steps {
        let at = y(step);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{:.1}\" stroke=\"#ddd\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{step}</text>",
            WIDTH - RIGHT,
            LEFT - 6.0,
            at + 4.0
        );
    }
    for tick in ticks(end) {
        let _ = writeln!(svg, "<path d=\"M{:.1} {:.1}v4\" stroke=\"#444\"/>", x(tick, end), top + PANEL);
    }
    let _ = writeln!(svg, "<path d=\"M{LEFT} {top}v{PANEL}H{:.1}\" fill=\"none\" stroke=\"#444\"/>", WIDTH - RIGHT);
    let points = moments.iter().zip(&series.values).map(|(moment, value)| format!("{:.1},{:.1}", x(*moment, end), y(*value)));
    let points = points.collect::<Vec<_>>().join(" ");
    let _ = writeln!(svg, "<polyline points=\"{points}\" fill=\"none\" stroke=\"#1565c0\" stroke-width=\"1.5\"/>");
}

fn x(moment: f64, end: f64) -> f64 {
    LEFT + moment / end * (WIDTH - LEFT - RIGHT)
}

/// From zero on, at most six round numbers, the last one not beyond `end`.
fn ticks(end: f64) -> Vec<f64> {
    let power = 10f64.powf((end / 5.0).log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|of| of * power).find(|step| end / step <= 5.0).unwrap_or(end);
    // Tenths have no exact sum: each tick is its own product, and rounded.
    (0..=(end / step) as u32).map(|n| (f64::from(n) * step * 1e6).round() / 1e6).collect()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_few() {
        assert_eq!(ticks(60.0), [0.0, 20.0, 40.0, 60.0]);
        assert_eq!(ticks(1.0), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(ticks(517.0), [0.0, 200.0, 400.0]);
    }

    #[test]
    fn a_point_lies_where_its_axes_say() {
        let series = [Series { name: "a < b", values: vec![0.0, 5.0, 10.0] }];
        let svg = svg("minutes", &[0.0, 1.0, 2.0], &series);
        let (bottom, middle) = (TOP + PANEL, (LEFT + WIDTH - RIGHT) / 2.0);
        let line = format!("{LEFT:.1},{bottom:.1} {middle:.1},{:.1} {:.1},{TOP:.1}", TOP + PANEL / 2.0, WIDTH - RIGHT);
        assert!(svg.contains(&line), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.contains(">minutes<") && svg.contains(">10</text>"), "{svg}");
    }
}
