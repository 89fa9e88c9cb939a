use tower::Layer;
use towerkit_balance::{Maglev, P2c, PeakEwma, Random, RoundRobin, WeightedRoundRobin};
use towerkit_core::{Call, Clock};

use crate::{Clocked, Label, Plain, Visit, ours, peers};

/// A call of a balancer over 10 instances and over 1,000, all of which are one inner service.
pub(super) fn plain(visit: &mut impl Visit, inner: &impl Plain, way: &str) {
    for instances in [10, 1_000] {
        visit.group(format!(
            "load balancer, {instances} instances, plain, {way}"
        ));
        visit.plain(Label::bare(), inner.clone());
        let all = || ours::endpoints(inner, instances);
        visit.plain(
            Label::ours("towerkit, round robin", Clocked::No),
            ours::balance(RoundRobin::new()).layer(all()),
        );
        visit.plain(
            Label::ours("towerkit, weighted round robin", Clocked::No),
            ours::balance(WeightedRoundRobin::new()).layer(all()),
        );
        visit.plain(
            Label::ours("towerkit, random", Clocked::No),
            ours::balance(Random::new()).layer(all()),
        );
        visit.plain(
            Label::ours("towerkit, P2C", Clocked::No),
            ours::balance(P2c::new()).layer(all()),
        );
        visit.plain(
            Label::ours("towerkit, P2C by weight", Clocked::No),
            ours::balance(P2c::new()).layer(ours::weighted_endpoints(inner, instances)),
        );
        visit.plain(
            Label::ours("towerkit, Maglev", Clocked::No),
            ours::balance(Maglev::new(|call: &Call<'_, u64>| Some(*call.request))).layer(all()),
        );
        visit.plain(
            Label::ours("towerkit, P2C, a breaker for each instance", Clocked::No),
            ours::balance(P2c::new()).layer(ours::guarded_endpoints(inner, instances)),
        );
        visit.plain(
            Label::peer("tower, pending requests", Clocked::No),
            peers::tower_balance_pending(inner, instances),
        );
        visit.group(format!(
            "load balancer by latency, {instances} instances, plain, {way}"
        ));
        visit.plain(Label::bare(), inner.clone());
        visit.plain(
            Label::ours("towerkit, peak EWMA", Clocked::Standard),
            ours::balance(PeakEwma::new()).layer(all()),
        );
        visit.plain(
            Label::ours("towerkit, peak EWMA, fast clock", Clocked::Fast),
            ours::balance(PeakEwma::new())
                .clock(Clock::fast())
                .layer(all()),
        );
        visit.plain(
            Label::peer("tower, peak EWMA", Clocked::Standard),
            peers::tower_balance_peak_ewma(inner, instances),
        );
    }
}

/// tower's balancer cannot be cloned.
pub(super) fn contended(visit: &mut impl Visit, inner: &impl Plain) {
    visit.group("load balancer, 10 instances, plain, two threads on one service".to_owned());
    visit.contended(Label::bare(), inner.clone());
    let all = || ours::endpoints(inner, 10);
    visit.contended(
        Label::ours("towerkit, round robin", Clocked::No),
        ours::balance(RoundRobin::new()).layer(all()),
    );
    visit.contended(
        Label::ours("towerkit, P2C", Clocked::No),
        ours::balance(P2c::new()).layer(all()),
    );
    visit.contended(
        Label::ours("towerkit, peak EWMA, fast clock", Clocked::Fast),
        ours::balance(PeakEwma::new())
            .clock(Clock::fast())
            .layer(all()),
    );
}
