//! The shares of the instances by picker and by weight.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use towerkit_balance::{Maglev, P2c, Random, RoundRobin, WeightedRoundRobin};
use towerkit_core::Call;
use towerkit_discovery::Discovery;
use towerkit_test::run_paused;

use super::setup::{
    Load, MS, balance, call, count, instance, instances, number, replying, succeeding,
};

fn deviation(counts: &[usize], weights: &[u32]) -> f64 {
    let calls: usize = counts.iter().sum();
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    let shares = counts.iter().zip(weights);
    let deviations = shares.map(|(count, weight)| {
        let expected = calls as f64 * f64::from(*weight) / total;
        (*count as f64 - expected).abs() / expected
    });
    deviations.fold(0.0, f64::max)
}

/// LB-03
#[tokio::test(start_paused = true)]
async fn round_robin_goes_through_the_instances_in_the_order_of_their_addresses() {
    let endpoints = succeeding(&Discovery::fixed(instances(3)));
    let service = balance(RoundRobin::starting_at(0), endpoints);
    let mut seen = Vec::new();
    for request in 0..7 {
        seen.push(call(&service, request).await);
    }
    assert_eq!(seen, [0, 1, 2, 0, 1, 2, 0]);
}

/// LB-03
#[test]
fn round_robin_is_exact_across_threads() {
    let endpoints = succeeding(&Discovery::fixed(instances(10)));
    let service = balance(RoundRobin::new(), endpoints);
    let counts: [AtomicUsize; 10] = Default::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                run_paused(async {
                    for number in 0..2_501 {
                        counts[usize::from(call(&service, number).await)].fetch_add(1, Relaxed);
                    }
                });
            });
        }
    });
    let counts = counts.map(AtomicUsize::into_inner);
    assert!(
        counts.iter().max().unwrap() - counts.iter().min().unwrap() <= 1,
        "{counts:?}"
    );
}

/// LB-03
#[tokio::test(start_paused = true)]
async fn equal_instances_get_equal_shares() {
    let discovery = Discovery::fixed(instances(10));
    let counts = count(&balance(P2c::new(), succeeding(&discovery)), 10, 100_000).await;
    let max = *counts.iter().max().unwrap() as f64;
    assert!(max / 10_000.0 <= 1.25, "{counts:?}");

    let counts = count(&balance(Random::new(), succeeding(&discovery)), 10, 100_000).await;
    let chi_squared: f64 = counts
        .iter()
        .map(|count| (*count as f64 - 10_000.0).powi(2) / 10_000.0)
        .sum();
    // Nine degrees of freedom: the probability of more is 10^-6.
    assert!(chi_squared < 45.0, "{counts:?}");
}

/// LB-09
#[tokio::test(start_paused = true)]
async fn weights_are_shares() {
    let weights = [1, 2, 3, 10];
    let weighted = || {
        let all = (0..)
            .zip(weights)
            .map(|(n, weight)| instance(n).weight(weight));
        succeeding(&Discovery::fixed(all))
    };
    let exact = balance(WeightedRoundRobin::new(), weighted());
    assert_eq!(count(&exact, 4, 1_600).await, [100, 200, 300, 1_000]);

    // Six standard deviations of the smallest share. The table is exact, see the tests of `alias_table`.
    let random = count(&balance(Random::new(), weighted()), 4, 400_000).await;
    assert!(deviation(&random, &weights) < 0.04, "{random:?}");

    let key = |call: &Call<'_, u64>| Some(*call.request);
    let maglev = count(&balance(Maglev::new(key), weighted()), 4, 400_000).await;
    assert!(deviation(&maglev, &weights) < 0.04, "{maglev:?}");
}

/// LB-09: at 100 calls in flight.
#[tokio::test(start_paused = true)]
async fn weights_are_about_the_shares_under_load() {
    let weights = [1, 2, 3, 10];
    let all = (0..)
        .zip(weights)
        .map(|(n, weight)| instance(n).weight(weight));
    let endpoints = replying(&Discovery::fixed(all), |_| (10 * MS, Ok(())));
    let load = Load::run(&balance(P2c::new(), endpoints), 4, 100, 100_000).await;
    assert!(
        deviation(&load.counts, &weights) < 0.06,
        "{:?}",
        load.counts
    );
}

/// tower 696: a balancer that divides the load by the weight gave 66 percent where the weights ask for 99.
#[tokio::test(start_paused = true)]
async fn an_idle_instance_does_not_get_more_than_its_weight() {
    let weights = [1, 99];
    for callers in [1, 2] {
        let all = (0..)
            .zip(weights)
            .map(|(n, weight)| instance(n).weight(weight));
        let endpoints = replying(&Discovery::fixed(all), |_| (MS, Ok(())));
        let load = Load::run(&balance(P2c::new(), endpoints), 2, callers, 50_000).await;
        let share = load.counts[1] as f64 / 50_000.0;
        assert!(
            (0.987..=0.993).contains(&share),
            "{share} with {callers} callers"
        );
    }
}

