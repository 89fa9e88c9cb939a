//! The laws that every layer keeps, for the layers of this crate.

use std::time::Duration;

use towerkit_concurrency::{
    Adaptive, AdaptiveThrottleLayer, Aimd, ConcurrencyLimitLayer, Priority, PriorityClass,
    PriorityClasses, Queue, QueuedConcurrencyLimitLayer, Vegas,
};
use towerkit_core::{Call, ConfigError, LayerExt};
use towerkit_endpoint::RpcExt;
use towerkit_http::HttpExt;
use towerkit_test::{Action, Subject, contract, laws, tokio_clock};

fn fixed() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(3).unwrap()
}

fn adaptive() -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::adaptive(Adaptive::new(Vegas::new())).clock(tokio_clock())
}

fn queued() -> QueuedConcurrencyLimitLayer {
    let queue = Queue::new(10, Duration::from_secs(100)).unwrap();
    fixed().queue(queue).clock(tokio_clock())
}

/// Reports the calls in flight of a limit as held.
macro_rules! permits {
    ($layer:expr, $how:ident($($operation:expr)?)) => {{
        let layer = $layer;
        let handle = layer.handle();
        Subject::new(layer.$how($($operation)?)).count_resources(move || i64::from(handle.snapshot().in_flight))
    }};
}

// LS-02, in T-03 and T-04: every end of a call releases its permit.
contract!(fixed_plain, PlainClient, permits!(fixed(), plain("probe")));
contract!(fixed_rpc, RpcClient, permits!(fixed(), rpc()));
contract!(fixed_http, HttpClient, permits!(fixed(), http()));
contract!(fixed_grpc, GrpcClient, permits!(fixed(), grpc()));

contract!(
    adaptive_plain,
    PlainClient,
    permits!(adaptive(), plain("probe"))
);
contract!(adaptive_rpc, RpcClient, permits!(adaptive(), rpc()));
contract!(adaptive_http, HttpClient, permits!(adaptive(), http()));
contract!(adaptive_grpc, GrpcClient, permits!(adaptive(), grpc()));

contract!(
    queued_plain,
    PlainClient,
    permits!(queued(), plain("probe"))
);
contract!(queued_rpc, RpcClient, permits!(queued(), rpc()));
contract!(queued_http, HttpClient, permits!(queued(), http()));
contract!(queued_grpc, GrpcClient, permits!(queued(), grpc()));

contract!(
    classified_plain,
    PlainClient,
    permits!(
        fixed().classes(partitions(), |_: &Call<'_, Action>| PriorityClass::new(
            Priority::Critical
        )
        .partition("web")),
        plain("probe")
    )
);

contract!(
    throttle_plain,
    PlainClient,
    Subject::new(throttle().plain("probe"))
);
contract!(throttle_rpc, RpcClient, Subject::new(throttle().rpc()));
contract!(throttle_http, HttpClient, Subject::new(throttle().http()));
contract!(throttle_grpc, GrpcClient, Subject::new(throttle().grpc()));

fn throttle() -> AdaptiveThrottleLayer {
    AdaptiveThrottleLayer::new().clock(tokio_clock())
}

fn partitions() -> PriorityClasses {
    PriorityClasses::new().partition("web", 0.5).unwrap()
}

