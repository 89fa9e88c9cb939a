//! Calls that are left out, as a subscriber and a handle see it.

use std::{num::NonZeroU32, time::Duration};

use tower::Layer;
use tower::{BoxError, ServiceExt, service_fn};
use towerkit_core::{Clock, LayerExt, Rejection, RejectionReason};
use towerkit_log::{LogLayer, Sampling};
use towerkit_test::{Action, Probe, run_paused};
use tracing::{Level, level_filters::LevelFilter};

use crate::capture::Capture;

fn one_of(count: u32) -> Sampling {
    Sampling::new().successes(NonZeroU32::new(count).unwrap())
}

fn succeed(layer: &LogLayer) {
    let service = layer.clone().plain("words").layer(Probe::new());
    run_paused(service.oneshot(Action::Succeed)).unwrap();
}

fn fail(layer: &LogLayer) {
    let service = layer.clone().plain("words").layer(Probe::new());
    run_paused(service.oneshot(Action::Fail)).unwrap_err();
}

fn reject(layer: &LogLayer) {
    let rejection = |()| async {
        Err::<(), BoxError>(Rejection::new(RejectionReason::RateLimited, "limit").into())
    };
    let service = layer.clone().plain("words").layer(service_fn(rejection));
    run_paused(service.oneshot(())).unwrap_err();
}

fn outcomes(log: &Capture) -> Vec<String> {
    let seen = log.take().into_iter();
    seen.filter_map(|seen| seen.field("outcome").map(str::to_owned))
        .collect()
}

#[test]
fn one_success_of_many_is_logged_and_every_failure() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let layer = LogLayer::new().sampling(one_of(10));
    for _ in 0..5 {
        (0..10).for_each(|_| succeed(&layer));
        fail(&layer);
    }
    assert_eq!(outcomes(&log), ["success", "failure"].repeat(5));
    assert_eq!(layer.handle().snapshot().left_out, 45);
}

#[test]
fn rejections_are_limited_per_second_and_failures_are_not() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let (clock, clock_control) = Clock::manual();
    let layer = LogLayer::new()
        .clock(clock)
        .sampling(Sampling::new().rejections(2));
    for _ in 0..3 {
        (0..1000).for_each(|_| reject(&layer));
        (0..3).for_each(|_| fail(&layer));
        let expected = ["overloaded", "overloaded", "failure", "failure", "failure"];
        assert_eq!(outcomes(&log), expected);
        clock_control.advance(Duration::from_secs(1));
    }
    assert_eq!(layer.handle().snapshot().left_out, 3 * 998);
}

#[test]
fn calls_left_out_are_reported_at_most_once_per_second() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let (clock, clock_control) = Clock::manual();
    let layer = LogLayer::new()
        .name("words")
        .clock(clock)
        .sampling(one_of(1000));
    let mut told = Vec::new();
    for second in 0..4 {
        for _ in 0..10 * (second + 1) {
            succeed(&layer);
        }
        for seen in log.take() {
            if let Some(count) = seen.field("left_out") {
                assert_eq!((seen.level, seen.target), (Level::INFO, "towerkit::call"));
                assert_eq!(seen.field("message"), Some("calls left out"));
                assert_eq!(seen.field("name"), Some("words"));
                told.push(count.to_owned());
            }
        }
        clock_control.advance(Duration::from_secs(1));
    }
    // The first is told with the second call that follows it, and later ones with the first of a new second.
    assert_eq!(told, ["1", "8", "20", "30"]);
    assert_eq!(layer.handle().snapshot().left_out, 99);
}

#[test]
fn rejected_calls_left_out_are_reported_as_a_warning() {
    let (log, _guard) = Capture::start(LevelFilter::WARN);
    let (clock, clock_control) = Clock::manual();
    let sampling = one_of(10).rejections(1);
    let layer = LogLayer::new().clock(clock).sampling(sampling);
    (0..10).for_each(|_| reject(&layer));
    (0..10).for_each(|_| succeed(&layer));
    log.take();
    clock_control.advance(Duration::from_secs(1));
    succeed(&layer);
    let seen = log.only();
    assert_eq!(seen.level, Level::WARN);
    let counts = ["left_out", "rejected"].map(|name| seen.field(name));
    // One was told at once, in the first second.
    assert_eq!(counts, [Some("17"), Some("8")]);
}

#[test]
fn a_handle_changes_the_sampling_at_run_time() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let layer = LogLayer::new();
    let handle = layer.handle();
    assert_eq!(handle.snapshot().sampling, Sampling::new());
    for (sampling, logged) in [
        (Sampling::new(), 20),
        (one_of(5), 4),
        (Sampling::default(), 20),
    ] {
        handle.set_sampling(sampling);
        assert_eq!(handle.snapshot().sampling, sampling);
        (0..20).for_each(|_| succeed(&layer));
        assert_eq!(outcomes(&log).len(), logged);
    }
    assert_eq!(handle.snapshot().left_out, 16);
}

#[test]
fn a_call_below_the_minimum_level_is_not_counted_as_left_out() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let layer = LogLayer::new().sampling(one_of(1000));
    layer.handle().set_level(Level::WARN);
    (0..20).for_each(|_| succeed(&layer));
    assert_eq!(
        (log.take(), layer.handle().snapshot().left_out),
        (Vec::new(), 0)
    );
}

/// A handle that was created before the setters still changes the services; a clone of the layer has its own sampling.
#[tokio::test]
async fn a_handle_follows_later_setters() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let layer = LogLayer::new();
    let handle = layer.handle();
    handle.set_level(LevelFilter::WARN);
    let hundredth = Sampling::new().successes(NonZeroU32::new(100).unwrap());
    let layer = layer.sampling(hundredth).name("shop");
    assert_eq!(
        (handle.snapshot().sampling, handle.snapshot().level),
        (hundredth, LevelFilter::WARN)
    );
    let service = layer.clone().plain("probe").layer(Probe::new());
    service.clone().oneshot(Action::Succeed).await.unwrap();
    assert_eq!(log.take(), []);
    handle.set_level(LevelFilter::TRACE);
    service.oneshot(Action::Succeed).await.unwrap();
    assert_eq!(log.only().field("message"), Some("shop"));

    let all = layer.clone().sampling(Sampling::new());
    assert_eq!(all.handle().snapshot().sampling, Sampling::new());
    assert_eq!(
        (
            layer.handle().snapshot().sampling,
            handle.snapshot().sampling
        ),
        (hundredth, hundredth)
    );
}
