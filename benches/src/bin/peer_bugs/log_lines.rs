use std::{
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use towerkit_log::{Format, LineFormatter};
use tracing::{Dispatch, dispatcher::with_default};
use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

use crate::Bug;

const PEER: &str = "tracing-subscriber";

pub(crate) fn bugs() -> Vec<Bug> {
    vec![
        values_panic(),
        values_grow(),
        text_is_turned_around(),
        secrets_are_written(),
    ]
}

/// A `Display` that panics, in a field of an event.
fn values_panic() -> Bug {
    struct Panics;
    impl fmt::Display for Panics {
        fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
            panic!("a bug")
        }
    }
    let outcome = |dispatch: &Dispatch| {
        let log = || {
            with_default(dispatch, || {
                tracing::info!(value = display(Panics), "hello");
            });
        };
        match catch_unwind(AssertUnwindSafe(log)) {
            Ok(()) => "goes on",
            Err(_) => "panics",
        }
        .to_owned()
    };
    let out = Out::default();
    Bug {
        id: "LG-06",
        peer: PEER,
        what: "`fmt().json()`, a field whose `Display` panics: who logs",
        expected: "goes on",
        observed: outcome(&theirs(&out)),
        ours: outcome(&ours(&out)),
    }
}

fn values_grow() -> Bug {
    let value = "x".repeat(10_000_000);
    let length = |make: fn(&Out) -> Dispatch| {
        let line = logged(make, || tracing::info!(value, "hello"));
        format!("{} bytes", line.len())
    };
    Bug {
        id: "LG-08",
        peer: PEER,
        what: "`fmt().json()`, a value of 10 MB: the line has",
        expected: "at most 64 KiB",
        observed: length(theirs),
        ours: length(ours),
    }
}

/// U+202E reverses the text after it on a terminal.
fn text_is_turned_around() -> Bug {
    let written = |make: fn(&Out) -> Dispatch| {
        let line = logged(make, || tracing::info!(value = "a\u{202e}b", "hello"));
        let is_raw = String::from_utf8_lossy(&line).contains('\u{202e}');
        if is_raw { "as it is" } else { "escaped" }.to_owned()
    };
    Bug {
        id: "LG-03",
        peer: PEER,
        what: "`fmt().json()`, U+202E in a value: written",
        expected: "escaped",
        observed: written(theirs),
        ours: written(ours),
    }
}

fn secrets_are_written() -> Bug {
    let written = |make: fn(&Out) -> Dispatch| {
        let line = logged(make, || {
            tracing::info!(
                authorization = "Bearer hunter2hunter2",
                url = "/a?token=hunter2",
                "call"
            );
        });
        let text = String::from_utf8_lossy(&line).into_owned();
        text.matches("hunter2").count().min(2).to_string()
    };
    Bug {
        id: "LG-04",
        peer: PEER,
        what: "`fmt().json()`, a field `authorization` and a query with a token: secrets written",
        expected: "0",
        observed: written(theirs),
        ours: written(ours),
    }
}

fn theirs(out: &Out) -> Dispatch {
    let subscriber = tracing_subscriber::fmt().json().with_writer(out.clone());
    Dispatch::new(subscriber.finish())
}

fn ours(out: &Out) -> Dispatch {
    let lines = LineFormatter::new(Format::Json).writer(out.clone());
    Dispatch::new(tracing_subscriber::registry().with(lines))
}

/// What is written of what `log` logs.
fn logged(make: fn(&Out) -> Dispatch, log: impl FnOnce()) -> Vec<u8> {
    let out = Out::default();
    with_default(&make(&out), log);
    std::mem::take(&mut out.0.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Keeps what is written.
#[derive(Debug, Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl io::Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Out {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}
