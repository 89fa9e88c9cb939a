//! Writers of all sorts, without a thread in between.

use std::{
    fs::File,
    io,
    io::{Write, pipe},
    sync::{Arc, Mutex},
};

use towerkit_log::{Format, subscriber};
use tracing::{Level, Metadata, dispatcher::with_default, info};
use tracing_subscriber::fmt::MakeWriter;

/// LG-05
#[test]
fn a_failing_writer_fails_no_call() {
    struct Panics;
    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("writer");
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let full = Arc::new(File::options().write(true).open("/dev/full").unwrap());
    let (reader, closed) = pipe().unwrap();
    drop(reader);
    let base = || subscriber(Format::Logfmt);
    for dispatch in [
        base().writer(full).dispatch(),
        base().writer(Arc::new(closed)).dispatch(),
        base().writer(|| Panics).dispatch(),
    ] {
        with_default(&dispatch, || info!("lost"));
    }
}

/// GK-SY-1: so that a system log can have the severity that belongs to a line.
#[test]
fn a_writer_gets_the_metadata_of_each_line() {
    #[derive(Clone, Default)]
    struct Severities(Arc<Mutex<Vec<Level>>>);
    impl<'a> MakeWriter<'a> for Severities {
        type Writer = io::Sink;
        fn make_writer(&'a self) -> io::Sink {
            panic!("it is not told")
        }
        fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> io::Sink {
            self.0.lock().unwrap().push(*metadata.level());
            io::sink()
        }
    }
    let severities = Severities::default();
    let subscriber = subscriber(Format::Logfmt).level(Level::TRACE);
    let dispatch = subscriber.writer(severities.clone()).dispatch();
    with_default(&dispatch, || {
        tracing::debug!("one");
        tracing::info!("two");
        tracing::warn!("three");
        tracing::error!("four");
    });
    let expected = [Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];
    assert_eq!(*severities.0.lock().unwrap(), expected);
}
