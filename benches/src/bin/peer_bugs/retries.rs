use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::Handle;
use tower::{
    BoxError, Layer, ServiceExt,
    retry::{
        backoff::{Backoff, ExponentialBackoffMaker, MakeBackoff},
        budget::{Budget as _, TpsBudget},
    },
    service_fn,
    util::rng::HasherRng,
};
use towerkit_core::LayerExt;
use towerkit_retry::{Budget, RetryLayer};

use crate::Bug;

const TTL: Duration = Duration::from_secs(10);

pub(crate) fn bugs() -> Vec<Bug> {
    vec![truncated_ratio(), overspent(), one_jitter_for_all()]
}

/// A retry budget: a call deposits, and a retry withdraws.
trait RetryBudget: Sync {
    fn deposit_for_call(&self);
    fn withdraw_for_retry(&self) -> bool;
}

impl RetryBudget for TpsBudget {
    fn deposit_for_call(&self) {
        self.deposit();
    }

    fn withdraw_for_retry(&self) -> bool {
        self.withdraw()
    }
}

impl RetryBudget for Budget {
    fn deposit_for_call(&self) {
        self.deposit();
    }

    fn withdraw_for_retry(&self) -> bool {
        self.try_withdraw()
    }
}

fn truncated_ratio() -> Bug {
    fn retries(budget: &impl RetryBudget) -> String {
        (0..1000).for_each(|_| budget.deposit_for_call());
        let retries = (0..2000)
            .take_while(|_| budget.withdraw_for_retry())
            .count();
        retries.to_string()
    }
    Bug {
        id: "RT-01",
        peer: "tower",
        what: "budget of 60 %: retries for 1000 calls",
        expected: "600",
        observed: retries(&TpsBudget::new(TTL, 0, 0.6)),
        ours: retries(&Budget::new(0.6, 0).expect("a valid budget")),
    }
}

/// Two threads withdraw one token, in many rounds.
fn overspent() -> Bug {
    fn overspends<P: RetryBudget>(make: impl Fn() -> P) -> String {
        const ROUNDS: usize = 20_000;
        let budgets: Vec<P> = (0..ROUNDS).map(|_| make()).collect();
        budgets.iter().for_each(RetryBudget::deposit_for_call);
        let arrivals = AtomicUsize::new(0);
        let run = || -> Vec<bool> {
            let take = |(round, budget): (usize, &P)| {
                // Both threads start each round at the same time.
                arrivals.fetch_add(1, Ordering::AcqRel);
                while arrivals.load(Ordering::Acquire) < 2 * (round + 1) {
                    thread::yield_now();
                }
                budget.withdraw_for_retry()
            };
            budgets.iter().enumerate().map(take).collect()
        };
        let (one, other) = thread::scope(|threads| {
            let other = threads.spawn(run);
            (run(), other.join().unwrap_or_default())
        });
        let both = one
            .iter()
            .zip(&other)
            .filter(|(one, other)| **one && **other);
        format!("{} of {ROUNDS}", both.count())
    }
    Bug {
        id: "RT-02",
        peer: "tower",
        what: "one token, two threads: both get it",
        expected: "0 of 20000",
        observed: overspends(|| TpsBudget::new(TTL, 0, 1.0)),
        ours: overspends(|| Budget::new(1.0, 0).expect("a valid budget")),
    }
}

/// The number of different delays before the first retries of four calls that fail at the same time.
fn one_jitter_for_all() -> Bug {
    Bug {
        id: "RT-07",
        peer: "tower",
        what: "four calls fail at once: different pauses before their first retry",
        expected: "4",
        observed: pauses_of_tower(),
        ours: pauses_of_towerkit(),
    }
}

fn pauses_of_tower() -> String {
    let (least, most) = (Duration::from_millis(10), Duration::from_secs(1));
    let mut maker = ExponentialBackoffMaker::new(least, most, 1.0, HasherRng::default())
        .expect("a valid backoff");
    let start = tokio::time::Instant::now();
    let pause = |_| {
        let pause = maker.make_backoff().next_backoff();
        (pause.deadline() - start).as_micros()
    };
    let pauses: HashSet<_> = (0..4).map(pause).collect();
    pauses.len().to_string()
}

fn pauses_of_towerkit() -> String {
    let layer = RetryLayer::new()
        .plain("failing")
        .idempotent()
        .attempts(2)
        .and_then(|retry| retry.backoff(Duration::from_millis(200), Duration::from_secs(1)))
        .expect("a valid retry");
    let pauses: HashSet<_> = Handle::current().block_on(async {
        let mut pauses = HashSet::new();
        for _ in 0..4 {
            let attempts = Arc::new(Mutex::new(Vec::new()));
            let seen = attempts.clone();
            let service = layer.layer(service_fn(move |_: ()| {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.push(Instant::now());
                async { Err::<(), _>(BoxError::from("failed")) }
            }));
            let _ = service.oneshot(()).await;
            let attempts = attempts.lock().unwrap_or_else(PoisonError::into_inner);
            pauses.insert((attempts[1] - attempts[0]).as_micros());
        }
        pauses
    });
    pauses.len().to_string()
}
