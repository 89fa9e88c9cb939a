//! The loop of a registration, under every fault of its registry.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use proptest::prelude::*;
use tokio::{
    join,
    time::{Instant, sleep, timeout},
};
use towerkit_core::Event;
use towerkit_discovery::{Instance, Registrar, Registration};

use crate::scripted_registry::{Fault, ScriptedRegistry, TTL};

const HEARTBEAT: Duration = Duration::from_secs(5);
const ADDRESS: &str = "10.0.0.7:80";

fn spawn(registry: &ScriptedRegistry) -> Registration {
    Registrar::new(registry.clone(), Instance::new(ADDRESS.parse().unwrap())).spawn()
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Fails if there were more than two requests in any second.
fn assert_paced(registry: &ScriptedRegistry) {
    // A deregistration is not repeated, and comes at once.
    let requests = registry.requests();
    let repeated: Vec<_> = requests
        .iter()
        .filter(|(_, kind)| *kind != "deregister")
        .map(|(at, _)| *at)
        .collect();
    for window in repeated.windows(3) {
        let span = window[2] - window[0];
        assert!(span >= Duration::from_millis(990), "3 requests in {span:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_instance_is_registered_and_renewed_at_a_third_of_the_ttl() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    assert_eq!(registration.registered().await.as_str(), "registered");
    let end = Instant::now() + seconds(600);
    while Instant::now() < end {
        assert_eq!(registry.registered(), [ADDRESS]);
        sleep(Duration::from_millis(100)).await;
    }
    let renewals = registry.count("renew");
    assert!((119..=134).contains(&renewals), "{renewals}");
    assert_eq!(registry.count("register"), 1);
    registration.stop(seconds(5)).await;
    assert!(registry.registered().is_empty());
    assert_eq!(registration.status().as_str(), "stopped");
}

/// go-kit 1043
#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_registered_again_within_a_heartbeat() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    for _ in 0..20 {
        registration.registered().await;
        sleep(Duration::from_millis(fastrand::u64(0..5000))).await;
        registry.wipe();
        sleep(HEARTBEAT + Duration::from_millis(600)).await;
        assert_eq!(registry.registered(), [ADDRESS]);
    }
    assert_paced(&registry);
}

/// SD-01
#[tokio::test(start_paused = true)]
async fn a_registry_that_is_away_is_asked_at_most_twice_a_second_and_its_return_is_noticed() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    registration.registered().await;
    registry.set_fault(Fault::Down);
    sleep(seconds(3600)).await;
    assert_eq!(registration.status().as_str(), "failing");
    assert_paced(&registry);
    let requests = registry.requests().len();
    assert!((2500..4000).contains(&requests), "{requests}");
    registry.set_fault(Fault::Healthy);
    sleep(seconds(2)).await;
    assert_eq!(registry.registered(), [ADDRESS]);
}

/// SD-05
#[tokio::test(start_paused = true)]
async fn a_registry_that_was_stopped_for_two_ttls_has_the_instance_once_within_a_heartbeat() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    registration.registered().await;
    registry.set_fault(Fault::Stopped);
    sleep(2 * TTL).await;
    assert!(registry.registered().is_empty());
    registry.set_fault(Fault::Healthy);
    sleep(HEARTBEAT).await;
    assert_eq!(registry.registered(), [ADDRESS]);
    assert_eq!(registration.status().as_str(), "registered");
    assert_paced(&registry);
}

/// SD-05: the process itself was stopped, so that its timers are late.
#[tokio::test(start_paused = true)]
async fn an_instance_that_was_stopped_for_two_ttls_is_registered_again_at_once() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    registration.registered().await;
    tokio::time::advance(2 * TTL).await;
    sleep(seconds(1)).await;
    assert_eq!(registry.registered(), [ADDRESS]);
}

