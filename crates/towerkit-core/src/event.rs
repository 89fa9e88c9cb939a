use std::{
    borrow::Cow,
    collections::VecDeque,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{Name, Outcome};

/// An event inside of a layer that is not the end of a single call, such as a circuit breaker that opens.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A circuit breaker went from one state to another.
    CircuitChanged {
        /// The name of the breaker.
        name: Name,
        /// The state that it left, in `snake_case`.
        from: &'static str,
        /// The state that it entered, in `snake_case`.
        to: &'static str,
    },
    /// A fallback was asked for another answer, because a call had failed.
    FallbackUsed {
        /// The name of the fallback.
        name: Name,
        /// How the call had ended.
        from: Outcome,
        /// How the fallback ended, as far as its result tells.
        to: Outcome,
    },
    /// A call was sent once more, because it was slow or an attempt of it had failed.
    Hedged {
        /// The name of the hedge layer.
        name: Name,
        /// The number of the hedge among those of the call, from 1.
        number: u8,
    },
    /// A call failed, and is tried again.
    Retried {
        /// The name of the retry layer.
        name: Name,
        /// The number of the retry among those of the call, from 1.
        number: u8,
        /// How the attempt before it had ended, as far as its result tells.
        outcome: Outcome,
        /// The delay before it.
        delay: Duration,
    },
    /// A call failed that was worth another retry, and was not tried again.
    RetryGivenUp {
        /// The name of the retry layer.
        name: Name,
        /// How many retries the call had had.
        retries: u8,
        /// How the last attempt had ended, as far as its result tells.
        outcome: Outcome,
        /// Why, in `snake_case`.
        reason: &'static str,
    },
    /// The key table of a layer was full when calls with new keys arrived; reported at most once a second.
    KeyTableFull {
        /// The name of the layer.
        name: Name,
        /// The calls since the last report whose keys were not in the table and could not be added.
        calls: u64,
        /// The idle keys that were evicted since the last report.
        evicted: u64,
    },
    /// A rate limit by client address rejected calls because the server does not tell their peer; reported once a second at most.
    ClientAddressMissing {
        /// The name of the limit.
        name: Name,
        /// The calls that were rejected for it since the last report.
        calls: u64,
    },
    /// The store that a layer shares with other processes went away, or came back.
    StoreChanged {
        /// The name of the layer.
        name: Name,
        /// Whether it answers.
        reachable: bool,
    },
    /// An adaptive concurrency limit is a tenth or more away from the one that was reported last.
    LimitChanged {
        /// The name of the limit.
        name: Name,
        /// The limit that was reported last.
        from: u32,
        /// The limit now.
        to: u32,
    },
    /// A concurrency limit rejected calls; reported once a second at most.
    LimitReached {
        /// The name of the limit.
        name: Name,
        /// The limit.
        limit: u32,
        /// How many calls were rejected since the last report.
        rejected: u64,
    },
    /// An event of a layer that is not part of towerkit.
    Other {
        /// The kind of layer, in `snake_case`.
        layer: &'static str,
        /// The name of the layer's instance.
        name: Name,
        /// The kind of event, in `snake_case`.
        event: &'static str,
        /// A message for people: not a label of a metric, so that it may have any value.
        message: Cow<'static, str>,
    },
}

/// A receiver of [`Event`]s. Logs and metrics implement it, and any function of an event does.
///
/// It is called on the thread of the call that caused the event, after the locks of the layer are released. A panic in it is
/// caught.
pub trait EventSink: Send + Sync {
    /// Receives one event.
    fn emit(&self, event: &Event);
}

impl<F: Fn(&Event) + Send + Sync> EventSink for F {
    fn emit(&self, event: &Event) {
        self(event);
    }
}

/// The events of a layer in order, on their way to its [`EventSink`].
///
/// Call [`push`](Self::push) under the lock that protects the state in question, and [`deliver`](Self::deliver) after its release.
/// One thread at a time delivers the events of all threads, so that the sink receives them in order, one at a time, and delays no
/// lock. At most 1,024 events wait for a busy sink; after that the oldest event is dropped, so that the last event always arrives.
#[derive(Default)]
pub struct EventQueue {
    sink: Option<Arc<dyn EventSink>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Event>,
    delivering: bool,
}

