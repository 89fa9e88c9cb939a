//! Where the events of calls come from, as `tracing` knows it: made by hand, since an application adds fields of its own to them.

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

use crate::{
    encode::Encode,
    json::Json,
    line::{HEAD, MESSAGE, MSG},
    logfmt::Logfmt,
};

pub(crate) const TARGET: &str = "towerkit::call";

/// The fields of every event of a call, in their order; those that an application adds follow.
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

/// The fields in whose place an application may put its own.
pub(crate) const PATH: &str = "path";
pub(crate) const CLIENT_ADDRESS: &str = "client_address";
pub(crate) const REQUEST_ID: &str = "request_id";

/// The fields of which no value needs an escape or holds a secret: outcomes, reasons and ids.
const CONSTANT: [&str; 4] = ["outcome", "rejected", "trace_id", "span_id"];

const LEVELS: [Level; 5] = [
    Level::ERROR,
    Level::WARN,
    Level::INFO,
    Level::DEBUG,
    Level::TRACE,
];

/// The events of calls with the same fields, one for each level.
pub(crate) struct Sites {
    sites: [Site; LEVELS.len()],
    fields: Box<[Name]>,
}

/// The name of a field.
pub(crate) struct Name {
    pub(crate) name: &'static str,
    pub(crate) is_constant: bool,
    json: Spelt,
    logfmt: Spelt,
}

/// What stands in a line between the value before a field and its own.
pub(crate) struct Spelt {
    pub(crate) text: Box<[u8]>,
    /// Where the name stands in it.
    pub(crate) name: [usize; 2],
}

/// Picks the spelling of a format.
pub(crate) trait SpeltAs: Encode {
    fn of(name: &Name) -> &Spelt;
}

impl SpeltAs for Json {
    #[inline(always)]
    fn of(name: &Name) -> &Spelt {
        &name.json
    }
}

impl SpeltAs for Logfmt {
    #[inline(always)]
    fn of(name: &Name) -> &Spelt {
        &name.logfmt
    }
}

/// The event of one level.
struct Site {
    interest: AtomicU8,
    metadata: OnceLock<Metadata<'static>>,
}

const NEVER: u8 = 0;
const SOMETIMES: u8 = 1;
const ALWAYS: u8 = 2;