/// T-07
#[test]
fn invalid_settings_are_rejected() {
    let limit = |limit| ConcurrencyLimitLayer::new(limit).is_err();
    let bounds = |min, max| Adaptive::new(Aimd::new()).try_limits(min, max).is_err();
    let queue = |size, max_wait| Queue::new(size, max_wait).is_err();
    let valid_queue = || Queue::new(10, Duration::from_millis(10)).unwrap();
    let share = |share| PriorityClasses::new().partition("web", share).is_err();
    let ceilings = |normal, sheddable| PriorityClasses::new().ceilings(normal, sheddable).is_err();
    let backoff = |backoff| Aimd::new().backoff(backoff).is_err();
    let multiplier = |multiplier| throttle_of(multiplier).is_err();
    let (zero, max) = (Duration::ZERO, Duration::MAX);
    laws::invalid_settings_are_rejected(&[
        ("limit 0", &|| limit(0)),
        ("limit MAX", &|| limit(u32::MAX)),
        ("set to 0", &|| fixed().handle().set_limit(0).is_err()),
        ("set to MAX", &|| {
            fixed().handle().set_limit(u32::MAX).is_err()
        }),
        ("bounds 0", &|| bounds(0, 10) && bounds(0, 0)),
        ("min above max", &|| bounds(11, 10)),
        ("bounds MAX", &|| bounds(1, u32::MAX)),
        ("window 0", &|| {
            Adaptive::new(Aimd::new()).window(zero).is_err()
        }),
        ("window MAX", &|| {
            Adaptive::new(Aimd::new()).window(max).is_err()
        }),
        ("queue of 0", &|| queue(0, Duration::from_secs(1))),
        ("queue of MAX", &|| queue(u32::MAX, Duration::from_secs(1))),
        ("max_wait 0", &|| queue(10, zero)),
        ("max_wait MAX", &|| queue(10, max)),
        ("newest first after 0", &|| {
            valid_queue().newest_first_after(zero).is_err()
        }),
        ("newest first after MAX", &|| {
            valid_queue().newest_first_after(max).is_err()
        }),
        ("max_wait under overload 0", &|| {
            valid_queue()
                .max_wait_under_overload(zero, Duration::from_secs(1))
                .is_err()
        }),
        ("max_wait under overload above max_wait", &|| {
            valid_queue()
                .max_wait_under_overload(Duration::from_millis(11), Duration::from_secs(1))
                .is_err()
        }),
        ("share 0", &|| share(0.0)),
        ("share -1", &|| share(-1.0)),
        ("share above 1", &|| share(1.1)),
        ("share NaN", &|| share(f64::NAN)),
        ("share ∞", &|| share(f64::INFINITY)),
        ("partition without a name", &|| {
            PriorityClasses::new().partition("", 0.1).is_err()
        }),
        ("partition twice", &|| {
            partitions().partition("web", 0.1).is_err()
        }),
        ("shares above 1", &|| {
            partitions().partition("api", 0.6).is_err()
        }),
        ("ceilings 0", &|| ceilings(0.5, 0.0)),
        ("sheddable above normal", &|| ceilings(0.5, 0.6)),
        ("ceilings NaN", &|| {
            ceilings(f64::NAN, 0.5) && ceilings(0.5, f64::NAN)
        }),
        ("ceilings above 1", &|| ceilings(1.1, 0.5)),
        ("backoff", &|| {
            [0.0, -1.0, 1.0, f64::NAN, f64::INFINITY]
                .into_iter()
                .all(backoff)
        }),
        ("slow after 0", &|| Aimd::new().slow_after(zero).is_err()),
        ("slow after MAX", &|| Aimd::new().slow_after(max).is_err()),
        ("multiplier", &|| {
            [1.0, 0.0, -1.0, f64::NAN, f64::INFINITY]
                .into_iter()
                .all(multiplier)
        }),
        ("throttle window 0", &|| {
            AdaptiveThrottleLayer::new().window(zero).is_err()
        }),
        ("throttle window MAX", &|| {
            AdaptiveThrottleLayer::new().window(max).is_err()
        }),
        ("probes every 0", &|| {
            AdaptiveThrottleLayer::new().probe_interval(zero).is_err()
        }),
        ("probes every MAX", &|| {
            AdaptiveThrottleLayer::new().probe_interval(max).is_err()
        }),
    ]);
}

fn throttle_of(multiplier: f64) -> Result<AdaptiveThrottleLayer, ConfigError> {
    AdaptiveThrottleLayer::new().multiplier(multiplier)
}

/// T-07: the largest valid settings are accepted.
#[test]
fn the_largest_settings_work() {
    let largest = i32::MAX as u32;
    assert_eq!(
        ConcurrencyLimitLayer::new(largest)
            .unwrap()
            .handle()
            .snapshot()
            .limit,
        largest
    );
    let adaptive = Adaptive::new(Aimd::new())
        .try_limits(largest, largest)
        .unwrap();
    assert_eq!(
        ConcurrencyLimitLayer::adaptive(adaptive)
            .handle()
            .snapshot()
            .limit,
        largest
    );
    let classes = |partitions: u32| {
        let share = 1.0 / f64::from(partitions);
        let named = |classes: PriorityClasses, number| {
            classes.partition(format!("partition {number}"), share)
        };
        (0..partitions).try_fold(PriorityClasses::new(), named)
    };
    assert!(classes(10).is_ok(), "ten times 0.1 is 1");
    assert!(
        classes(16)
            .unwrap()
            .partition("17th", f64::MIN_POSITIVE)
            .is_err()
    );
}

#[test]
fn an_error_names_the_setting_and_the_valid_values() {
    let error = ConcurrencyLimitLayer::new(0).unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid limit 0: expected 1 to 2147483647"
    );
    let error = partitions().partition("web", 0.1).unwrap_err();
    assert_eq!(error.setting(), "partition name");
}
