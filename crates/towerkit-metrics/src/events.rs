use std::{fmt, sync::Arc};

use towerkit_core::{Event, EventSink};

use crate::{
    Provider, Registry,
    event_series::{EventMetric, EventSeries},
    metric_table as table,
};

/// Counts the events of layers, such as retries and the transitions of circuit breakers, in any [`Provider`].
///
/// A [`Registry`] is an [`EventSink`] itself; use this type for other providers. Clones count in the same series.
///
/// | event | metric | kind | labels |
/// |---|---|---|---|
/// | [`CircuitChanged`](Event::CircuitChanged) | `towerkit_circuit_transitions_total` | counter | `name`, `from`, `to` |
/// | | `towerkit_circuits` | gauge | `name`, `state` |
/// | [`Retried`](Event::Retried) | `towerkit_retries_total` | counter | `name`, `outcome` |
/// | [`RetryGivenUp`](Event::RetryGivenUp) | `towerkit_retry_given_up_total` | counter | `name`, `reason` |
/// | [`Hedged`](Event::Hedged) | `towerkit_hedges_total` | counter | `name` |
/// | [`FallbackUsed`](Event::FallbackUsed) | `towerkit_fallbacks_total` | counter | `name`, `from`, `to` |
/// | [`KeyTableFull`](Event::KeyTableFull) | `towerkit_key_table_full_calls_total` | counter | `name` |
/// | | `towerkit_key_table_evicted_keys_total` | counter | `name` |
/// | [`ClientAddressMissing`](Event::ClientAddressMissing) | `towerkit_rate_limit_client_address_missing_total` | counter | `name` |
/// | [`StoreChanged`](Event::StoreChanged) | `towerkit_store_reachable` | gauge | `name` |
/// | [`LimitChanged`](Event::LimitChanged) | `towerkit_concurrency_limit` | gauge | `name` |
/// | [`LimitReached`](Event::LimitReached) | `towerkit_concurrency_limit` | gauge | `name` |
/// | | `towerkit_concurrency_limit_rejected_total` | counter | `name` |
/// | [`Other`](Event::Other) | `towerkit_events_total` | counter | `name`, `layer`, `event` |
///
/// `towerkit_circuits` counts the circuits in each state except `closed`: 0 or 1 for a single breaker, any number for a breaker with
/// keys. A series appears with its first event. Layers with the same name share their series, so a layer whose gauge you watch needs a
/// name of its own. A concurrency limit reports its rejections at most once per second, so its counter may lag by a second; the
/// metrics of calls (`…_rejected_…_total`) count every rejection at once.
///
/// An event with a known kind, name and labels takes no lock and allocates no memory, up to 512 pairs of kind and name.
///
/// ```
/// use towerkit_core::{Event, EventSink};
/// use towerkit_metrics::{EventMetrics, Registry};
///
/// let registry = Registry::new();
/// let events = EventMetrics::new(registry.clone());
/// // A layer with `.events(events)` emits, for example:
/// events.emit(&Event::Hedged { name: "search".into(), number: 1 });
/// assert!(registry.render().ends_with("towerkit_hedges_total{name=\"search\"} 1\n"));
/// ```
#[derive(Clone)]
pub struct EventMetrics {
    provider: Arc<dyn Provider>,
    series: Arc<EventSeries>,
}

impl EventMetrics {
    /// Counts in `provider`.
    #[must_use]
    pub fn new(provider: impl Provider + 'static) -> Self {
        Self {
            provider: Arc::new(provider),
            series: Arc::new(EventSeries::new()),
        }
    }
}

impl EventSink for EventMetrics {
    fn emit(&self, event: &Event) {
        record(&*self.provider, &self.series, event);
    }
}

/// Counts events as [`EventMetrics`] does.
impl EventSink for Registry {
    fn emit(&self, event: &Event) {
        record(self, self.event_series(), event);
    }
}

impl fmt::Debug for EventMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventMetrics").finish_non_exhaustive()
    }
}

