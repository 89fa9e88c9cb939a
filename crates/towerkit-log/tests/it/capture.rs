//! A subscriber that records its events.

use std::{
    fmt, mem,
    sync::{Arc, Mutex},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
    span,
    subscriber::DefaultGuard,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) level: Level,
    pub(crate) target: &'static str,
    pub(crate) fields: Vec<(&'static str, String)>,
}

impl Seen {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|field| field.0 == name);
        field.map(|field| field.1.as_str())
    }
}

#[derive(Clone)]
pub(crate) struct Capture {
    least: LevelFilter,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Capture {
    /// Captures the events of this thread, of that level and above, until the guard is dropped.
    pub(crate) fn start(least: LevelFilter) -> (Self, DefaultGuard) {
        let capture = Self {
            least,
            seen: Arc::default(),
        };
        (capture.clone(), tracing::subscriber::set_default(capture))
    }

    /// Takes the events since the last call.
    pub(crate) fn take(&self) -> Vec<Seen> {
        mem::take(&mut self.seen.lock().unwrap())
    }

    /// Takes the only event.
    pub(crate) fn only(&self) -> Seen {
        let mut seen = self.take();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

impl Subscriber for Capture {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("towerkit::") && *metadata.level() <= self.least
    }

    fn event(&self, event: &Event<'_>) {
        let mut seen = Seen {
            level: *event.metadata().level(),
            target: event.metadata().target(),
            fields: Vec::new(),
        };
        event.record(&mut seen);
        self.seen.lock().unwrap().push(seen);
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

impl Visit for Seen {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.fields.push((field.name(), value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.fields.push((field.name(), format!("{value:?}")));
    }
}
