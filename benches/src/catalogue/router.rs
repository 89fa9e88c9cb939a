//! Layers where most users have them: around the routes of an axum application, beside a layer that does nothing.

use std::io;

use axum::Router;
use tower::{ServiceBuilder, layer::util::Identity};
use tower_http::trace::{DefaultMakeSpan, DefaultOnResponse, TraceLayer as HttpTraceLayer};
use tower_otel::trace::HttpLayer;
use towerkit_core::{Clock, stack};
use towerkit_http::HttpExt;
use towerkit_log::{Format, LineFormatter, LogLayer};
use towerkit_trace::TraceLayer;
use tracing::{Dispatch, Level};
use tracing_subscriber::layer::SubscriberExt;

use crate::{Clocked, Label, Visit, app, ours, peers};

/// A layer that does nothing costs a route its box all the same.
fn group(visit: &mut impl Visit, what: &str) {
    visit.group(format!("{what}, axum router"));
    visit.router(identity(), app().layer(Identity::new()));
}

const fn identity() -> Label {
    Label {
        name: "(router, a layer that does nothing)",
        ..Label::bare()
    }
}

pub(super) fn limit(visit: &mut impl Visit) {
    group(visit, "rate limit");
    visit.router(
        Label::ours("towerkit", Clocked::Standard),
        app().layer(ours::rate_limit(Clock::monotonic()).axum()),
    );
    visit.router(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        app().layer(ours::rate_limit(Clock::fast()).axum()),
    );
    visit.router(
        Label::peer("governor by hand, quanta", Clocked::Fast),
        app().layer(peers::governor_for_routes()),
    );
    visit.router(
        Label::peer("tower_governor, one key", Clocked::Fast),
        app().layer(peers::tower_governor()),
    );
}

/// recloser judges a call at its head, towerkit at the end of its body.
pub(super) fn breaker(visit: &mut impl Visit) {
    group(visit, "circuit breaker, closed");
    visit.router(
        Label::ours("towerkit", Clocked::No),
        app().layer(ours::circuit_breaker(Clock::monotonic()).axum()),
    );
    visit.router(
        Label::peer("recloser by hand (head only)", Clocked::No),
        app().layer(peers::recloser_for_routes()),
    );
}

pub(super) fn concurrency(visit: &mut impl Visit) {
    group(visit, "concurrency limit");
    visit.router(
        Label::ours("towerkit", Clocked::No),
        app().layer(ours::concurrency_limit().axum()),
    );
    visit.router(
        Label::peer("tower (head only)", Clocked::No),
        app().layer(peers::tower_concurrency_limit()),
    );
}

pub(super) fn timeout(visit: &mut impl Visit) {
    group(visit, "timeout");
    visit.router(
        Label::ours("towerkit", Clocked::Standard),
        app().layer(ours::timeout().axum()),
    );
    visit.router(
        Label::peer("tower-http", Clocked::Standard),
        app().layer(peers::tower_http_timeout()),
    );
}

pub(super) fn metrics(visit: &mut impl Visit) {
    group(visit, "metrics");
    visit.router(
        Label::ours("towerkit", Clocked::Standard),
        app().layer(ours::metrics(Clock::monotonic()).axum()),
    );
    visit.router(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        app().layer(ours::metrics(Clock::fast()).axum()),
    );
    visit.router(
        Label::peer("axum-prometheus (head only)", Clocked::Standard),
        app().layer(peers::axum_prometheus()),
    );
}

/// The same six as one layer and as six, of which axum boxes each; the peers are one `ServiceBuilder`.
pub(super) fn stack_of_six(visit: &mut impl Visit) {
    group(
        visit,
        "stack of trace (not sampled), log (off), metrics, concurrency, rate limit, breaker",
    );
    visit.router(
        Label::ours("towerkit", Clocked::Standard),
        app().layer(ours::policies(Clock::monotonic()).axum()),
    );
    visit.router(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        app().layer(ours::policies(Clock::fast()).axum()),
    );
    visit.router(
        Label::ours("towerkit, fast clock, one ServiceBuilder", Clocked::Fast),
        one_builder(),
    );
    visit.router(
        Label::ours("towerkit, fast clock, six times .layer()", Clocked::Fast),
        six_layers(),
    );
    visit.router(
        Label::peer("the peers, one ServiceBuilder", Clocked::Standard),
        the_peers(),
    );
}

fn one_builder() -> Router {
    let layers = ServiceBuilder::new()
        .layer(ours::trace_not_sampled().axum())
        .layer(ours::log(Clock::fast()).axum())
        .layer(ours::metrics(Clock::fast()).axum())
        .layer(ours::concurrency_limit().axum())
        .layer(ours::rate_limit(Clock::fast()).axum())
        .layer(ours::circuit_breaker(Clock::fast()).axum());
    app().layer(layers)
}

fn six_layers() -> Router {
    app()
        .layer(ours::circuit_breaker(Clock::fast()).axum())
        .layer(ours::rate_limit(Clock::fast()).axum())
        .layer(ours::concurrency_limit().axum())
        .layer(ours::metrics(Clock::fast()).axum())
        .layer(ours::log(Clock::fast()).axum())
        .layer(ours::trace_not_sampled().axum())
}

/// Of each of the six the fastest there is, in the same order.
fn the_peers() -> Router {
    let layers = ServiceBuilder::new()
        .layer(HttpLayer::server(Level::INFO))
        .layer(HttpTraceLayer::new_for_http())
        .layer(peers::axum_prometheus())
        .layer(peers::tower_concurrency_limit())
        .layer(peers::governor_for_routes())
        .layer(peers::recloser_for_routes());
    app().layer(layers)
}

/// The line has the ids of its trace; the peer's has the span that tower-http makes.
pub(super) fn trace_and_line(visit: &mut impl Visit) {
    group(visit, "trace and one JSON line");
    let lines = LineFormatter::new(Format::Json).writer(io::sink);
    visit.under(Dispatch::new(tracing_subscriber::registry().with(lines)));
    let log = || LogLayer::new().clock(Clock::fast());
    visit.router(
        Label::ours("towerkit, fast clock", Clocked::Standard),
        app().layer(stack((TraceLayer::server(), log())).axum()),
    );
    visit.router(
        Label::ours("towerkit, fast clock, not sampled", Clocked::Standard),
        app().layer(stack((ours::trace_not_sampled(), log())).axum()),
    );
    let subscriber = tracing_subscriber::fmt().json().with_writer(io::sink);
    visit.under(Dispatch::new(subscriber.finish()));
    let trace = HttpTraceLayer::new_for_http()
        .make_span_with(DefaultMakeSpan::new().level(Level::INFO))
        .on_response(DefaultOnResponse::new().level(Level::INFO));
    visit.router(
        Label::peer("tower-http Trace, tracing-subscriber", Clocked::Standard),
        app().layer(trace),
    );
}
