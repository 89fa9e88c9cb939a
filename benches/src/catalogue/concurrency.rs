use tower::Layer;
use towerkit_http::HttpExt;

use crate::{Clocked, Http, Label, Plain, Visit, ours, peers};

pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("concurrency limit, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::No),
        ours::concurrency_limit().layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower", Clocked::No),
        peers::tower_concurrency_limit().layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower-resilience", Clocked::No),
        peers::tower_resilience_bulkhead().layer(inner),
    );
}

pub(super) fn http(visit: &mut impl Visit, inner: impl Http, way: &str) {
    visit.group(format!("concurrency limit, HTTP, {way}"));
    visit.http(Label::bare(), inner.clone());
    visit.http(
        Label::ours("towerkit", Clocked::No),
        ours::concurrency_limit().http().layer(inner.clone()),
    );
    visit.http(
        Label::peer("tower", Clocked::No),
        peers::tower_concurrency_limit().layer(inner),
    );
}