thread_local! {
    /// The event that this thread tells subscribers of.
    static TOLD: Cell<Option<(&'static Sites, &'static Metadata<'static>)>> = const { Cell::new(None) };
}

impl Sites {
    /// Returns the events that have these fields besides [`FIELDS`].
    ///
    /// They live as long as the process, as `tracing` asks of them, and are made once for the same fields.
    pub(crate) fn with(own: &[&'static str]) -> &'static Self {
        static ALL: Mutex<Vec<&'static Sites>> = Mutex::new(Vec::new());
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        let has_them = |sites: &&&'static Self| {
            let names = sites.fields[FIELDS.len()..].iter();
            names.map(|field| field.name).eq(own.iter().copied())
        };
        if let Some(known) = all.iter().find(has_them) {
            return known;
        }
        let sites: &'static Self = Box::leak(Box::new(Self::new(own)));
        sites.describe();
        all.push(sites);
        drop(all);
        sites.sites.iter().for_each(|site| callsite::register(site));
        sites
    }

    fn new(own: &[&'static str]) -> Self {
        let names: Vec<_> = FIELDS.iter().chain(own).copied().collect();
        let [json, logfmt] = [spell::<Json>(&names), spell::<Logfmt>(&names)];
        let fields = names.iter().zip(json).zip(logfmt);
        Self {
            sites: LEVELS.map(|_| Site {
                // Until they are registered, subscribers are asked each time.
                interest: AtomicU8::new(SOMETIMES),
                metadata: OnceLock::new(),
            }),
            fields: fields
                .map(|((name, json), logfmt)| Name {
                    name,
                    is_constant: CONSTANT.contains(name),
                    json,
                    logfmt,
                })
                .collect(),
        }
    }

    fn describe(&'static self) {
        let names: Vec<_> = self.fields.iter().map(|field| field.name).collect();
        let names: &'static [&'static str] = names.leak();
        for (site, level) in self.sites.iter().zip(LEVELS) {
            site.metadata.get_or_init(|| {
                let fields = FieldSet::new(names, Identifier(site));
                Metadata::new("call", TARGET, level, None, None, None, fields, Kind::EVENT)
            });
        }
    }

    /// Returns how many fields there are besides [`FIELDS`].
    pub(crate) fn own(&self) -> usize {
        self.fields.len() - FIELDS.len()
    }

    /// Whether a subscriber wants an event of any level.
    pub(crate) fn is_any_enabled(&self) -> bool {
        self.sites.iter().any(Site::is_enabled)
    }

    /// Tells the subscriber of a call, if it wants to know; `values` are those of the fields, in their order.
    pub(crate) fn tell(&'static self, level: Level, values: &[Option<&dyn Value>]) {
        let site = &self.sites[LEVELS.iter().position(|known| *known == level).unwrap_or(0)];
        let Some(metadata) = site.metadata.get().filter(|_| site.is_enabled()) else {
            return;
        };
        let _told = Told::now(self, metadata);
        Event::dispatch(metadata, &metadata.fields().value_set_all(values));
    }

    /// Returns the fields of an event, if it is that of a call which this thread tells of.
    pub(crate) fn told(metadata: &Metadata<'_>) -> Option<&'static [Name]> {
        let told = TOLD.try_with(Cell::get).ok().flatten();
        let (sites, known) = told?;
        ptr::eq(ptr::from_ref(known).cast(), ptr::from_ref(metadata)).then_some(&*sites.fields)
    }
}

/// Puts back what was told before, also if a subscriber panics.
struct Told(Option<(&'static Sites, &'static Metadata<'static>)>);

impl Told {
    fn now(sites: &'static Sites, metadata: &'static Metadata<'static>) -> Self {
        let told = Some((sites, metadata));
        Self(TOLD.try_with(|cell| cell.replace(told)).ok().flatten())
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = TOLD.try_with(|cell| cell.set(self.0));
    }
}

impl Site {
    #[inline]
    fn is_enabled(&self) -> bool {
        // Relaxed: who hears late of a change is as one that came earlier.
        match self.interest.load(Ordering::Relaxed) {
            NEVER => false,
            ALWAYS => true,
            _ => self.metadata.get().is_some_and(|metadata| {
                dispatcher::get_default(|subscriber| subscriber.enabled(metadata))
            }),
        }
    }
}

impl Callsite for Site {
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
            .expect("described before it is registered")
    }
}

/// Spells the names of fields; a second one of a name becomes `name_2`, as in lines of any other event.
fn spell<E: Encode>(names: &[&'static str]) -> Vec<Spelt> {
    let mut taken: Vec<Vec<u8>> = HEAD.iter().map(|name| name.as_bytes().to_vec()).collect();
    let spell = |name: &&str| {
        let name = if *name == MESSAGE { MSG } else { *name };
        let mut spelt = Vec::new();
        E::name(&mut spelt, name);
        let (length, mut nth) = (spelt.len(), 1_u32);
        while taken.contains(&spelt) {
            nth += 1;
            spelt.truncate(length);
            spelt.extend_from_slice(format!("_{nth}").as_bytes());
        }
        taken.push(spelt.clone());
        let before = [E::COMMA, E::QUOTE].concat();
        let after = [E::QUOTE, E::COLON].concat();
        Spelt {
            name: [before.len(), before.len() + spelt.len()],
            text: [before.as_bytes(), &spelt, after.as_bytes()]
                .concat()
                .into(),
        }
    };
    names.iter().map(spell).collect()
}
