use std::time::Duration;

use towerkit_core::{AsGuard, Clock, LayerState, Plain, PolicyLayer, PolicyService, policy_layer};

use crate::{
    InvalidSetting,
    invalid::{Problem, nanos},
    throttle::{AdaptiveThrottleHandle, AdaptiveThrottlePolicy, Settings},
};

/// Rejects calls at the client that the callee would reject anyway.
///
/// An overloaded callee spends its time on rejections, and a client that goes on sending makes it worse. This throttle counts, over the
/// last two minutes, the calls that were to be made and those that the callee accepted, and rejects a call with the probability
///
/// ```text
/// max(0, (calls - K * accepted) / (calls + 1))
/// ```
///
/// so that in the long run no more than `K` calls are sent for each that is accepted. Calls are counted before they are sent, and
/// also if they are rejected here.
///
/// The floor: the first ten calls in a window are sent, and while calls are rejected, one a second is sent whatever the probability
/// says, so that a recovery is seen. A callee that accepts nothing is so sent ten calls, one a second, and about the natural logarithm
/// of the number of calls.
///
/// Source: Site Reliability Engineering, chapter 21, "Client-Side Throttling".
///
/// Accepted is what the callee answered, be it with an error, unless the answer says that it has enough
/// ([`Overloaded`](towerkit_core::Outcome::Overloaded), [`TimedOut`](towerkit_core::Outcome::TimedOut)). A call is accepted when the
/// head of its response is there, so that streams which stay open do not look like rejections. Not accepted are also calls
/// that failed without an answer, that a layer further in rejected, that panicked, and that were cancelled before an answer: a timeout
/// outside of the throttle looks like that. The last leaves room for hedging, since `K` lets half of all calls go that way.
#[derive(Debug, Clone)]
pub struct AdaptiveThrottleLayer<P = Plain> {
    policies: PolicyLayer<AsGuard<AdaptiveThrottlePolicy>, P>,
    state: LayerState<AdaptiveThrottlePolicy>,
}

/// A service behind an [`AdaptiveThrottleLayer`].
pub type AdaptiveThrottle<S, P = Plain> = PolicyService<S, AsGuard<AdaptiveThrottlePolicy>, P>;

impl AdaptiveThrottleLayer {
    /// Makes a throttle with `K = 2` that has counted nothing yet.
    #[must_use]
    pub fn new() -> Self {
        let throttle = AdaptiveThrottlePolicy::new(Settings::default());
        Self {
            policies: PolicyLayer::new(AsGuard::new(throttle.clone()), Plain::default()),
            state: LayerState::new(throttle),
        }
    }
}

impl Default for AdaptiveThrottleLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> AdaptiveThrottleLayer<P> {
    /// Sends `multiple` calls for each that is accepted, the `K` of the formula; 2 by default.
    ///
    /// A smaller one spares the callee more, and is slower to see that it has recovered.
    ///
    /// # Errors
    ///
    /// If it is not above 1, or not finite: at 1 every rejection would bring more of them about.
    pub fn multiple(self, multiple: f64) -> Result<Self, InvalidSetting> {
        if !(multiple > 1.0 && multiple.is_finite()) {
            let what = "multiple of accepted calls, which must be a number above 1,";
            return Err(InvalidSetting(Problem::Factor(what, multiple)));
        }
        Ok(self.with(|settings| settings.multiple = multiple))
    }

    /// Counts over the last so much time, to within a 24th of it; two minutes by default.
    ///
    /// After an outage the rate of calls that are sent grows by the factor e in 0.63 windows, from the floor on: a shorter window
    /// recovers sooner, and is taken in by shorter troubles.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn window(self, window: Duration) -> Result<Self, InvalidSetting> {
        let window = nanos("window", window)?;
        Ok(self.with(|settings| settings.window = window))
    }

    /// Lets a call through if none was for so long; one second by default.
    ///
    /// # Errors
    ///
    /// If it is zero or more than a year.
    pub fn probe_every(self, time: Duration) -> Result<Self, InvalidSetting> {
        let time = nanos("time between probes", time)?;
        Ok(self.with(|settings| settings.probe_every = time))
    }

    /// Names this throttle in rejections; `throttle` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|settings| settings.name = name)
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|settings| settings.clock = clock)
    }

    /// Returns a handle on the throttle, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> AdaptiveThrottleHandle {
        AdaptiveThrottleHandle(self.state.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.policies.policy().get().settings().clone();
        set(&mut settings);
        let throttle = AdaptiveThrottlePolicy::new(settings);
        if self.policies.is_used() {
            self.state.mark_used();
        }
        self.state.replace(throttle.clone());
        *self.policies.policy_mut().get_mut() = throttle;
        self
    }
}

policy_layer!(
    AdaptiveThrottleLayer { state },
    AsGuard<AdaptiveThrottlePolicy>,
    Plain
);
