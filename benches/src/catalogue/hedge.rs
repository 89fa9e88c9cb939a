use std::time::Duration;

use tower::Layer;
use towerkit_core::{Clock, LayerExt};
use towerkit_hedge::{HedgeLayer, Percentile};

use crate::{Clocked, Label, Plain, Visit, peers};

/// A call that is never slow enough to be hedged.
pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("hedge, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit, fixed delay", Clocked::No),
        fixed().idempotent().layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, percentile", Clocked::Standard),
        by_percentile(Clock::monotonic())
            .idempotent()
            .layer(inner.clone()),
    );
    visit.plain(
        Label::ours("towerkit, percentile, fast clock", Clocked::Fast),
        by_percentile(Clock::fast())
            .idempotent()
            .layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower, percentile", Clocked::Standard),
        peers::tower_hedge().layer(inner),
    );
}

fn fixed() -> HedgeLayer<towerkit_core::Plain> {
    HedgeLayer::after(Duration::from_secs(1))
        .expect("a valid delay")
        .plain("double")
}

fn by_percentile(clock: Clock) -> HedgeLayer<towerkit_core::Plain> {
    let percentile = Percentile::new(0.95).expect("a valid percentile");
    HedgeLayer::at(percentile).clock(clock).plain("double")
}
