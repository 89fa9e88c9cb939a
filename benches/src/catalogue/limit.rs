use axum::body::Body;
use tower::Layer;
use towerkit_core::Clock;
use towerkit_http::HttpExt;

use crate::{Clocked, Http, Label, Plain, Ready, Visit, ours, peers};

pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("rate limit, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::Standard),
        ours::rate_limit(Clock::monotonic()).layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::rate_limit(Clock::fast()).layer(inner.clone()),
    );
    visit.plain(
        Label::peer("governor, quanta", Clocked::Fast),
        peers::governor(inner.clone()),
    );
    visit.plain(
        Label::peer("governor, standard clock", Clocked::Standard),
        peers::governor_monotonic(inner.clone()),
    );
    visit.plain(
        Label::unshared("tower RateLimit, not shared", Clocked::Standard),
        peers::tower_rate_limit().layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower-resilience", Clocked::Standard),
        peers::tower_resilience_limiter().layer(inner),
    );
}

pub(super) fn keyed(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("rate limit by key, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::Standard),
        ours::keyed_rate_limit(Clock::monotonic()).layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::keyed_rate_limit(Clock::fast()).layer(inner.clone()),
    );
    visit.plain(
        Label::peer("governor, quanta", Clocked::Fast),
        peers::governor_keyed().layer(inner),
    );
}

pub(super) fn random_keys(visit: &mut impl Visit, inner: impl Plain, keys: u64) {
    visit.group(format!("rate limit by key, plain, {keys} keys in no order"));
    visit.keys(Label::bare(), keys, inner.clone());
    let limit = ours::keyed_rate_limit(Clock::fast()).capacity(keys as usize);
    visit.keys(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        keys,
        limit.expect("a valid capacity").layer(inner.clone()),
    );
    visit.keys(
        Label::peer("governor, quanta", Clocked::Fast),
        keys,
        peers::governor_keyed().layer(inner),
    );
}

pub(super) fn http(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("rate limit, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::Standard),
        ours::rate_limit(Clock::monotonic())
            .http()
            .layer(inner.clone()),
    );
    visit.http(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::rate_limit(Clock::fast()).http().layer(inner.clone()),
    );
    visit.http(
        Label::peer("governor, quanta", Clocked::Fast),
        peers::governor(inner.clone()),
    );
    visit.http(
        Label::peer("governor, standard clock", Clocked::Standard),
        peers::governor_monotonic(inner.clone()),
    );
    visit.http(
        Label::unshared("tower RateLimit, not shared", Clocked::Standard),
        peers::tower_rate_limit().layer(inner),
    );
}

/// tower_governor answers with axum's body only.
pub(super) fn axum(visit: &mut impl Visit, inner: Ready<Body>, way: &str) {
    visit.group(format!("rate limit, HTTP with axum's body, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::Standard),
        ours::rate_limit(Clock::monotonic())
            .http()
            .layer(inner.clone()),
    );
    visit.http(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::rate_limit(Clock::fast()).http().layer(inner.clone()),
    );
    visit.http(
        Label::peer("tower_governor, one key", Clocked::Fast),
        peers::tower_governor().layer(inner),
    );
}
