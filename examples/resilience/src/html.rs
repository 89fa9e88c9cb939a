//! The page with the plots of all runs.

use std::fmt::Write;

use towerkit::circuitbreaker::State;

use crate::{
    Demo,
    client::StackLayer,
    demo::Run,
    plot::{
        BLACK, BLUE, DASH_DOT, DASHED, DOTTED, GREEN, GREY, PURPLE, Plot, SOLID, Series, VERMILION,
        page as html_page,
    },
    second::Second,
};

pub(crate) fn page(args: &Demo, whole: &Run, without: &[Run]) -> String {
    let mut content = format!(
        "<p>A client makes {} calls a second to an upstream that goes from healthy to slow, flaky and down, and back. \
         The rate limit admits {} of them. The plots show the client with all five layers, then without one of them.</p>\n",
        args.rate, args.limit
    );
    let runs = || std::iter::once(whole).chain(without);
    let seconds = || runs().flat_map(|run| &run.seconds);
    let scales = Scales {
        latency: round_up(seconds().map(|s| s.p99.as_millis() as u64).max()),
        calls: round_up(seconds().map(|s| s.admitted().max(s.limited)).max()),
        attempts: round_up(seconds().map(|s| s.arrived).max()),
    };
    for run in runs() {
        section(&mut content, run, whole, &scales);
    }
    html_page("Layers of a client under load", &content)
}

/// The same vertical axes for all runs, so that they can be compared.
struct Scales {
    latency: f64,
    calls: f64,
    attempts: f64,
}

fn round_up(max: Option<u64>) -> f64 {
    (max.unwrap_or(0).max(1)).next_multiple_of(50) as f64
}

fn section(page: &mut String, run: &Run, whole: &Run, scales: &Scales) {
    let name = run.without.map_or("whole stack", StackLayer::as_str);
    let title = match run.without {
        Some(layer) => format!("Without the {}", layer.as_str()),
        None => "With all layers".to_owned(),
    };
    let _ = write!(
        page,
        "<section data-run=\"{name}\"><h2>{title}</h2>\n<div class=\"plots\">\n"
    );
    let bands = bands(&run.seconds);
    let plot = |title, unit, max, series| Plot {
        title,
        unit,
        seconds: run.seconds.len() as f64,
        max,
        ticks: ticks(max),
        bands: &bands,
        series,
    };
    let series = |name, color, dashes, value: fn(&Second) -> f64| {
        line(&run.seconds, name, color, dashes, value)
    };
    let captions = captions(run.without);

    let mut latency = vec![series("p99", BLUE, SOLID, p99)];
    if run.without.is_some() {
        let compared = line(&whole.seconds, "p99 with all layers", GREY, DOTTED, p99);
        latency.push(compared);
    }
    figure(
        page,
        &plot("Latency of served calls", "ms", scales.latency, latency),
        captions[0],
    );
    let calls = vec![
        series("admitted", BLACK, DOTTED, |s| s.admitted() as f64),
        series("served", GREEN, SOLID, |s| s.served as f64),
        series("rejected by the limit", GREY, DASH_DOT, |s| {
            s.limited as f64
        }),
        series("rejected by the breaker", PURPLE, DASHED, |s| s.open as f64),
        series("failed", VERMILION, SOLID, |s| s.failed as f64),
    ];
    figure(
        page,
        &plot("Results of calls", "calls per s", scales.calls, calls),
        captions[1],
    );
    let attempts = vec![
        series("arrived at the upstream", BLUE, SOLID, |s| s.arrived as f64),
        series("retried", VERMILION, DASHED, |s| s.retried as f64),
        series("hedged", PURPLE, DASH_DOT, |s| s.hedged as f64),
    ];
    figure(
        page,
        &plot(
            "Attempts at the upstream",
            "attempts per s",
            scales.attempts,
            attempts,
        ),
        captions[2],
    );
    let mut breaker = plot("State of the circuit breaker", "", 2.2, vec![states(run)]);
    breaker.ticks = vec![
        (0.0, "closed".to_owned()),
        (1.0, "half-open".to_owned()),
        (2.0, "open".to_owned()),
    ];
    figure(page, &breaker, captions[3]);
    page.push_str("</div></section>\n");
}