/// SD-06, SD-07
#[tokio::test(start_paused = true)]
async fn a_stop_before_the_registration_is_finished_leaves_no_instance() {
    let registry = ScriptedRegistry::new(Fault::Stopped);
    let registration = spawn(&registry);
    sleep(seconds(1)).await;
    let start = Instant::now();
    let go_on = async {
        sleep(seconds(2)).await;
        registry.set_fault(Fault::Healthy);
    };
    join!(registration.stop(seconds(10)), go_on);
    assert!(registry.registered().is_empty());
    assert_eq!(
        (registry.count("register"), registry.count("deregister")),
        (1, 1)
    );
    assert!(start.elapsed() < seconds(3));
    // Before its first poll the task has not asked yet.
    let registry = ScriptedRegistry::new(Fault::Healthy);
    spawn(&registry).stop(seconds(1)).await;
    assert!(registry.registered().is_empty());
}

/// SD-07
#[tokio::test(start_paused = true)]
async fn a_registration_that_timed_out_and_came_through_later_is_undone_by_a_stop() {
    let registry = ScriptedRegistry::new(Fault::Stopped);
    let registration = spawn(&registry);
    sleep(seconds(6)).await;
    assert_eq!(registration.status().as_str(), "failing");
    let go_on = async {
        sleep(seconds(1)).await;
        registry.set_fault(Fault::Healthy);
    };
    join!(registration.stop(seconds(10)), go_on);
    assert!(registry.registered().is_empty());
}

/// SD-07
#[tokio::test(start_paused = true)]
async fn a_stop_returns_within_the_grace_whatever_the_registry_does() {
    for before in [
        Fault::Healthy,
        Fault::Down,
        Fault::Stopped,
        Fault::Slow,
        Fault::Panics,
    ] {
        for at_stop in [Fault::Down, Fault::Stopped, Fault::Slow, Fault::Panics] {
            let registry = ScriptedRegistry::new(before);
            let registration = spawn(&registry);
            sleep(seconds(7)).await;
            registry.set_fault(at_stop);
            let start = Instant::now();
            registration.stop(seconds(3)).await;
            let took = start.elapsed();
            assert!(
                took <= Duration::from_millis(3001),
                "{before:?} {at_stop:?} {took:?}"
            );
            sleep(Duration::from_millis(1)).await;
            assert_eq!(registration.status().as_str(), "stopped");
            let requests = registry.requests().len();
            sleep(seconds(60)).await;
            assert_eq!(registry.requests().len(), requests);
        }
    }
}

