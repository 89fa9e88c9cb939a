use tower::Layer;
use towerkit_core::{Clock, LayerExt};

use crate::{Clocked, Label, Plain, Visit, ours, peers};

pub(super) fn limit(visit: &mut impl Visit, inner: impl Plain) {
    visit.group("rate limit, plain, two threads on one layer".to_owned());
    visit.contended(Label::bare(), inner.clone());
    visit.contended(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::rate_limit(Clock::fast()).layer(inner.clone()),
    );
    visit.contended(
        Label::ours("towerkit, fast clock, leaked", Clocked::Fast),
        ours::rate_limit(Clock::fast()).leak().layer(inner.clone()),
    );
    visit.contended(
        Label::peer("governor, quanta", Clocked::Fast),
        peers::governor(inner.clone()),
    );
    visit.contended(
        Label::peer("tower-resilience", Clocked::Standard),
        peers::tower_resilience_limiter().layer(inner),
    );
}

pub(super) fn breaker(visit: &mut impl Visit, inner: impl Plain) {
    visit.group("circuit breaker, closed, plain, two threads on one layer".to_owned());
    visit.contended(Label::bare(), inner.clone());
    visit.contended(
        Label::ours("towerkit", Clocked::No),
        ours::circuit_breaker(Clock::monotonic()).layer(inner.clone()),
    );
    visit.contended(
        Label::ours("towerkit, leaked", Clocked::No),
        ours::circuit_breaker(Clock::monotonic())
            .leak()
            .layer(inner.clone()),
    );
    visit.contended(
        Label::peer("recloser", Clocked::No),
        peers::recloser(inner.clone()),
    );
    visit.contended(
        Label::peer("failsafe", Clocked::Standard),
        peers::failsafe(inner.clone()),
    );
    visit.contended(
        Label::peer("tower-resilience", Clocked::Standard),
        peers::tower_resilience_breaker().layer(inner),
    );
}

pub(super) fn metrics(visit: &mut impl Visit, inner: impl Plain) {
    visit.group("metrics, plain, two threads on one layer".to_owned());
    visit.contended(Label::bare(), inner.clone());
    visit.contended(
        Label::ours("towerkit, fast clock", Clocked::Fast),
        ours::metrics(Clock::fast())
            .plain("double")
            .layer(inner.clone()),
    );
    visit.contended(
        Label::ours("towerkit, fast clock, leaked", Clocked::Fast),
        ours::metrics(Clock::fast())
            .leak()
            .plain("double")
            .layer(inner),
    );
}
