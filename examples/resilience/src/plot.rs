//! Plots over time as SVG, and the page around them: well-formed XHTML that loads no other file.

use std::fmt::Write;

const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 230.0;
const LEFT: f64 = 78.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 42.0;

const STYLE: &str = "
body { font: 16px/1.45 system-ui, sans-serif; color: #1f2933; max-width: 1180px; margin: 20px auto; padding: 0 16px }
h1 { font-size: 26px; margin: 0 0 6px }
h2 { font-size: 21px; margin: 26px 0 4px; border-top: 2px solid #1f2933; padding-top: 10px }
h3 { font-size: 16px; margin: 10px 0 0 }
p { margin: 2px 0 6px }
.plots > div { display: flex; flex-direction: column }
.plots > div > svg { margin-top: auto }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(420px, 1fr)); gap: 4px 28px }
.legend { font-size: 14px; margin: 0 }
.legend span { margin-right: 10px; white-space: nowrap }
svg { width: 100%; display: block }
svg.key { width: 34px; height: 8px; display: inline }
text { font-size: 13px; fill: #374151 }
.band, .second, .axis { text-anchor: middle }
.tick { text-anchor: end }
.band { font-style: italic }
";

// The colours of Okabe and Ito, which also readers with a colour vision deficiency can tell apart.
/// The colour blue.
pub const BLUE: &str = "#0072b2";
/// The colour green.
pub const GREEN: &str = "#009e73";
/// The colour vermilion.
pub const VERMILION: &str = "#d55e00";
/// The colour purple.
pub const PURPLE: &str = "#aa3377";
/// The colour black.
pub const BLACK: &str = "#222222";
/// The colour grey.
pub const GREY: &str = "#8a8f98";

/// A solid line.
pub const SOLID: &str = "none";
/// A line of dashes.
pub const DASHED: &str = "8 4";
/// A line of dots.
pub const DOTTED: &str = "2 4";
/// A line of dashes and dots.
pub const DASH_DOT: &str = "10 4 2 4";

/// Makes a page of a title and sections.
#[must_use]
pub fn page(title: &str, content: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\"><head><meta charset=\"utf-8\"/>\
         <title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n{content}</body></html>\n"
    )
}

/// A series of points: seconds since the start, and the value.
#[derive(Debug, Clone)]
pub struct Series {
    /// The name in the legend.
    pub name: &'static str,
    /// The colour of the line.
    pub color: &'static str,
    /// Lengths of dashes and gaps, so that lines differ by more than their colour.
    pub dashes: &'static str,
    /// A value that is not a number makes a gap.
    pub points: Vec<(f64, f64)>,
}

/// A plot with its axes.
#[derive(Debug)]
pub struct Plot<'a> {
    /// The title, for screen readers.
    pub title: &'a str,
    /// The label of the vertical axis.
    pub unit: &'a str,
    /// The duration of the run, in seconds.
    pub seconds: f64,
    /// The top of the vertical axis.
    pub max: f64,
    /// The labels of the vertical axis.
    pub ticks: Vec<(f64, String)>,
    /// Spans of time with a label: begin, end, name.
    pub bands: &'a [(f64, f64, &'a str)],
    /// The lines.
    pub series: Vec<Series>,
}

impl Plot<'_> {
    /// Returns the plot as an SVG element.
    #[must_use]
    pub fn svg(&self) -> String {
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

    /// Returns the names of the series and their lines.
    #[must_use]
    pub fn legend(&self) -> String {
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