/// SD-07
#[tokio::test(start_paused = true)]
async fn a_second_stop_with_a_shorter_grace_ends_the_first() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    registration.registered().await;
    registry.set_fault(Fault::Stopped);
    let start = Instant::now();
    let second = async {
        sleep(seconds(1)).await;
        registration.stop(Duration::ZERO).await;
    };
    join!(registration.stop(seconds(3600)), second);
    assert!(start.elapsed() < seconds(2));
    registration.stop(seconds(3600)).await;
    assert!(start.elapsed() < seconds(2));
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_renewal_and_accepts_any_grace() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    registration.registered().await;
    registry.set_fault(Fault::Slow);
    sleep(seconds(6)).await;
    registry.set_fault(Fault::Healthy);
    let start = Instant::now();
    registration.stop(Duration::MAX).await;
    assert!(start.elapsed() < seconds(1));
    assert!(registry.registered().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_is_dropped_after_its_first_poll_goes_on() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    registration.registered().await;
    assert!(
        timeout(Duration::ZERO, registration.stop(seconds(5)))
            .await
            .is_err()
    );
    sleep(seconds(1)).await;
    assert!(registry.registered().is_empty());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_deregisters_in_the_background() {
    let registry = ScriptedRegistry::new(Fault::Healthy);
    let registration = spawn(&registry);
    registration.registered().await;
    let clone = registration.clone();
    drop(registration);
    sleep(seconds(60)).await;
    assert_eq!(registry.registered(), [ADDRESS]);
    drop(clone);
    sleep(seconds(1)).await;
    assert!(registry.registered().is_empty());
    // And gives up after its grace.
    let registry = ScriptedRegistry::new(Fault::Stopped);
    let tasks = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    drop(spawn(&registry));
    sleep(seconds(6)).await;
    assert_eq!(
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        tasks
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_registry_is_an_error_and_the_loop_goes_on() {
    let registry = ScriptedRegistry::new(Fault::Panics);
    let registration = spawn(&registry);
    sleep(seconds(10)).await;
    assert_eq!(registration.status().as_str(), "failing");
    registry.set_fault(Fault::Healthy);
    registration.registered().await;
    registry.set_fault(Fault::Panics);
    sleep(seconds(60)).await;
    registry.set_fault(Fault::Healthy);
    sleep(seconds(2)).await;
    assert_eq!(registry.registered(), [ADDRESS]);
    assert_paced(&registry);
}

#[tokio::test(start_paused = true)]
async fn each_change_of_the_state_is_one_event() {
    let registry = ScriptedRegistry::new(Fault::Down);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let events = seen.clone();
    let registration = Registrar::new(registry.clone(), Instance::new(ADDRESS.parse().unwrap()))
        .name("addsvc")
        .events(move |event: &Event| {
            let Event::Other { name, message, .. } = event else {
                panic!("{event:?}")
            };
            events.lock().unwrap().push(format!("{name}: {message}"));
        })
        .heartbeat(seconds(1))
        .unwrap()
        .spawn();
    sleep(seconds(60)).await;
    registry.set_fault(Fault::Healthy);
    sleep(seconds(60)).await;
    registry.wipe();
    sleep(seconds(2)).await;
    registry.set_fault(Fault::Stopped);
    sleep(seconds(60)).await;
    registration.stop(seconds(1)).await;
    sleep(seconds(1)).await;
    assert_eq!(
        *seen.lock().unwrap(),
        [
            "addsvc: 10.0.0.7:80 failing: connection refused",
            "addsvc: 10.0.0.7:80 registered",
            "addsvc: 10.0.0.7:80 pending",
            "addsvc: 10.0.0.7:80 registered",
            "addsvc: 10.0.0.7:80 failing: no answer within 5s",
            "addsvc: no answer within 1s",
            "addsvc: 10.0.0.7:80 stopped",
        ]
    );
}

#[derive(Debug, Clone)]
enum Step {
    Fault(Fault),
    Wipe,
}

fn step() -> impl Strategy<Value = (Step, u64)> {
    let step = prop_oneof![
        Just(Step::Fault(Fault::Healthy)),
        Just(Step::Fault(Fault::Down)),
        Just(Step::Fault(Fault::Stopped)),
        Just(Step::Fault(Fault::Slow)),
        Just(Step::Fault(Fault::Panics)),
        Just(Step::Wipe),
    ];
    (step, prop_oneof![0..2_000_u64, 0..60_000_u64])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// SD-01, SD-04, SD-05, SD-07
    #[test]
    fn after_any_faults_the_instance_is_registered_once_and_gone_after_a_stop(
        steps in prop::collection::vec(step(), 0..12),
        is_healed in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let registry = ScriptedRegistry::new(Fault::Healthy);
            let registration = spawn(&registry);
            for (step, pause) in &steps {
                match step {
                    Step::Fault(fault) => registry.set_fault(*fault),
                    Step::Wipe => registry.wipe(),
                }
                sleep(Duration::from_millis(*pause)).await;
                assert!(registry.registered().len() <= 1);
            }
            if is_healed {
                registry.set_fault(Fault::Healthy);
                // A slow answer is awaited for up to a third of the TTL, and then a heartbeat may pass until a wipe is noticed.
                sleep(2 * HEARTBEAT + seconds(2)).await;
                assert_eq!(registry.registered(), [ADDRESS]);
                assert_eq!(registration.status().as_str(), "registered");
            }
            assert_paced(&registry);
            registry.set_fault(Fault::Healthy);
            let start = Instant::now();
            registration.stop(seconds(6)).await;
            assert!(start.elapsed() < seconds(6), "{:?}", start.elapsed());
            assert!(registry.registered().is_empty());
            sleep(seconds(60)).await;
            assert!(registry.registered().is_empty());
        });
    }
}
