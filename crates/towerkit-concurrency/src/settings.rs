use std::sync::Arc;

use towerkit_core::{Clock, EventSink};

use crate::{Adaptive, Classes, Queue};

/// What a limit is told before it is shared.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) limit: u32,
    pub(crate) adaptive: Option<Adaptive>,
    pub(crate) classes: Classes,
    pub(crate) queue: Option<Queue>,
    pub(crate) name: &'static str,
    pub(crate) clock: Clock,
    pub(crate) sink: Option<Arc<dyn EventSink>>,
    /// Whether services are not ready while there is no room.
    pub(crate) backpressure: bool,
}

impl Settings {
    pub(crate) fn new(limit: u32) -> Self {
        Self {
            limit,
            adaptive: None,
            classes: Classes::new(),
            queue: None,
            name: "concurrency",
            clock: Clock::default(),
            sink: None,
            backpressure: false,
        }
    }
}
