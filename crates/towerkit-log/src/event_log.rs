use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use towerkit_core::{Clock, Event, EventSink};

use crate::per_second::PerSecondLimit;

/// An [`EventSink`] that logs the [`Event`]s of layers, with the target `towerkit::event`.
///
/// | [`Event`] | level | message | fields |
/// |---|---|---|---|
/// | a circuit breaker opens | warn | `circuit changed` | `name`, `from`, `to` |
/// | a circuit breaker changes to another state | info | `circuit changed` | `name`, `from`, `to` |
/// | a shared store becomes unreachable | warn | `store changed` | `name`, `reachable` |
/// | a shared store becomes reachable | info | `store changed` | `name`, `reachable` |
/// | a key table is full | warn | `key table full` | `name`, `calls`, `evicted` |
/// | a server does not provide the client address | error | `client address missing` | `name`, `calls` |
/// | a concurrency limit rejects calls | warn | `limit reached` | `name`, `limit`, `rejected` |
/// | a concurrency limit adapts | info | `limit changed` | `name`, `from`, `to` |
/// | a retry layer gives up * | warn | `retry given up` | `name`, `retries`, `outcome`, `reason` |
/// | a fallback is used * | info | `fallback used` | `name`, `from`, `to` |
/// | a call is retried * | debug | `retried` | `name`, `number`, `outcome`, `delay_ms` |
/// | a call is hedged * | debug | `hedged` | `name`, `number` |
/// | an event of another crate's layer * | info | the message of the event | `layer`, `name`, `event` |
///
/// Kinds with a star can occur once per call. Each of these kinds is logged at most [ten times per second](Self::per_second), and the
/// next event of the kind has the number of omitted events in the field `left_out`. Clones share these counts.
///
/// ```
/// use towerkit_circuitbreaker::CircuitBreakerLayer;
/// use towerkit_log::EventLog;
///
/// let breaker = CircuitBreakerLayer::new().name("search").events(EventLog::new());
/// # let _ = breaker;
/// ```
#[derive(Clone)]
pub struct EventLog {
    clock: Clock,
    per_second: u32,
    limits: Arc<[KindLimit; 5]>,
}

impl EventLog {
    /// Creates a sink that logs the events of the table above.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Clock::monotonic(),
            per_second: 10,
            limits: Arc::default(),
        }
    }

    /// Sets the maximum number of events per second, for each kind that can occur once per call; 10 by default.
    #[must_use]
    pub const fn per_second(mut self, events: u32) -> Self {
        self.per_second = events;
        self
    }

    /// Sets the clock of the limit per second; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn admit(&self, kind: Kind) -> Option<LeftOut> {
        self.limits[kind as usize].admit(self.clock.now(), self.per_second)
    }
}

impl Default for EventLog {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for EventLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventLog")
            .field("per_second", &self.per_second)
            .finish_non_exhaustive()
    }
}

/// The kinds of [`Event`] that can occur once per call.
#[derive(Debug, Clone, Copy)]
enum Kind {
    FallbackUsed,
    Hedged,
    Retried,
    RetryGivenUp,
    Other,
}

/// The number of omitted events since the last one of the kind, or [`None`] for zero.
type LeftOut = Option<u64>;

/// Limits the events of one [`Kind`].
#[derive(Debug)]
struct KindLimit {
    limit: PerSecondLimit,
    left_out: AtomicU64,
}

impl KindLimit {
    fn admit(&self, now: u64, per_second: u32) -> Option<LeftOut> {
        // Relaxed: no other data depends on the count.
        if self.limit.admit(now, per_second) {
            Some(Some(self.left_out.swap(0, Ordering::Relaxed)).filter(|count| *count > 0))
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

impl Default for KindLimit {
    fn default() -> Self {
        Self {
            limit: PerSecondLimit::new(),
            left_out: AtomicU64::new(0),
        }
    }
}

/// Logs one event. A macro, because the level is part of the static callsite.
macro_rules! log {
    ($level:ident, $message:expr, $($fields:tt)*) => {
        tracing::event!(target: "towerkit::event", tracing::Level::$level, message = $message, $($fields)*)
    };
}

/// Logs one event of a [`Kind`], within its limit.
macro_rules! log_limited {
    ($log:expr, $kind:ident, $level:ident, $message:expr, $($fields:tt)*) => {
        // Disabled events are not counted.
        if tracing::event_enabled!(target: "towerkit::event", tracing::Level::$level)
            && let Some(left_out) = $log.admit(Kind::$kind)
        {
            log!($level, $message, $($fields)*, left_out);
        }
    };
}

impl EventSink for EventLog {
    fn emit(&self, event: &Event) {
        match event {
            Event::CircuitChanged { name, from, to } => {
                let name = name.as_str();
                match *to {
                    "open" => log!(WARN, "circuit changed", name, from, to),
                    _ => log!(INFO, "circuit changed", name, from, to),
                }
            }
            Event::StoreChanged { name, reachable } => {
                let name = name.as_str();
                match reachable {
                    true => log!(INFO, "store changed", name, reachable),
                    false => log!(WARN, "store changed", name, reachable),
                }
            }
            Event::KeyTableFull {
                name,
                calls,
                evicted,
            } => {
                let name = name.as_str();
                log!(WARN, "key table full", name, calls, evicted);
            }
            Event::ClientAddressMissing { name, calls } => {
                let name = name.as_str();
                log!(ERROR, "client address missing", name, calls);
            }
            Event::LimitReached {
                name,
                limit,
                rejected,
            } => {
                let name = name.as_str();
                log!(WARN, "limit reached", name, limit, rejected);
            }
            Event::LimitChanged { name, from, to } => {
                let name = name.as_str();
                log!(INFO, "limit changed", name, from, to);
            }
            _ => self.emit_limited(event),
        }
    }
}

impl EventLog {
    /// Logs the kinds of event that can occur once per call.
    fn emit_limited(&self, event: &Event) {
        match event {
            Event::FallbackUsed { name, from, to } => {
                let [name, from, to] = [name.as_str(), from.as_str(), to.as_str()];
                log_limited!(self, FallbackUsed, INFO, "fallback used", name, from, to);
            }
            Event::Hedged { name, number } => {
                let name = name.as_str();
                log_limited!(self, Hedged, DEBUG, "hedged", name, number);
            }
            Event::Retried {
                name,
                number,
                outcome,
                delay,
            } => {
                let [name, outcome] = [name.as_str(), outcome.as_str()];
                let delay_ms = millis(*delay);
                log_limited!(
                    self, Retried, DEBUG, "retried", name, number, outcome, delay_ms
                );
            }
            Event::RetryGivenUp {
                name,
                retries,
                outcome,
                reason,
            } => {
                let [name, outcome] = [name.as_str(), outcome.as_str()];
                log_limited!(
                    self,
                    RetryGivenUp,
                    WARN,
                    "retry given up",
                    name,
                    retries,
                    outcome,
                    reason
                );
            }
            Event::Other {
                layer,
                name,
                event,
                message,
            } => {
                let [name, message] = [name.as_str(), &**message];
                log_limited!(self, Other, INFO, message, layer, name, event);
            }
            // A variant that a later version of towerkit-core adds.
            other => log_limited!(self, Other, INFO, "event", event = ?other),
        }
    }
}

/// Converts a duration to milliseconds with up to three decimals.
fn millis(duration: Duration) -> f64 {
    duration.as_micros() as f64 / 1000.0
}
