//! A plot over time, as SVG.

use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 42.0;

/// A series of points: seconds since the start, and the value.
pub(crate) struct Series {
    pub(crate) name: &'static str,
    pub(crate) color: &'static str,
    /// Lengths of dashes and gaps, so that lines differ by more than their colour.
    pub(crate) dashes: &'static str,
    /// A value that is not a number makes a gap.
    pub(crate) points: Vec<(f64, f64)>,
}

/// A plot with its axes.
pub(crate) struct Plot<'a> {
    pub(crate) title: &'a str,
    pub(crate) unit: &'a str,
    /// The duration of the run, in seconds.
    pub(crate) seconds: f64,
    pub(crate) max: f64,
    /// The labels of the vertical axis.
    pub(crate) ticks: Vec<(f64, String)>,
    /// Spans of time with a label: begin, end, name.
    pub(crate) bands: &'a [(f64, f64, &'a str)],
    pub(crate) series: Vec<Series>,
}

impl Plot<'_> {
    pub(crate) fn svg(&self) -> String {
        let mut svg = format!(
            r#"<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{}">"#,
            self.title
        );
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for (index, (begin, end, name)) in self.bands.iter().enumerate() {
            let (x, width) = (self.x(*begin), self.x(*end) - self.x(*begin));
            let (height, center) = (bottom - TOP, x + width / 2.0);
            let fill = ["#f3f4f6", "#ffffff"][index % 2];
            let _ = write!(
                svg,
                r#"<rect x="{x:.1}" y="{TOP}" width="{width:.1}" height="{height}" fill="{fill}"/>"#
            );
            let _ = write!(
                svg,
                r#"<text class="band" x="{center:.1}" y="{:.1}">{name}</text>"#,
                TOP - 7.0
            );
        }
        for (value, label) in &self.ticks {
            let y = self.y(*value);
            let _ = write!(
                svg,
                r##"<path d="M{LEFT} {y:.1}H{right}" stroke="#d1d5db"/><text class="tick" x="{}" y="{:.1}">{label}</text>"##,
                LEFT - 6.0,
                y + 4.0
            );
        }
        let step = (self.seconds / 10.0).ceil().max(1.0);
        let mut second = 0.0;
        while second <= self.seconds {
            let _ = write!(
                svg,
                r#"<text class="second" x="{:.1}" y="{}">{second}</text>"#,
                self.x(second),
                bottom + 16.0
            );
            second += step;
        }
        let _ = write!(
            svg,
            r#"<text class="axis" x="{}" y="{}">time in s</text>"#,
            f64::midpoint(LEFT, right),
            HEIGHT - 8.0
        );
        let middle = f64::midpoint(TOP, bottom);
        let _ = write!(
            svg,
            r#"<text class="axis" transform="translate(14 {middle}) rotate(-90)">{}</text>"#,
            self.unit
        );
        for series in &self.series {
            let mut path = String::new();
            let mut command = 'M';
            for (second, value) in &series.points {
                if value.is_nan() {
                    command = 'M';
                    continue;
                }
                let _ = write!(
                    path,
                    "{command}{:.1} {:.1}",
                    self.x(*second),
                    self.y(*value)
                );
                command = 'L';
            }
            let _ = write!(
                svg,
                r#"<path data-series="{}" d="{}" fill="none" stroke="{}" stroke-width="2.5" stroke-dasharray="{}"/>"#,
                series.name, path, series.color, series.dashes
            );
        }
        svg.push_str("</svg>");
        svg
    }

    pub(crate) fn legend(&self) -> String {
        let mut legend = String::from(r#"<p class="legend">"#);
        for series in &self.series {
            let _ = write!(
                legend,
                r#"<span><svg class="key" viewBox="0 0 34 8"><path d="M0 4H34" stroke="{}" stroke-width="3" stroke-dasharray="{}"/></svg> {}</span> "#,
                series.color, series.dashes, series.name
            );
        }
        legend + "</p>"
    }

    fn x(&self, second: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * (second / self.seconds).min(1.0)
    }

    fn y(&self, value: f64) -> f64 {
        let share = (value / self.max).clamp(0.0, 1.0);
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share
    }
}
