use std::{fmt, sync::Arc};

use towerkit_core::{Event, EventSink};

use crate::{
    Provider, Registry,
    handles::{Handles, Named},
    names::Metric,
};

/// Counts what happens inside of policies, in any [`Provider`].
///
/// A [`Registry`] is such a sink itself. Clones count in the same series.
///
/// | event | metric | kind | labels |
/// |---|---|---|---|
/// | a circuit changes | `towerkit_circuit_transitions_total` | counter | `name`, `from`, `to` |
/// | | `towerkit_circuits` | gauge | `name`, `state` |
/// | a call is tried again | `towerkit_retries_total` | counter | `name`, `outcome` |
/// | it is not, though it was worth it | `towerkit_retry_given_up_total` | counter | `name`, `reason` |
/// | a call is hedged | `towerkit_hedges_total` | counter | `name` |
/// | a fallback is asked | `towerkit_fallbacks_total` | counter | `name`, `from`, `to` |
/// | a key table is full | `towerkit_key_table_full_calls_total` | counter | `name` |
/// | | `towerkit_key_table_evicted_keys_total` | counter | `name` |
/// | a store goes away or comes back | `towerkit_store_reachable` | gauge | `name` |
/// | a concurrency limit adapts | `towerkit_concurrency_limit` | gauge | `name` |
/// | it rejects | `towerkit_concurrency_limit`, and | gauge | `name` |
/// | | `towerkit_concurrency_limit_rejected_total` | counter | `name` |
///
/// `towerkit_circuits` is the number of circuits in each state but `closed`: of one breaker 0 or 1, of a breaker by key any number. A
/// series is there from its first event on. Layers of the same name share their series, so that a layer whose gauge you look at needs
/// a name of its own. A concurrency limit reports rejections once a second at most, so that its counter may lack the last second; each
/// single one counts in the metrics of the calls (`…_rejected_…_total`).
///
/// An event of a kind, a name and labels that were seen before allocates nothing and takes no lock, up to 512 pairs of kind and name.
///
/// ```
/// use towerkit_core::{Event, EventSink};
/// use towerkit_metrics::{EventMetrics, Registry};
///
/// let registry = Registry::new();
/// let events = EventMetrics::new(registry.clone());
/// // Given to a layer: `.events(events)`, which then says, for instance:
/// events.emit(&Event::Hedged { name: "search", number: 1 });
/// assert!(registry.render().ends_with("towerkit_hedges_total{name=\"search\"} 1\n"));
/// ```
#[derive(Clone)]
pub struct EventMetrics {
    provider: Arc<dyn Provider>,
    handles: Arc<Handles>,
}

impl EventMetrics {
    /// Counts in `provider`.
    #[must_use]
    pub fn new(provider: impl Provider + 'static) -> Self {
        Self {
            provider: Arc::new(provider),
            handles: Arc::new(Handles::new()),
        }
    }
}

impl EventSink for EventMetrics {
    fn emit(&self, event: &Event) {
        record(&*self.provider, &self.handles, event);
    }
}

/// Counts events as [`EventMetrics`] does.
impl EventSink for Registry {
    fn emit(&self, event: &Event) {
        record(self, self.handles(), event);
    }
}

impl fmt::Debug for EventMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventMetrics").finish_non_exhaustive()
    }
}

/// Every pair of two outcomes.
const PAIRS: usize = 36;
/// Room for the outcomes, the states of a breaker or the reasons to give up, and a few to come.
const FEW: usize = 8;

macro_rules! named {
    ($($constant:ident = $id:literal, $name:literal, $help:literal, $labels:expr, $most:expr;)*) => {
        $(const $constant: Named = Named {
            id: $id,
            metric: Metric { name: $name, help: $help },
            labels: &$labels,
            most: $most,
        };)*
    };
}

