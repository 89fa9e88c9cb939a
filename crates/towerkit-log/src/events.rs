use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use towerkit_core::{Clock, Event, EventSink};

use crate::window::Window;

/// Logs what happens inside of policies, with the target `towerkit::event`.
///
/// | event | level | message | fields |
/// |---|---|---|---|
/// | a breaker opens | warn | `circuit changed` | `name`, `from`, `to` |
/// | it changes otherwise | info | `circuit changed` | `name`, `from`, `to` |
/// | a store goes away | warn | `store changed` | `name`, `reachable` |
/// | it comes back | info | `store changed` | `name`, `reachable` |
/// | keys find no room | warn | `key table full` | `name`, `calls`, `evicted` |
/// | a concurrency limit rejects | warn | `limit reached` | `name`, `limit`, `rejected` |
/// | it adapts | info | `limit changed` | `name`, `from`, `to` |
/// | a retry is not made * | warn | `retry given up` | `name`, `retries`, `outcome`, `reason` |
/// | a fallback is asked * | info | `fallback used` | `name`, `from`, `to` |
/// | a call is retried * | debug | `retried` | `name`, `number`, `outcome`, `wait_ms` |
/// | a call is hedged * | debug | `hedged` | `name`, `number` |
///
/// Of those with a star there may be one for each call: each kind is logged [ten times a second](Self::per_second) at most, and the
/// next one says in `left_out` how many were not logged. Clones share what they count.
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
    floods: Arc<[Flood; 5]>,
}

impl EventLog {
    /// Logs as the table says.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Clock::monotonic(),
            per_second: 10,
            floods: Arc::default(),
        }
    }

    /// Sets how many events of each kind are logged a second, where there may be one for each call; 10 by default.
    #[must_use]
    pub const fn per_second(mut self, events: u32) -> Self {
        self.per_second = events;
        self
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    fn admit(&self, kind: Kind) -> Option<LeftOut> {
        self.floods[kind as usize].admit(self.clock.now(), self.per_second)
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

/// The kinds of which there may be one for each call.
#[derive(Debug, Clone, Copy)]
enum Kind {
    FellBack,
    Hedged,
    Retried,
    GivenUp,
    Unknown,
}

/// How many events of a kind were not logged since the last one that was; none is no field.
type LeftOut = Option<u64>;

/// The events of one kind.
#[derive(Debug)]
struct Flood {
    admitted: Window,
    left_out: AtomicU64,
}

impl Flood {
    fn admit(&self, now: u64, per_second: u32) -> Option<LeftOut> {
        // Relaxed: a count of its own.
        if self.admitted.admit(now, per_second) {
            Some(Some(self.left_out.swap(0, Ordering::Relaxed)).filter(|count| *count > 0))
        } else {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

impl Default for Flood {
    fn default() -> Self {
        Self {
            admitted: Window::new(),
            left_out: AtomicU64::new(0),
        }
    }
}

/// Logs one event; a level is part of what is static of it.
macro_rules! log {
    ($level:ident, $message:literal, $($fields:tt)*) => {
        tracing::event!(target: "towerkit::event", tracing::Level::$level, message = $message, $($fields)*)
    };
}

/// Logs one event of a kind of which there may be many.
macro_rules! log_capped {
    ($log:expr, $kind:ident, $level:ident, $message:literal, $($fields:tt)*) => {
        // What is not enabled is not counted.
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
            Event::CircuitChanged { name, from, to } if *to == "open" => {
                log!(WARN, "circuit changed", name = name.as_str(), from, to);
            }
            Event::CircuitChanged { name, from, to } => {
                log!(INFO, "circuit changed", name = name.as_str(), from, to);
            }
            Event::StoreChanged {
                name,
                reachable: false,
            } => log!(
                WARN,
                "store changed",
                name = name.as_str(),
                reachable = false
            ),
            Event::StoreChanged { name, .. } => {
                log!(
                    INFO,
                    "store changed",
                    name = name.as_str(),
                    reachable = true
                );
            }
            Event::KeyTableFull {
                name,
                calls,
                evicted,
            } => log!(WARN, "key table full", name = name.as_str(), calls, evicted),
            Event::ClientAddressMissing { name, calls } => {
                log!(ERROR, "client address missing", name = name.as_str(), calls);
            }
            Event::LimitReached {
                name,
                limit,
                rejected,
            } => log!(WARN, "limit reached", name = name.as_str(), limit, rejected),
            Event::LimitChanged { name, from, to } => {
                log!(INFO, "limit changed", name = name.as_str(), from, to);
            }
            _ => self.emit_of_call(event),
        }
    }
}

impl EventLog {
    /// Logs that of which there may be one for each call.
    fn emit_of_call(&self, event: &Event) {
        match event {
            Event::FallbackUsed { name, from, to } => {
                let [from, to] = [from.as_str(), to.as_str()];
                log_capped!(
                    self,
                    FellBack,
                    INFO,
                    "fallback used",
                    name = name.as_str(),
                    from,
                    to
                );
            }
            Event::Hedged { name, number } => {
                log_capped!(self, Hedged, DEBUG, "hedged", name = name.as_str(), number);
            }
            Event::Retried {
                name,
                number,
                outcome,
                wait,
            } => {
                let (outcome, wait_ms) = (outcome.as_str(), millis(*wait));
                log_capped!(
                    self,
                    Retried,
                    DEBUG,
                    "retried",
                    name = name.as_str(),
                    number,
                    outcome,
                    wait_ms
                );
            }
            Event::RetryGivenUp {
                name,
                retries,
                outcome,
                reason,
            } => {
                let outcome = outcome.as_str();
                log_capped!(
                    self,
                    GivenUp,
                    WARN,
                    "retry given up",
                    name = name.as_str(),
                    retries,
                    outcome,
                    reason
                );
            }
            // An event that a newer towerkit-core has, and this crate does not know yet.
            other => log_capped!(self, Unknown, INFO, "event", event = ?other),
        }
    }
}

/// Milliseconds, with three decimals at most.
fn millis(wait: Duration) -> f64 {
    wait.as_micros() as f64 / 1000.0
}
