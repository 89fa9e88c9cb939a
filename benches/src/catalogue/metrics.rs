use tower::Layer;
use towerkit_core::{Clock, LayerExt};
use towerkit_http::HttpExt;

use crate::{Clocked, Http, Label, Plain, Visit, ours, peers};

pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("metrics, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::Standard),
        ours::metrics(Clock::monotonic())
            .plain("double")
            .layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::metrics(Clock::fast()).plain("double").layer(inner),
    );
}

/// axum-prometheus measures to the head, towerkit to the end of the body.
pub(super) fn http(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("metrics, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::Standard),
        ours::metrics(Clock::monotonic())
            .http()
            .layer(inner.clone()),
    );
    visit.http(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::metrics(Clock::fast()).http().layer(inner.clone()),
    );
    visit.http(
        Label::peer("axum-prometheus (head only)", Clocked::Standard),
        peers::axum_prometheus().layer(inner),
    );
}