impl EventQueue {
    /// The maximum number of events that wait for a busy sink.
    pub const CAPACITY: usize = 1024;

    /// Makes a queue for `sink`. Without a sink, which is the default, events are dropped.
    #[must_use]
    pub fn new(sink: Option<Arc<dyn EventSink>>) -> Self {
        Self {
            sink,
            queue: Mutex::default(),
        }
    }

    /// Returns true if there is a sink, so that a layer makes no event that would be dropped.
    #[must_use]
    pub fn has_sink(&self) -> bool {
        self.sink.is_some()
    }

    /// Appends an event. Calls no user code.
    pub fn push(&self, event: Event) {
        if self.has_sink() {
            let mut queue = self.queue();
            if queue.waiting.len() == Self::CAPACITY {
                queue.waiting.pop_front();
            }
            queue.waiting.push_back(event);
        }
    }

    /// Delivers the waiting events, unless another thread is delivering them.
    pub fn deliver(&self) {
        let Some(sink) = &self.sink else { return };
        let mut queue = self.queue();
        if queue.delivering {
            return;
        }
        queue.delivering = true;
        while let Some(event) = queue.waiting.pop_front() {
            drop(queue);
            // A panic in the sink must not become the panic of the call, which may be unwinding already.
            let _ = catch_unwind(AssertUnwindSafe(|| sink.emit(&event)));
            queue = self.queue();
        }
        queue.delivering = false;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes an empty queue for the same sink.
impl Clone for EventQueue {
    fn clone(&self) -> Self {
        Self::new(self.sink.clone())
    }
}

impl fmt::Debug for EventQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventQueue")
            .field("waiting", &self.queue().waiting.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(to: &'static str) -> Event {
        Event::CircuitChanged {
            name: "test".into(),
            from: "closed",
            to,
        }
    }

    #[test]
    fn events_arrive_in_order_even_from_inside_the_sink() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let queue = Arc::new_cyclic(|queue: &std::sync::Weak<EventQueue>| {
            let (seen, queue) = (seen.clone(), queue.clone());
            let sink = move |event: &Event| {
                seen.lock().unwrap().push(event.clone());
                if *event == changed("first") {
                    let queue = queue.upgrade().unwrap();
                    queue.push(changed("third"));
                    queue.deliver();
                }
            };
            EventQueue::new(Some(Arc::new(sink)))
        });
        queue.push(changed("first"));
        queue.push(changed("second"));
        queue.deliver();
        let expected = ["first", "second", "third"].map(changed);
        assert_eq!(*seen.lock().unwrap(), expected);
    }

    #[test]
    fn a_sink_that_panics_is_called_again_for_the_next_event() {
        let seen = Arc::new(Mutex::new(0));
        let count = seen.clone();
        let queue = EventQueue::new(Some(Arc::new(move |_: &Event| {
            *count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            panic!("sink");
        })));
        for _ in 0..2 {
            queue.push(changed("open"));
            queue.deliver();
        }
        assert_eq!(*seen.lock().unwrap_or_else(PoisonError::into_inner), 2);
    }

    #[test]
    fn a_busy_sink_does_not_make_the_queue_grow_without_bound() {
        let queue = EventQueue::new(Some(Arc::new(|_: &Event| {})));
        for _ in 0..2 * EventQueue::CAPACITY {
            queue.push(changed("open"));
        }
        queue.push(changed("closed"));
        assert_eq!(queue.queue().waiting.len(), EventQueue::CAPACITY);
        assert_eq!(queue.queue().waiting.back(), Some(&changed("closed")));
    }

    #[test]
    fn a_clone_has_the_sink_and_no_events() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let events = seen.clone();
        let queue = EventQueue::new(Some(Arc::new(move |event: &Event| {
            events.lock().unwrap().push(event.clone());
        })));
        queue.push(changed("first"));
        let clone = queue.clone();
        assert!(clone.has_sink());
        clone.push(changed("second"));
        clone.deliver();
        assert_eq!(*seen.lock().unwrap(), [changed("second")]);
        assert!(!EventQueue::default().clone().has_sink());
    }
}
