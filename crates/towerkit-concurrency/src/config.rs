use towerkit_core::{Clock, EventQueue, Name};

use crate::{Adaptive, PriorityClasses, Queue};

/// The options of a [`ConcurrencyLimitLayer`](crate::ConcurrencyLimitLayer).
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) limit: u32,
    pub(crate) adaptive: Option<Adaptive>,
    pub(crate) classes: PriorityClasses,
    pub(crate) queue: Option<Queue>,
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    pub(crate) events: EventQueue,
    pub(crate) backpressure: bool,
}

impl Config {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            adaptive: None,
            classes: PriorityClasses::new(),
            queue: None,
            name: Name::new("concurrency"),
            clock: Clock::default(),
            events: EventQueue::default(),
            backpressure: false,
        }
    }
}
