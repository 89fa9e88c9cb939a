//! Handles of series that are named by what happens, kept so that the second time costs a look.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use crate::{Counter, Gauge, Provider, instrument::Discard, names::Metric, table::Table};

/// A metric whose series have a name and up to two more labels, each with few values.
pub(crate) struct Named {
    /// A number of its own among those of one [`Handles`].
    pub(crate) id: u8,
    pub(crate) metric: Metric,
    /// The labels after `name`.
    pub(crate) labels: &'static [&'static str],
    /// How many pairs of values are kept for each name.
    pub(crate) most: usize,
}

/// The values of the labels after `name`; where there are fewer than two, the rest is empty.
pub(crate) type Values = [&'static str; 2];

/// The handles that were used so far.
pub(crate) struct Handles {
    counters: Table<Slots<Arc<dyn Counter>>>,
    gauges: Table<Slots<Level>>,
}

/// The handles of one metric and one name: few, so that they are looked through.
type Slots<H> = Box<[OnceLock<(Values, H)>]>;

/// A gauge, and what is counted for it here.
#[derive(Debug)]
pub(crate) struct Level {
    gauge: Arc<dyn Gauge>,
    count: AtomicU64,
}

/// Names are literals of the program: more of them than this are resolved each time.
const NAMES: u16 = 512;

impl Handles {
    pub(crate) fn new() -> Self {
        Self {
            counters: Table::new(NAMES),
            gauges: Table::new(NAMES),
        }
    }

    /// Uses a counter.
    pub(crate) fn count(
        &self,
        provider: &dyn Provider,
        named: &Named,
        name: &str,
        values: Values,
        by: u64,
    ) {
        let make = || {
            let labels = labels(named, name, values);
            let counter = provider.counter(named.metric.name, named.metric.help, &labels);
            // A registry that has another metric of that name has rejected to count.
            counter.unwrap_or_else(|_| Arc::new(Discard))
        };
        match find(&self.counters, named, name, values, &make) {
            Some(counter) => counter.add(by),
            None => make().add(by),
        }
    }

    /// Uses a gauge. One that is not kept is used as if it had counted nothing.
    pub(crate) fn level(
        &self,
        provider: &dyn Provider,
        named: &Named,
        name: &str,
        values: Values,
        change: impl Fn(&Level),
    ) {
        let make = || {
            let labels = labels(named, name, values);
            let gauge = provider.gauge(named.metric.name, named.metric.help, &labels);
            Level::of(gauge.unwrap_or_else(|_| Arc::new(Discard)))
        };
        match find(&self.gauges, named, name, values, &make) {
            Some(level) => change(level),
            None => change(&make()),
        }
    }
}

impl Level {
    fn of(gauge: Arc<dyn Gauge>) -> Self {
        Self {
            gauge,
            count: AtomicU64::new(0),
        }
    }

    pub(crate) fn set(&self, to: i64) {
        self.gauge.set(to);
    }

    pub(crate) fn one_more(&self) {
        self.count.fetch_add(1, Relaxed);
        self.gauge.add(1);
    }

    /// Counts one off, unless it was never counted.
    pub(crate) fn one_less(&self) {
        // Relaxed: nothing else is read by what is counted, and a change of one circuit waits for the one before it.
        let less = self
            .count
            .fetch_update(Relaxed, Relaxed, |count| count.checked_sub(1));
        if less.is_ok() {
            self.gauge.add(-1);
        }
    }
}

/// Finds or makes a handle; `None` if there is no room to keep it.
fn find<'a, H>(
    table: &'a Table<Slots<H>>,
    named: &Named,
    name: &str,
    values: Values,
    make: &impl Fn() -> H,
) -> Option<&'a H> {
    let index = table.find(named.id, name).or_else(|| {
        let slots = || (0..named.most).map(|_| OnceLock::new()).collect();
        table.insert(named.id, name, slots)
    });
    let slots = table.get(index?)?;
    slots.iter().find_map(|slot| {
        let (known, handle) = slot.get_or_init(|| (values, make()));
        (*known == values).then_some(handle)
    })
}

fn labels<'a>(named: &Named, name: &'a str, values: Values) -> Vec<(&'static str, &'a str)> {
    let rest = named.labels.iter().copied().zip(values);
    [("name", name)].into_iter().chain(rest).collect()
}

impl fmt::Debug for Handles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handles")
            .field("counters", &self.counters.len())
            .field("gauges", &self.gauges.len())
            .finish()
    }
}
