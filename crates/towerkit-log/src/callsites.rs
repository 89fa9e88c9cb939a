//! The [`tracing`] callsites of call events, created at run time because applications add fields to them.

use std::{
    cell::Cell,
    ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};

use tracing::{Event, Level, Metadata, field::Value};
use tracing_core::{
    Interest, Kind,
    callsite::{self, Callsite, Identifier},
    dispatcher,
    field::FieldSet,
};

use crate::encode::{EncodedName, Json, Logfmt, MESSAGE, encode_names};

const TARGET: &str = "towerkit::call";

/// The fields of every call event, in order. Fields of the application follow.
pub(crate) const FIELDS: [&str; 17] = [
    MESSAGE,
    "operation",
    "method",
    PATH,
    "status",
    "code",
    "outcome",
    "latency_ms",
    "bytes",
    "cancelled",
    "panicked",
    "rejected",
    "deadline_ms",
    CLIENT_ADDRESS,
    REQUEST_ID,
    "trace_id",
    "span_id",
];

/// The fields that an application may replace.
pub(crate) const PATH: &str = "path";
pub(crate) const CLIENT_ADDRESS: &str = "client_address";
pub(crate) const REQUEST_ID: &str = "request_id";

/// The fields with values from a fixed set or in hexadecimal, which need neither escaping nor redaction.
const TRUSTED: [&str; 4] = ["outcome", "rejected", "trace_id", "span_id"];

const LEVELS: [Level; 5] = [
    Level::ERROR,
    Level::WARN,
    Level::INFO,
    Level::DEBUG,
    Level::TRACE,
];

/// One callsite per [`Level`], all with the same fields.
pub(crate) struct CallsiteSet {
    callsites: [LevelCallsite; LEVELS.len()],
    fields: Box<[CallField]>,
}

/// A field of call events, with its name encoded in each format.
pub(crate) struct CallField {
    pub(crate) name: &'static str,
    pub(crate) is_trusted: bool,
    pub(crate) json: EncodedName,
    pub(crate) logfmt: EncodedName,
}

/// The callsite of one level.
struct LevelCallsite {
    interest: AtomicU8,
    metadata: OnceLock<Metadata<'static>>,
}

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

thread_local! {
    /// The call event that this thread is dispatching.
    static CURRENT: Cell<Option<CurrentEvent>> = const { Cell::new(None) };
}

type CurrentEvent = (&'static CallsiteSet, &'static Metadata<'static>);

impl CallsiteSet {
    /// Returns the callsites with these fields in addition to [`FIELDS`].
    ///
    /// Callsites live until the process ends, as [`tracing_core`] requires. Each list of fields has one set.
    pub(crate) fn with_extra_fields(extra: &[&'static str]) -> &'static Self {
        static ALL: Mutex<Vec<&'static CallsiteSet>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let has_fields = |set: &&&'static Self| {
            let names = set.fields[FIELDS.len()..].iter();
            names.map(|field| field.name).eq(extra.iter().copied())
        };
        if let Some(known) = all.iter().find(has_fields) {
            return known;
        }
        let set: &'static Self = Box::leak(Box::new(Self::new(extra)));
        set.init_metadata();
        all.push(set);
        drop(all);
        set.callsites
            .iter()
            .for_each(|callsite| callsite::register(callsite));
        set
    }

    fn new(extra: &[&'static str]) -> Self {
        let names: Vec<_> = FIELDS.iter().chain(extra).copied().collect();
        let (json, logfmt) = (encode_names::<Json>(&names), encode_names::<Logfmt>(&names));
        let fields = names.iter().zip(json).zip(logfmt);
        Self {
            callsites: LEVELS.map(|_| LevelCallsite {
                // Until the callsite is registered, the subscriber is asked for each event.
                interest: AtomicU8::new(SOMETIMES),
                metadata: OnceLock::new(),
            }),
            fields: fields
                .map(|((name, json), logfmt)| CallField {
                    name,
                    is_trusted: TRUSTED.contains(name),
                    json,
                    logfmt,
                })
                .collect(),
        }
    }

    fn init_metadata(&'static self) {
        let names: Vec<_> = self.fields.iter().map(|field| field.name).collect();
        let names: &'static [&'static str] = names.leak();
        for (callsite, level) in self.callsites.iter().zip(LEVELS) {
            callsite.metadata.get_or_init(|| {
                let fields = FieldSet::new(names, Identifier(callsite));
                Metadata::new("call", TARGET, level, None, None, None, fields, Kind::EVENT)
            });
        }
    }

    /// Returns the number of fields in addition to [`FIELDS`].
    pub(crate) fn extra_fields(&self) -> usize {
        self.fields.len() - FIELDS.len()
    }

    /// Returns true if the subscriber enables an event of any level.
    pub(crate) fn is_any_enabled(&self) -> bool {
        self.callsites.iter().any(LevelCallsite::is_enabled)
    }

    /// Dispatches an event if it is enabled. `values` are in the order of the fields.
    pub(crate) fn dispatch(&'static self, level: Level, values: &[Option<&dyn Value>]) {
        let index = LEVELS.iter().position(|known| *known == level);
        let callsite = &self.callsites[index.unwrap_or(0)];
        let Some(metadata) = callsite.metadata.get().filter(|_| callsite.is_enabled()) else {
            return;
        };
        let _current = SetCurrent::new((self, metadata));
        Event::dispatch(metadata, &metadata.fields().value_set_all(values));
    }

    /// Returns the fields of a call event that this thread is dispatching, and [`None`] for other events.
    pub(crate) fn current_fields(metadata: &Metadata<'_>) -> Option<&'static [CallField]> {
        let (set, current) = CURRENT.try_with(Cell::get).ok().flatten()?;
        ptr::eq(ptr::from_ref(current).cast(), ptr::from_ref(metadata)).then_some(&*set.fields)
    }
}

/// Sets [`CURRENT`], and restores the previous value on drop, even if a subscriber panics.
struct SetCurrent(Option<CurrentEvent>);

impl SetCurrent {
    fn new(event: CurrentEvent) -> Self {
        let event = Some(event);
        Self(CURRENT.try_with(|cell| cell.replace(event)).ok().flatten())
    }
}

impl Drop for SetCurrent {
    fn drop(&mut self) {
        let _ = CURRENT.try_with(|cell| cell.set(self.0));
    }
}

impl LevelCallsite {
    #[inline]
    fn is_enabled(&self) -> bool {
        // Relaxed: a late update only affects which events around the change are logged.
        match self.interest.load(Ordering::Relaxed) {
            NEVER => false,
            ALWAYS => true,
            _ => self.metadata.get().is_some_and(|metadata| {
                dispatcher::get_default(|subscriber| subscriber.enabled(metadata))
            }),
        }
    }
}

impl Callsite for LevelCallsite {
    fn set_interest(&self, interest: Interest) {
        let interest = if interest.is_always() {
            ALWAYS
        } else if interest.is_never() {
            NEVER
        } else {
            SOMETIMES
        };
        self.interest.store(interest, Ordering::Relaxed);
    }

    fn metadata(&self) -> &Metadata<'_> {
        self.metadata
            .get()
            .expect("metadata is set before the callsite is registered")
    }
}
