use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::Duration,
};

use tower_layer::Layer;
use towerkit_core::{CallEnd, EventSink, LayerExt, LayerState, NoProtocol, StateHandle};

use crate::{
    Always, Budget, BudgetSnapshot, ByProtocol, InvalidRetry, Retry, backoff::Backoff,
    invalid::Problem, policy::Policy,
};

/// Tries a call again whose failure may pass, if it may be sent twice and the budget allows.
///
/// All services that one layer makes share the budget and the counts.
#[derive(Debug, Clone)]
pub struct RetryLayer<P = NoProtocol, I = ByProtocol> {
    policy: LayerState<Arc<Policy>>,
    protocol: P,
    idempotence: I,
}

impl RetryLayer {
    /// Makes a layer; the setters say what it does by default.
    #[must_use]
    pub fn new() -> Self {
        Self {
            policy: LayerState::new(Arc::default()),
            protocol: NoProtocol::default(),
            idempotence: ByProtocol,
        }
    }
}

impl Default for RetryLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P, I> RetryLayer<P, I> {
    /// Makes so many attempts of a call at most, the first among them; 3 by default.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn attempts(self, attempts: u8) -> Result<Self, InvalidRetry> {
        let attempts = AtomicU8::new(checked(attempts)?);
        Ok(self.with(|policy| policy.attempts = attempts))
    }

    /// Pauses for up to `base` before the first retry, twice that before the second, and so on up to `cap`; 50 ms and 2 s by default.
    ///
    /// The pause is anything from nothing to that bound (full jitter). Pauses are a matter of [`tokio::time`].
    ///
    /// # Errors
    ///
    /// If `base` is zero or above `cap`, or `cap` is more than a day.
    pub fn backoff(self, base: Duration, cap: Duration) -> Result<Self, InvalidRetry> {
        let backoff = Backoff::new(base, cap)?;
        Ok(self.with(|policy| policy.backoff = backoff.into()))
    }

    /// Pauses exactly as long as the callee asks, up to this time; 10 seconds by default.
    ///
    /// A callee asks by `Retry-After`, or over gRPC by `grpc-retry-pushback-ms`. If it asks for more, its answer is given back at once.
    ///
    /// # Errors
    ///
    /// If it is more than a day.
    pub fn longest_pushback(self, wait: Duration) -> Result<Self, InvalidRetry> {
        let wait = InvalidRetry::check(wait)?;
        Ok(self.with(|policy| policy.longest_pushback = wait))
    }

    /// Keeps request bodies of up to so many bytes to send them again; 65,536 by default. A longer body is sent once.
    #[must_use]
    pub fn replay_up_to(self, bytes: usize) -> Self {
        self.with(|policy| policy.replay = bytes)
    }

    /// Takes retries from this budget; by default from a [`Budget::default`] of its own.
    #[must_use]
    pub fn budget(self, budget: Budget) -> Self {
        self.with(|policy| policy.budget = budget)
    }

    /// Decides which results are worth another attempt; by default those in the table of the [crate docs](crate#what-is-retried).
    ///
    /// Asked only of what may be sent twice, or was not sent at all. Also asked of a success, and of rejections by layers further in
    /// ([`CallEnd::rejected`]).
    #[must_use]
    pub fn when(self, when: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        self.with(|policy| policy.when = Some(Arc::new(when)))
    }

    /// Says that every request may be sent twice.
    #[must_use]
    pub fn idempotent(self) -> RetryLayer<P, Always> {
        self.idempotence(Always)
    }

    /// Says which requests may be sent twice; by default those that the protocol calls idempotent.
    ///
    /// Over HTTP those are the ones with an idempotent method (RFC 9110, section 9.2.2); gRPC and [`Plain`](towerkit_core::Plain) cannot tell, and so
    /// call none idempotent.
    #[must_use]
    pub fn idempotent_if<Req, F: Fn(&Req) -> bool>(self, is_idempotent: F) -> RetryLayer<P, F> {
        self.idempotence(is_idempotent)
    }

    fn idempotence<J>(self, idempotence: J) -> RetryLayer<P, J> {
        RetryLayer {
            policy: self.policy,
            protocol: self.protocol,
            idempotence,
        }
    }

    /// Does not retry what another tier has retried; see the [crate docs](crate#several-tiers).
    #[must_use]
    pub fn unless_retried(self) -> Self {
        self.with(|policy| policy.unless_retried = true)
    }

    /// Names this layer in events; `retry` by default.
    #[must_use]
    pub fn name(self, name: &'static str) -> Self {
        self.with(|policy| policy.name = name)
    }

    /// Reports every retry, and every call given up, to `sink`; to no one by default.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        self.with(|policy| policy.report_to(Arc::new(sink)))
    }

    /// Returns a handle on what all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> RetryHandle {
        RetryHandle(self.policy.handle())
    }

    fn with(mut self, set: impl FnOnce(&mut Policy)) -> Self {
        self.policy.update(|policy| set(Arc::make_mut(policy)));
        self
    }
}

fn checked(attempts: u8) -> Result<u8, InvalidRetry> {
    match attempts {
        0 => Err(InvalidRetry(Problem::NoAttempts)),
        attempts => Ok(attempts),
    }
}

impl<P, I> LayerExt for RetryLayer<P, I> {
    type Protocol = P;
    type With<Q> = RetryLayer<Q, I>;

    fn current_protocol(&self) -> &P {
        &self.protocol
    }

    fn protocol<Q>(self, protocol: Q) -> RetryLayer<Q, I> {
        RetryLayer {
            policy: self.policy,
            protocol,
            idempotence: self.idempotence,
        }
    }
}

impl<S, P: Clone, I: Clone> Layer<S> for RetryLayer<P, I> {
    type Service = Retry<S, P, I>;

    fn layer(&self, inner: S) -> Retry<S, P, I> {
        let idempotence = self.idempotence.clone();
        Retry::new(
            inner,
            self.policy.share(),
            self.protocol.clone(),
            idempotence,
        )
    }
}

/// Reads and changes the retries of a layer while it runs.
#[derive(Debug, Clone)]
pub struct RetryHandle(StateHandle<Arc<Policy>>);

impl RetryHandle {
    /// Returns what there has been.
    #[must_use]
    pub fn snapshot(&self) -> RetrySnapshot {
        let policy = self.0.get();
        RetrySnapshot {
            retries: policy.retries.load(Ordering::Relaxed),
            exhausted: policy.exhausted.load(Ordering::Relaxed),
            budget: policy.budget.snapshot(),
        }
    }

    /// Makes so many attempts at most of calls that start from now on; 1 turns retries off.
    ///
    /// # Errors
    ///
    /// If it is 0; the old number stays then.
    pub fn change_attempts(&self, attempts: u8) -> Result<(), InvalidRetry> {
        let attempts = checked(attempts)?;
        self.0.get().attempts.store(attempts, Ordering::Relaxed);
        Ok(())
    }

    /// Changes the pauses, from the next one on; see [`RetryLayer::backoff`].
    ///
    /// # Errors
    ///
    /// As there; the old ones stay then.
    pub fn change_backoff(&self, base: Duration, cap: Duration) -> Result<(), InvalidRetry> {
        self.0.get().change_backoff(Backoff::new(base, cap)?);
        Ok(())
    }
}

/// The counts of a [`RetryLayer`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RetrySnapshot {
    /// How many retries there were.
    pub retries: u64,
    /// How many there were not because the budget was used up.
    pub exhausted: u64,
    /// The budget, which other layers may share.
    pub budget: BudgetSnapshot,
}
