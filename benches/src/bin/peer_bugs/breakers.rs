use std::{thread::sleep, time::Duration};

use failsafe::{backoff, failure_policy::consecutive_failures};
use recloser::Recloser;
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::CircuitBreakerLayer as TowerResilience;
use towerkit_benches::peers::{Reclosed, Safe};
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen};

use crate::{
    Bug,
    callee::{Callee, Script, Subject},
};

/// How long a breaker stays open here.
const OPEN: Duration = Duration::from_millis(20);
const TOWER_RESILIENCE: &str = "tower-resilience-circuitbreaker";

pub(crate) fn bugs() -> Vec<Bug> {
    vec![
        window_never_slides(),
        straggling_failure(),
        straggling_success(),
        panics_uncounted(TOWER_RESILIENCE, tower_resilience()),
        panics_uncounted("recloser", recloser()),
        panics_uncounted("failsafe", failsafe()),
        half_open_flood("recloser", recloser()),
        half_open_flood("failsafe", failsafe()),
        force_open_wears_off(),
    ]
}

/// After 10,000 successes a window of 10 holds successes only, and half of it are failures after 5.
fn window_never_slides() -> Bug {
    fn failures<S: Service<Script>>(mut subject: Subject<S>) -> String {
        for _ in 0..10_000 {
            subject.call(Script::Succeed);
        }
        let failures = subject.fail_until_open(1_000_000);
        format!("{failures} failures")
    }
    let peer = TowerResilience::builder()
        .failure_rate_threshold(0.5)
        .sliding_window_size(10)
        .build()
        .expect("a valid configuration");
    let open_when = OpenWhen::failure_rate(0.5, 10, 10).expect("a valid rule");
    let ours = CircuitBreakerLayer::new().open_when(open_when);
    Bug {
        id: "CB-08",
        peer: TOWER_RESILIENCE,
        what: "window of 10, rate 0.5, 10,000 successes: opens after",
        expected: "5 failures",
        observed: failures(Subject::new(|callee| peer.layer(callee))),
        ours: failures(Subject::new(|callee| ours.layer(callee))),
    }
}

/// A call admitted while the breaker was closed fails while it is half-open. The probe succeeds.
fn straggling_failure() -> Bug {
    fn after<S: Service<Script>>(mut subject: Subject<S>) -> String {
        let (_, straggler) = subject.pend();
        subject.fail_until_open(1);
        sleep(OPEN * 2);
        let (_, probe) = subject.pend();
        straggler.end(false);
        probe.end(true);
        let next = subject.call(Script::Succeed);
        if next { "closed" } else { "open" }.to_owned()
    }
    Bug {
        id: "CB-04",
        peer: TOWER_RESILIENCE,
        what: "a call of the closed state fails while half-open, the probe succeeds: breaker is",
        expected: "closed",
        observed: after(tower_resilience()),
        ours: after(towerkit()),
    }
}

/// A call admitted while the breaker was closed succeeds while it is half-open. The probe is still out.
fn straggling_success() -> Bug {
    fn after<S: Service<Script>>(mut subject: Subject<S>) -> String {
        let (_, straggler) = subject.pend();
        subject.fail_until_open(1);
        sleep(OPEN * 2);
        let (_, probe) = subject.pend();
        straggler.end(true);
        let more = (0..64).filter(|_| subject.call(Script::Succeed)).count();
        drop(probe);
        format!("{more} of 64")
    }
    Bug {
        id: "CB-04",
        peer: TOWER_RESILIENCE,
        what: "a call of the closed state succeeds while half-open, the only probe is out: more calls admitted",
        expected: "0 of 64",
        observed: after(tower_resilience()),
        ours: after(towerkit()),
    }
}

/// A breaker that opens at the first failure sees a hundred panics.
fn panics_uncounted<S: Service<Script>>(peer: &'static str, subject: Subject<S>) -> Bug {
    fn reached<S: Service<Script>>(mut subject: Subject<S>) -> String {
        let panics = (0..100).filter(|_| subject.call(Script::Panic)).count();
        format!("{panics} of 100")
    }
    Bug {
        id: "CB-06",
        peer,
        what: "opens at the first failure, the callee panics 100 times: calls that reach it",
        expected: if peer == "recloser" {
            "2 of 100"
        } else {
            "1 of 100"
        },
        observed: reached(subject),
        ours: reached(towerkit()),
    }
}

/// 64 calls at once meet a breaker that wants one probe.
fn half_open_flood<S: Service<Script>>(peer: &'static str, subject: Subject<S>) -> Bug {
    fn admitted<S: Service<Script>>(mut subject: Subject<S>) -> String {
        subject.fail_until_open(100);
        sleep(OPEN * 2);
        let calls: Vec<_> = (0..64).map(|_| subject.pend()).collect();
        let admitted = calls.iter().filter(|(admitted, _)| *admitted).count();
        format!("{admitted} of 64")
    }
    Bug {
        id: "CB-01",
        peer,
        what: "half-open with one probe: calls at once that reach the callee",
        expected: "1 of 64",
        observed: admitted(subject),
        ours: admitted(towerkit()),
    }
}

/// An operator forces the breaker open.
fn force_open_wears_off() -> Bug {
    fn after<S: Service<Script>>(mut subject: Subject<S>) -> String {
        sleep(OPEN * 2);
        let admitted = subject.call(Script::Succeed);
        if admitted { "admitted" } else { "rejected" }.to_owned()
    }
    let (layer, handle) = TowerResilience::builder()
        .wait_duration_in_open(OPEN)
        .build_with_handle()
        .expect("a valid configuration");
    tokio::runtime::Handle::current().block_on(handle.force_open());
    let ours = CircuitBreakerLayer::new()
        .open_for(OPEN)
        .expect("a valid time");
    ours.handle().force_open();
    Bug {
        id: "CB-13",
        peer: TOWER_RESILIENCE,
        what: "forced open, the open time passes: a call is",
        expected: "rejected",
        observed: after(Subject::new(|callee| layer.layer(callee))),
        ours: after(Subject::new(|callee| ours.layer(callee))),
    }
}

/// Opens at the first failure, then wants one probe.
fn tower_resilience() -> Subject<impl Service<Script>> {
    let layer = TowerResilience::builder()
        .consecutive_failures(1)
        .wait_duration_in_open(OPEN)
        .permitted_calls_in_half_open(1)
        .build()
        .expect("a valid configuration");
    Subject::new(|callee: Callee| layer.layer(callee))
}

/// As [`tower_resilience`], except that a window of one judges when the second result comes.
fn recloser() -> Subject<impl Service<Script>> {
    let recloser = Recloser::custom()
        .closed_len(1)
        .half_open_len(1)
        .open_wait(OPEN);
    Subject::new(|callee| Reclosed::new(callee, recloser.build()))
}

/// As [`tower_resilience`].
fn failsafe() -> Subject<impl Service<Script>> {
    let policy = consecutive_failures(1, backoff::constant(OPEN));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    Subject::new(|callee| Safe::new(callee, breaker))
}

/// As [`tower_resilience`].
fn towerkit() -> Subject<impl Service<Script>> {
    let open_when = OpenWhen::consecutive_failures(1).expect("a valid rule");
    let layer = CircuitBreakerLayer::new().open_when(open_when);
    let layer = layer.open_for(OPEN).expect("a valid time");
    Subject::new(|callee| layer.layer(callee))
}
