use tower::Layer;
use towerkit_core::LayerExt;
use towerkit_retry::RetryLayer;

use crate::{Clocked, Label, Plain, Visit, peers};

/// A call that succeeds at its first attempt, within a budget.
pub(super) fn plain(visit: &mut impl Visit, inner: impl Plain, way: &str) {
    visit.group(format!("retry with a budget, plain, {way}"));
    visit.plain(Label::bare(), inner.clone());
    visit.plain(
        Label::ours("towerkit", Clocked::No),
        RetryLayer::new()
            .plain("double")
            .idempotent()
            .layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower", Clocked::Standard),
        peers::tower_retry().layer(inner.clone()),
    );
    visit.plain(
        Label::peer("tower-resilience, no budget", Clocked::No),
        peers::tower_resilience_retry().layer(inner),
    );
}
