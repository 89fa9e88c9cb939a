use std::io;

use tower::Layer;
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer};
use towerkit_core::Clock;
use towerkit_http::HttpExt;
use towerkit_log::{Background, Format, LineFormatter};
use tracing::{Dispatch, Level};
use tracing_subscriber::layer::SubscriberExt;

use crate::{Clocked, Http, Label, Visit, ours};

/// No subscriber is there.
pub(super) fn off(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("log, off, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::No),
        ours::log(Clock::monotonic()).http().layer(inner.clone()),
    );
    visit.http(
        Label::peer("tower-http Trace", Clocked::No),
        TraceLayer::new_for_http().layer(inner),
    );
}

/// Each with the JSON that comes with it, written to nowhere.
pub(super) fn json(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("log, one JSON line, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    let lines = LineFormatter::new(Format::Json).writer(io::sink);
    visit.under(Dispatch::new(tracing_subscriber::registry().with(lines)));
    visit.http(
        Label::ours("towerkit", Clocked::Standard),
        ours::log(Clock::monotonic()).http().layer(inner.clone()),
    );
    visit.http(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::log(Clock::fast()).http().layer(inner.clone()),
    );
    visit.under(in_background());
    visit.http(
        Label::ours("towerkit, fast clock, in the background", Clocked::Fast),
        ours::log(Clock::fast()).http().layer(inner.clone()),
    );
    let subscriber = tracing_subscriber::fmt().json().with_writer(io::sink);
    visit.under(Dispatch::new(subscriber.finish()));
    let trace = TraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO));
    visit.http(
        Label::peer("tower-http Trace, tracing-subscriber", Clocked::Standard),
        trace.layer(inner),
    );
}

/// Lines that a thread writes; it lives as long as the process.
fn in_background() -> Dispatch {
    let (queue, guard) = Background::new()
        .start(Format::Json, io::sink)
        .expect("a thread");
    std::mem::forget(guard);
    let lines = LineFormatter::new(Format::Json).writer(queue);
    Dispatch::new(tracing_subscriber::registry().with(lines))
}
