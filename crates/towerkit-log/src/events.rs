use towerkit_core::{Event, EventSink};
use tracing::{info, warn};

/// Logs what happens inside of policies, with the target `towerkit::event`: a breaker that opens is a warning.
///
/// ```
/// use towerkit_circuitbreaker::CircuitBreakerLayer;
/// use towerkit_log::EventLog;
///
/// let breaker = CircuitBreakerLayer::new().name("search").events(EventLog);
/// # let _ = breaker;
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct EventLog;

/// Logs one event; a level is part of what is static of it.
macro_rules! circuit_changed {
    ($log:ident, $name:expr, $from:expr, $to:expr) => {
        $log!(
            target: "towerkit::event",
            message = "circuit changed",
            name = $name,
            from = $from,
            to = $to,
        )
    };
}

impl EventSink for EventLog {
    fn emit(&self, event: &Event) {
        match event {
            Event::CircuitChanged { name, from, to } if *to == "open" => {
                circuit_changed!(warn, name, from, to);
            }
            Event::CircuitChanged { name, from, to } => {
                circuit_changed!(info, name, from, to);
            }
            other => info!(target: "towerkit::event", "{other:?}"),
        }
    }
}