named! {
    TRANSITIONS = 0, "towerkit_circuit_transitions_total",
        "Times that a circuit breaker went from one state to another.", ["from", "to"], PAIRS;
    CIRCUITS = 1, "towerkit_circuits",
        "Circuit breakers in a state other than closed.", ["state"], FEW;
    RETRIES = 2, "towerkit_retries_total",
        "Attempts after the first, by how the one before had ended.", ["outcome"], FEW;
    GIVEN_UP = 3, "towerkit_retry_given_up_total",
        "Failed calls that were worth another retry and were not tried again.", ["reason"], FEW;
    HEDGES = 4, "towerkit_hedges_total",
        "Calls that were sent once more, before the first answer.", [], 1;
    FALLBACKS = 5, "towerkit_fallbacks_total",
        "Failed calls for which a fallback was asked, by how they and the fallback had ended.",
        ["from", "to"], PAIRS;
    KEY_TABLE_FULL = 6, "towerkit_key_table_full_calls_total",
        "Calls whose key was not in a full key table.", [], 1;
    EVICTED = 7, "towerkit_key_table_evicted_keys_total",
        "Idle keys that were evicted from a key table.", [], 1;
    REACHABLE = 8, "towerkit_store_reachable",
        "Whether the store that a layer shares with other processes answers.", [], 1;
    LIMIT = 9, "towerkit_concurrency_limit",
        "The concurrency limit that was reported last.", [], 1;
    REFUSED = 10, "towerkit_concurrency_limit_rejected_total",
        "Calls that a concurrency limit rejected.", [], 1;
    ADDRESS_MISSING = 11, "towerkit_rate_limit_client_address_missing_total",
        "Calls that a rate limit rejected because the server does not tell their peer.", [], 1;
}

/// The state that most circuits are in, and all of them at first.
const CLOSED: &str = "closed";

fn record(provider: &dyn Provider, handles: &Handles, event: &Event) {
    let count = |named, name, values, by| handles.count(provider, &named, name, values, by);
    let set = |named, name, to| {
        handles.level(provider, &named, name, ["", ""], |level| level.set(to));
    };
    match event {
        Event::CircuitChanged { name, from, to } => {
            count(TRANSITIONS, name, [from, to], 1);
            circuit(provider, handles, name, from, to);
        }
        Event::FallbackUsed { name, from, to } => {
            count(FALLBACKS, name, [from.as_str(), to.as_str()], 1);
        }
        Event::Hedged { name, .. } => count(HEDGES, name, ["", ""], 1),
        Event::Retried { name, outcome, .. } => count(RETRIES, name, [outcome.as_str(), ""], 1),
        Event::RetryGivenUp { name, reason, .. } => count(GIVEN_UP, name, [reason, ""], 1),
        Event::KeyTableFull {
            name,
            calls,
            evicted,
        } => {
            count(KEY_TABLE_FULL, name, ["", ""], *calls);
            count(EVICTED, name, ["", ""], *evicted);
        }
        Event::ClientAddressMissing { name, calls } => {
            count(ADDRESS_MISSING, name, ["", ""], *calls);
        }
        Event::StoreChanged { name, reachable } => set(REACHABLE, name, i64::from(*reachable)),
        Event::LimitChanged { name, to, .. } => set(LIMIT, name, i64::from(*to)),
        Event::LimitReached {
            name,
            limit,
            rejected,
        } => {
            set(LIMIT, name, i64::from(*limit));
            count(REFUSED, name, ["", ""], *rejected);
        }
        _ => {}
    }
}

/// Moves one circuit of a name from one state to another.
fn circuit(
    provider: &dyn Provider,
    handles: &Handles,
    name: &str,
    from: &'static str,
    to: &'static str,
) {
    if to != CLOSED {
        handles.level(provider, &CIRCUITS, name, [to, ""], |level| {
            level.one_more();
        });
    }
    // Breakers that were made in a forced mode leave a state that they never entered.
    if from != CLOSED {
        handles.level(provider, &CIRCUITS, name, [from, ""], |level| {
            level.one_less();
        });
    }
}