fn figure(page: &mut String, plot: &Plot<'_>, caption: &str) {
    let (title, svg, legend) = (plot.title, plot.svg(), plot.legend());
    let _ = writeln!(
        page,
        "<div><h3>{title}</h3><p>{caption}</p>{legend}{svg}</div>"
    );
}

/// Returns the latency in milliseconds, or a gap for a second without a served call.
fn p99(second: &Second) -> f64 {
    if second.served == 0 {
        return f64::NAN;
    }
    second.p99.as_secs_f64() * 1000.0
}

fn line(
    seconds: &[Second],
    name: &'static str,
    color: &'static str,
    dashes: &'static str,
    value: fn(&Second) -> f64,
) -> Series {
    // The value of a second stands at its middle.
    let points = (seconds.iter())
        .map(|second| (f64::from(second.second) - 0.5, value(second)))
        .collect();
    Series {
        name,
        color,
        dashes,
        points,
    }
}

/// Returns the states of the breaker as steps.
fn states(run: &Run) -> Series {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (second, state) in &run.breaker {
        let value = match state {
            State::Open => 2.0,
            State::HalfOpen => 1.0,
            _ => 0.0,
        };
        if let Some(last) = points.last() {
            points.push((*second, last.1));
        }
        points.push((*second, value));
    }
    if let Some(last) = points.last() {
        points.push((run.seconds.len() as f64, last.1));
    }
    Series {
        name: "state",
        color: PURPLE,
        dashes: SOLID,
        points,
    }
}

fn ticks(max: f64) -> Vec<(f64, String)> {
    let step = if max > 300.0 { 100.0 } else { 50.0 };
    (0..=(max / step) as u32)
        .map(|index| step * f64::from(index))
        .map(|value| (value, format!("{value:.0}")))
        .collect()
}

/// Joins the seconds of each state of the upstream.
fn bands(seconds: &[Second]) -> Vec<(f64, f64, &'static str)> {
    let mut bands: Vec<(f64, f64, &'static str)> = Vec::new();
    for second in seconds {
        let (end, name) = (f64::from(second.second), second.state.as_str());
        match bands.last_mut() {
            Some(band) if band.2 == name => band.1 = end,
            _ => bands.push((end - 1.0, end, name)),
        }
    }
    bands
}

/// Returns a sentence for each plot: latency, results, attempts, breaker.
fn captions(without: Option<StackLayer>) -> [&'static str; 4] {
    match without {
        None => [
            "Most slow calls end after 60 ms by a hedge, and the others after a timeout and a retry.",
            "Retries serve nearly all admitted calls, until the breaker rejects them.",
            "While the upstream is down, only probes and a few retries reach it.",
            "The breaker opens while the upstream is down, and closes after it.",
        ],
        Some(StackLayer::RateLimit) => [
            "The latency is similar: this upstream has capacity for twice the calls.",
            "All calls are admitted, twice as many as before.",
            "The upstream gets twice as many calls while it is healthy.",
            "The breaker opens as before, and rejects twice as many calls.",
        ],
        Some(StackLayer::Retry) => [
            "Calls to the flaky upstream are fast, because failed ones end at once.",
            "One call in four fails while the upstream is flaky.",
            "The upstream gets hardly more attempts than there are admitted calls.",
            "The breaker opens as before: it counts attempts.",
        ],
        Some(StackLayer::Hedge) => [
            "Callers wait for the slow tail: p99 is above 200 ms.",
            "As many calls are served, but the slow ones only after a retry.",
            "Slow attempts are retried after 200 ms instead of hedged after 50 ms.",
            "The breaker opens as before: timeouts are too few to open it earlier.",
        ],
        Some(StackLayer::CircuitBreaker) => [
            "The breaker hardly changes the latency of served calls.",
            "While the upstream is down, calls fail instead of being rejected.",
            "All calls reach the upstream while it is down, and retries as well.",
            "This breaker is not in the stack, and stays closed.",
        ],
        Some(StackLayer::Timeout) => [
            "Slow calls that are not hedged take 250 ms, and no longer here.",
            "The results are similar: slow calls of this upstream end by themselves.",
            "Slow attempts are not retried, because no timeout ends them.",
            "The breaker opens as before, on failures.",
        ],
    }
}
