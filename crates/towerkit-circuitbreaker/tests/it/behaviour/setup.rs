//! A breaker around a probe service, and functions to call it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use tower::{Layer, Service};
use towerkit_circuitbreaker::{
    CircuitBreaker, CircuitBreakerHandle, CircuitBreakerLayer, OpenWhen, State, Window,
};
use towerkit_core::{CarriesRejection, Clock, ManualClock, RejectionReason};
use towerkit_test::{Action, CallCounts, Probe, ProbeError};

pub(crate) const OPEN_FOR: Duration = Duration::from_secs(10);

/// A breaker around a probe service, with a manual clock.
pub(crate) struct Setup {
    pub(crate) service: CircuitBreaker<Probe>,
    pub(crate) breaker: CircuitBreakerHandle,
    pub(crate) counts: Arc<CallCounts>,
    pub(crate) clock_control: ManualClock,
}

impl Setup {
    pub(crate) fn new(layer: CircuitBreakerLayer) -> Self {
        let (clock, clock_control) = Clock::manual();
        let layer = layer.clock(clock);
        let probe = Probe::new();
        Self {
            breaker: layer.handle(),
            counts: probe.counts(),
            service: layer.layer(probe),
            clock_control,
        }
    }

    /// Opens after two consecutive failures.
    pub(crate) fn consecutive() -> Self {
        Self::new(consecutive())
    }

    /// The next call is the first of `probes` probes.
    pub(crate) fn half_open(probes: u16) -> Self {
        let setup = Self::new(consecutive().probes(probes).unwrap());
        setup.open();
        setup.clock_control.advance(OPEN_FOR);
        setup
    }

    /// Starts a call, which is admitted or rejected now, and returns its future.
    pub(crate) fn start(&self, action: Action) -> Calling {
        self.ready().call(action)
    }

    pub(crate) fn ready(&self) -> CircuitBreaker<Probe> {
        let mut service = self.service.clone();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(Service::<Action>::poll_ready(&mut service, &mut cx).is_ready());
        service
    }

    pub(crate) fn call(&self, action: Action) -> Result<Action, ProbeError> {
        ended(self.start(action))
    }

    pub(crate) fn succeed(&self, times: usize) {
        for _ in 0..times {
            self.call(Action::Succeed).unwrap();
        }
    }

    pub(crate) fn fail(&self, times: usize) {
        for _ in 0..times {
            assert!(self.call(Action::Fail).unwrap_err().is_failed());
        }
    }

    pub(crate) fn open(&self) {
        self.fail(2);
        assert_eq!(self.breaker.state(), State::Open);
    }

    /// Makes a call that is rejected, checks that the service was not asked, and returns the retry hint.
    pub(crate) fn rejected(&self) -> Option<Duration> {
        let (polls, started) = (self.counts.polls(), self.counts.started());
        let error = self.call(Action::Succeed).unwrap_err();
        let rejection = error.rejection().expect("a rejection");
        assert_eq!(rejection.reason(), RejectionReason::CircuitOpen);
        assert_eq!(
            (self.counts.polls(), self.counts.started()),
            (polls, started)
        );
        rejection.retry_after()
    }
}

pub(crate) type Calling = <CircuitBreaker<Probe> as Service<Action>>::Future;

pub(crate) fn consecutive() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new().open_when(OpenWhen::consecutive_failures(2).unwrap())
}

pub(crate) fn rate(rate: f64, window: impl Into<Window>, minimum: u32) -> Setup {
    let open_when = OpenWhen::failure_rate(rate, window, minimum).unwrap();
    Setup::new(CircuitBreakerLayer::new().open_when(open_when))
}

/// Polls a call to its end.
pub(crate) fn ended<T>(call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(result) = call.as_mut().poll(&mut cx) {
            return result;
        }
    }
}

/// Makes one call when the service is ready.
pub(crate) fn call<S>(service: &mut S, action: Action) -> Result<S::Response, S::Error>
where
    S: Service<Action>,
    S::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    assert!(service.poll_ready(&mut cx).is_ready());
    ended(service.call(action))
}

pub(crate) fn panics(call: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(call)).is_err()
}