/// LB-09
#[tokio::test(start_paused = true)]
async fn an_instance_of_weight_0_gets_calls_only_if_all_have_0() {
    for (weights, expected) in [([0, 1, 1], [0, 30, 30]), ([0, 0, 0], [20, 20, 20])] {
        let all = || {
            (0..)
                .zip(weights)
                .map(|(n, weight)| instance(n).weight(weight))
        };
        for counts in [
            count(
                &balance(RoundRobin::new(), succeeding(&Discovery::fixed(all()))),
                3,
                60,
            )
            .await,
            count(
                &balance(
                    WeightedRoundRobin::new(),
                    succeeding(&Discovery::fixed(all())),
                ),
                3,
                60,
            )
            .await,
        ] {
            assert_eq!(counts, expected);
        }
    }
}

/// LB-08, after Finagle's `LoadDistributionTest`: the load of no instance is above 1.5 times the optimum.
#[tokio::test(start_paused = true)]
async fn load_stays_even_while_instances_come_and_go() {
    // Each step replaces, adds or removes some of the instances.
    let deploy = (0..10).map(|step| (step..step + 10).collect::<Vec<_>>());
    let shrink = (0..8).map(|step| (10..20 - step).collect());
    let grow = (2..10).map(|count| (10..10 + count).collect());
    let (discovery, sender) = Discovery::channel();
    let endpoints = replying(&discovery, |_| (10 * MS, Ok(())));
    let service = balance(P2c::new(), endpoints);
    for numbers in deploy.chain(shrink).chain(grow) {
        sender.set(numbers.iter().copied().map(instance));
        let load = Load::run(&service, 20, 100, 2_000).await;
        let optimum = 2_000 / numbers.len();
        let max = *load.counts.iter().max().unwrap();
        assert!(max * 2 <= optimum * 3, "{numbers:?}: {:?}", load.counts);
        let gone: usize = (0..20)
            .filter(|n| !numbers.contains(n))
            .map(|n| load.counts[usize::from(n)])
            .sum();
        // The last calls of the step before.
        assert_eq!(gone, 0);
    }
}

/// grpc-java 4462, envoy 3271, ingress-nginx 4023, kubernetes 3640: the first instances got three times the calls of the others while
/// the set changed, because each set began at its first instance.
#[tokio::test(start_paused = true)]
async fn the_turn_goes_on_when_the_set_changes() {
    let (discovery, sender) = Discovery::channel();
    let service = balance(RoundRobin::starting_at(0), succeeding(&discovery));
    let mut counts = [0; 10];
    for change in 0..1_000 {
        sender.set(instances(10).map(|instance| instance.version(change.to_string())));
        for _ in 0..3 {
            counts[usize::from(call(&service, 0).await)] += 1;
        }
    }
    assert_eq!(counts, [300; 10]);

    // Many clients begin at different instances.
    let first_of = |_| {
        let endpoints = succeeding(&Discovery::fixed(instances(10)));
        balance(RoundRobin::new(), endpoints)
    };
    let mut firsts = [0; 10];
    for service in (0..1_000).map(first_of) {
        firsts[usize::from(call(&service, 0).await)] += 1;
    }
    assert!(
        firsts.iter().all(|count| (50..200).contains(count)),
        "{firsts:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_with_one_key_go_to_one_instance_and_stay_there() {
    let key = |call: &Call<'_, u64>| Some(*call.request);
    let (discovery, sender) = Discovery::channel();
    sender.set(instances(10));
    let service = balance(Maglev::new(key), succeeding(&discovery));
    let mut before = Vec::new();
    for user in 0..2_000 {
        before.push(call(&service, user).await);
        assert_eq!(call(&service, user).await, before[user as usize]);
    }
    sender.set(instances(10).filter(|instance| number(instance) != 4));
    let (mut moved, mut homeless) = (0, 0);
    for user in 0..2_000 {
        let now = call(&service, user).await;
        match before[user as usize] {
            4 => homeless += 1,
            old => moved += usize::from(now != old),
        }
    }
    assert!(
        moved < 40 && (150..250).contains(&homeless),
        "{moved} moved, {homeless} of the removed one"
    );
}

#[tokio::test(start_paused = true)]
async fn calls_without_a_key_go_to_any_instance() {
    let none = |_: &Call<'_, u64>| None::<u64>;
    let service = balance(
        Maglev::new(none),
        succeeding(&Discovery::fixed(instances(3))),
    );
    let counts = count(&service, 3, 3_000).await;
    assert!(
        counts.iter().all(|count| (800..1_200).contains(count)),
        "{counts:?}"
    );
}
