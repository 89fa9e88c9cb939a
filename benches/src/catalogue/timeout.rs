use tower::Layer;
use towerkit_core::LayerExt;
use towerkit_http::HttpExt;

use crate::{Clocked, Http, Label, Plain, Visit, ours, peers};

pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("timeout, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::Standard),
        ours::timeout().plain("double").layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower", Clocked::Standard),
        peers::tower_timeout().layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower-resilience", Clocked::Standard),
        peers::tower_resilience_timeout().layer(inner),
    );
}

pub(super) fn http(visit: &mut impl Visit, inner: impl Http<Body: Default>, way: &str) {
    visit.group(format!("timeout, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::Standard),
        ours::timeout().http().layer(inner.clone()),
    );
    visit.http(
        Label::peer("tower", Clocked::Standard),
        peers::tower_timeout().layer(inner.clone()),
    );
    visit.http(
        Label::peer("tower-http", Clocked::Standard),
        peers::tower_http_timeout().layer(inner),
    );
}
