//! The page with the plots.

use std::fmt::Write;

use resilience::plot::{
    BLACK, BLUE, DASHED, DOTTED, GREEN, PURPLE, Plot, SOLID, Series, VERMILION, page as html_page,
};

use crate::{Args, Second};

pub(crate) fn page(args: &Args, seconds: &[Second]) -> String {
    let mut content = format!(
        "<p>A front sends {} calls a second to three instances, which it knows from a registry. One instance is killed and started \
         again, and another one gets twenty times as slow.</p>\n<div class=\"plots\">\n",
        args.rate
    );
    let bands = bands(seconds);
    let line = |name, color, dashes, value: &dyn Fn(&Second) -> f64| Series {
        name,
        color,
        dashes,
        // The value of a second stands at its middle.
        points: (seconds.iter())
            .map(|second| (f64::from(second.second) - 0.5, value(second)))
            .collect(),
    };
    let mut figure = |title, unit, caption, series: Vec<Series>| {
        let points = series.iter().flat_map(|series| &series.points);
        let max = points.map(|point| point.1).fold(1.0, f64::max);
        let step = 10_f64.powf(max.log10().floor());
        let max = (max / step).ceil() * step;
        let plot = Plot {
            title,
            unit,
            seconds: seconds.len() as f64,
            max,
            ticks: (0..=4)
                .map(|index| max * f64::from(index) / 4.0)
                .map(|value| (value, format!("{value:.1}")))
                .collect(),
            bands: &bands,
            series,
        };
        let (svg, legend) = (plot.svg(), plot.legend());
        let _ = writeln!(
            content,
            "<div><h3>{title}</h3><p>{caption}</p>{legend}{svg}</div>"
        );
    };
    figure(
        "Calls at the instances",
        "calls per s",
        "The balancer goes by calls in flight, so that the slow instance gets few.",
        vec![
            line("a", BLUE, SOLID, &|second| second.arrived[0] as f64),
            line("b", VERMILION, DASHED, &|second| second.arrived[1] as f64),
            line("c", PURPLE, DOTTED, &|second| second.arrived[2] as f64),
        ],
    );
    figure(
        "Results at the front",
        "calls per s",
        "A failed attempt is repeated at another instance.",
        vec![
            line("served", GREEN, SOLID, &|second| second.served as f64),
            line("failed", VERMILION, SOLID, &|second| second.failed as f64),
        ],
    );
    figure(
        "Latency of served calls",
        "ms",
        "Only the calls that a slow instance gets are slow.",
        vec![
            line("p50", BLUE, SOLID, &|second| {
                second.p50.as_secs_f64() * 1000.0
            }),
            line("p99", BLACK, DASHED, &|second| {
                second.p99.as_secs_f64() * 1000.0
            }),
        ],
    );
    figure(
        "Instances in the registry",
        "",
        "A killed instance stays until its registration runs out.",
        vec![line("known", BLACK, SOLID, &|second| second.known as f64)],
    );
    content.push_str("</div>\n");
    html_page("Three instances behind a load balancer", &content)
}

/// Joins the seconds of each phase.
fn bands(seconds: &[Second]) -> Vec<(f64, f64, &'static str)> {
    let mut bands: Vec<(f64, f64, &'static str)> = Vec::new();
    for second in seconds {
        let (end, name) = (f64::from(second.second), second.phase.as_str());
        match bands.last_mut() {
            Some(band) if band.2 == name => band.1 = end,
            _ => bands.push((end - 1.0, end, name)),
        }
    }
    bands
}
