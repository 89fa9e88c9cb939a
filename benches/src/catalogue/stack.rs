use tower::Layer;
use towerkit_core::{Clock, LayerExt};
use towerkit_http::HttpExt;

use crate::{Clocked, Http, Label, Plain, Visit, ours};

pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!(
        "policy stack of trace (not sampled), log (off), metrics, concurrency, rate limit, breaker, plain, {way}"
    ));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::Standard),
        ours::policies(Clock::monotonic())
            .plain("double")
            .layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::policies(Clock::fast())
            .plain("double")
            .layer(inner.clone()),
    );
    let timeout = ours::timeout().plain("double");
    visit.plain(
        Label::ours("towerkit, fast clock, and timeout", Clocked::Fast),
        ours::policies(Clock::fast())
            .plain("double")
            .layer(timeout.layer(inner)),
    );
}

pub(super) fn http(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!(
        "policy stack of trace (not sampled), log (off), metrics, concurrency, rate limit, breaker, HTTP, {way}"
    ));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::Standard),
        ours::policies(Clock::monotonic())
            .http()
            .layer(inner.clone()),
    );
    visit.http(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::policies(Clock::fast()).http().layer(inner.clone()),
    );
    let timeout = ours::timeout().http();
    visit.http(
        Label::ours("towerkit, fast clock, and timeout", Clocked::Fast),
        ours::policies(Clock::fast())
            .http()
            .layer(timeout.layer(inner)),
    );
}