/// The number of pairs of two outcomes.
const PAIRS: usize = 36;
/// Enough for the outcomes, the states of a breaker or the reasons to give up.
const FEW: usize = 8;

macro_rules! event_metrics {
    ($($id:literal: $metric:ident, $labels:expr, $max:expr;)*) => {
        $(const $metric: EventMetric = EventMetric {
            id: $id,
            metric: &table::$metric,
            labels: &$labels,
            max_values: $max,
        };)*
    };
}

event_metrics! {
    0: CIRCUIT_TRANSITIONS, ["from", "to"], PAIRS;
    1: CIRCUITS, ["state"], FEW;
    2: RETRIES, ["outcome"], FEW;
    3: RETRY_GIVEN_UP, ["reason"], FEW;
    4: HEDGES, [], 1;
    5: FALLBACKS, ["from", "to"], PAIRS;
    6: KEY_TABLE_FULL, [], 1;
    7: KEY_TABLE_EVICTED, [], 1;
    8: STORE_REACHABLE, [], 1;
    9: CONCURRENCY_LIMIT, [], 1;
    10: CONCURRENCY_LIMIT_REJECTED, [], 1;
    11: CLIENT_ADDRESS_MISSING, [], 1;
    12: OTHER_EVENTS, ["layer", "event"], PAIRS;
}

/// The initial state of a circuit, which has no series in `towerkit_circuits`.
const CLOSED: &str = "closed";

fn record(provider: &dyn Provider, series: &EventSeries, event: &Event) {
    let count = |metric, name, values, by| series.count(provider, &metric, name, values, by);
    let set = |metric, name, to| {
        series.update(provider, &metric, name, ["", ""], |gauge| gauge.set(to));
    };
    match event {
        Event::CircuitChanged { name, from, to } => {
            count(CIRCUIT_TRANSITIONS, name, [from, to], 1);
            move_circuit(provider, series, name, from, to);
        }
        Event::FallbackUsed { name, from, to } => {
            count(FALLBACKS, name, [from.as_str(), to.as_str()], 1);
        }
        Event::Hedged { name, .. } => count(HEDGES, name, ["", ""], 1),
        Event::Retried { name, outcome, .. } => count(RETRIES, name, [outcome.as_str(), ""], 1),
        Event::RetryGivenUp { name, reason, .. } => {
            count(RETRY_GIVEN_UP, name, [reason, ""], 1);
        }
        Event::KeyTableFull {
            name,
            calls,
            evicted,
        } => {
            count(KEY_TABLE_FULL, name, ["", ""], *calls);
            count(KEY_TABLE_EVICTED, name, ["", ""], *evicted);
        }
        Event::ClientAddressMissing { name, calls } => {
            count(CLIENT_ADDRESS_MISSING, name, ["", ""], *calls);
        }
        Event::StoreChanged { name, reachable } => {
            set(STORE_REACHABLE, name, i64::from(*reachable));
        }
        Event::LimitChanged { name, to, .. } => set(CONCURRENCY_LIMIT, name, i64::from(*to)),
        Event::LimitReached {
            name,
            limit,
            rejected,
        } => {
            set(CONCURRENCY_LIMIT, name, i64::from(*limit));
            count(CONCURRENCY_LIMIT_REJECTED, name, ["", ""], *rejected);
        }
        Event::Other {
            layer, name, event, ..
        } => count(OTHER_EVENTS, name, [layer, event], 1),
        _ => {}
    }
}

/// Moves one circuit from one state to another.
fn move_circuit(
    provider: &dyn Provider,
    series: &EventSeries,
    name: &str,
    from: &'static str,
    to: &'static str,
) {
    if to != CLOSED {
        series.update(provider, &CIRCUITS, name, [to, ""], |gauge| {
            gauge.increment();
        });
    }
    // A breaker that was created in a forced mode leaves a state whose entry was never counted.
    if from != CLOSED {
        series.update(provider, &CIRCUITS, name, [from, ""], |gauge| {
            gauge.decrement();
        });
    }
}
