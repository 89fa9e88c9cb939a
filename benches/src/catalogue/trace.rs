use opentelemetry_sdk::trace::Sampler;
use tower::Layer;
use tower_otel::trace::HttpLayer;
use towerkit_core::{Clock, LayerExt};
use towerkit_http::HttpExt;
use towerkit_log::LogLayer;
use towerkit_trace::TraceLayer;
use tracing::{Level, level_filters::LevelFilter};

use crate::{Clocked, Http, Label, Plain, Visit, ours, peers};

/// A subscriber and the OpenTelemetry SDK are installed, and no trace is recorded.
pub(super) fn not_sampled_plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("trace, not sampled, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.under(peers::opentelemetry());
    visit.plain(
        Label::ours("towerkit", Clocked::No),
        ours::trace_not_sampled().plain("double").layer(inner),
    );
}

/// The same over HTTP. Spans of the peer cannot but exist before the sampler of the SDK is asked.
pub(super) fn not_sampled(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("trace, not sampled, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.under(peers::opentelemetry());
    visit.http(
        Label::ours("towerkit", Clocked::No),
        ours::trace_not_sampled().http().layer(inner.clone()),
    );
    let log = ours::log(Clock::fast());
    visit.http(
        Label::ours(
            "towerkit, in the policy stack of six, fast clock",
            Clocked::Fast,
        ),
        ours::row_logged_by(off(log), Clock::fast())
            .http()
            .layer(inner.clone()),
    );
    visit.under(peers::tracing_opentelemetry(Sampler::AlwaysOff));
    visit.http(
        Label::peer("tower-otel", Clocked::Standard),
        HttpLayer::server(Level::INFO).layer(inner),
    );
}

/// Every trace is recorded, and goes no farther than the processor of the SDK.
pub(super) fn sampled(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("trace, sampled, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.under(peers::opentelemetry());
    visit.http(
        Label::ours("towerkit", Clocked::Standard),
        TraceLayer::server().http().layer(inner.clone()),
    );
    visit.http(
        Label::peer("a span of tracing, the same fields", Clocked::Standard),
        peers::spanned(inner.clone()),
    );
    visit.under(peers::tracing_opentelemetry(Sampler::AlwaysOn));
    visit.http(
        Label::peer("tower-otel (head only)", Clocked::Standard),
        HttpLayer::server(Level::INFO).layer(inner.clone()),
    );
    visit.http(
        Label::peer("tower-otel, with the body", Clocked::Standard),
        HttpLayer::server(Level::INFO).trace_body().layer(inner),
    );
}

fn off(log: LogLayer) -> LogLayer {
    log.handle().set_level(LevelFilter::OFF);
    log
}
