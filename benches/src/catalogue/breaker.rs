use tower::Layer;
use towerkit_core::Clock;
use towerkit_http::HttpExt;

use crate::{Clocked, Http, Label, Plain, Visit, ours, peers};

pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("circuit breaker, closed, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::No),
        ours::circuit_breaker(Clock::monotonic()).layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, leaked", Clocked::No),
        ours::circuit_breaker(Clock::monotonic())
            .leak()
            .layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, time window", Clocked::Standard),
        ours::time_window_breaker(Clock::monotonic()).layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, time window, fast clock", Clocked::Fast),
        ours::time_window_breaker(Clock::fast()).layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, by key", Clocked::No),
        ours::keyed_circuit_breaker(Clock::monotonic()).layer(inner.clone()),
    );
    visit.plain(
        Label::peer("recloser", Clocked::No),
        peers::recloser(inner.clone()),
    );
    visit.plain(
        Label::peer("failsafe", Clocked::Standard),
        peers::failsafe(inner.clone()),
    );
    visit.plain(
        Label::peer("tower-resilience", Clocked::Standard),
        peers::tower_resilience_breaker().layer(inner),
    );
}

/// recloser and failsafe judge a call at its head, towerkit at the end of its body.
pub(super) fn http(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("circuit breaker, closed, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::No),
        ours::circuit_breaker(Clock::monotonic())
            .http()
            .layer(inner.clone()),
    );
    visit.http(
        Label::peer("recloser (head only)", Clocked::No),
        peers::recloser(inner.clone()),
    );
    visit.http(
        Label::peer("failsafe (head only)", Clocked::Standard),
        peers::failsafe(inner),
    );
}
