use towerkit_core::{Event, EventSink};

use crate::{Provider, Registry};

/// Counts the changes of circuit breakers, as `towerkit_circuit_changes_total{name,from,to}`.
impl EventSink for Registry {
    fn emit(&self, event: &Event) {
        count(self, event);
    }
}

/// Counts the changes of circuit breakers, as a [`Registry`] does.
#[cfg(feature = "metrics")]
impl EventSink for crate::Facade {
    fn emit(&self, event: &Event) {
        count(self, event);
    }
}

fn count(provider: &dyn Provider, event: &Event) {
    if let Event::CircuitChanged { name, from, to } = event {
        let labels = [("name", *name), ("from", from), ("to", to)];
        let help = "Times that a circuit breaker went from one state to another.";
        // A registry that has another metric of that name has refused to count.
        if let Ok(changes) = provider.counter("towerkit_circuit_changes_total", help, &labels) {
            changes.add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_breaker_is_counted() {
        let registry = Registry::new();
        let opened = Event::CircuitChanged {
            name: "search",
            from: "closed",
            to: "open",
        };
        registry.emit(&opened);
        registry.emit(&opened);
        let line =
            "towerkit_circuit_changes_total{name=\"search\",from=\"closed\",to=\"open\"} 2\n";
        assert!(registry.render().ends_with(line));
    }
}
