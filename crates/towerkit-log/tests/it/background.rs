//! The background writer, for the threads that log and for the reader of the log.

use std::{
    fs::File,
    io,
    io::{ErrorKind, Read, Write, pipe},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use towerkit_log::{Background, Format, LogGuard, subscriber};
use tracing::{Dispatch, dispatcher::with_default, info};
use tracing_subscriber::fmt::MakeWriter;

use crate::read::pairs;

/// The limit of all waits, which only a hanging test reaches.
const LONG: Duration = Duration::from_secs(30);

fn start<W>(format: Format, background: Background, writer: W) -> (Dispatch, LogGuard)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let subscriber = subscriber(format).writer(writer);
    let (subscriber, guard) = subscriber.background(background).unwrap();
    (subscriber.dispatch(), guard)
}

fn small() -> Background {
    Background::new().bytes(NonZeroUsize::new(4096).unwrap())
}

/// A writer with configured faults, which records the written bytes.
#[derive(Clone, Default)]
struct FaultyWriter(Arc<Mutex<Written>>);

#[derive(Default)]
struct Written {
    text: Vec<u8>,
    /// The faults of the next writes, the last one first.
    faults: Vec<Fault>,
    flushes: usize,
}

#[derive(Clone, Copy)]
enum Fault {
    Error(ErrorKind),
    /// No byte is written, without an error.
    Zero,
    Panic,
    /// The write succeeds.
    Success,
    /// Only this number of bytes is written.
    Short(usize),
}

impl FaultyWriter {
    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.written().text.clone()).unwrap()
    }

    /// Sets the faults of the next writes, the last one first.
    fn set_faults(&self, faults: &[Fault]) {
        self.written().faults = faults.to_vec();
    }
}

impl Write for FaultyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut written = self.written();
        match written.faults.pop() {
            Some(Fault::Error(kind)) => Err(kind.into()),
            Some(Fault::Zero) => Ok(0),
            Some(Fault::Panic) => {
                drop(written);
                panic!("writer")
            }
            Some(Fault::Short(count)) => written.text.write(&bytes[..count]),
            Some(Fault::Success) | None => written.text.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.written().flushes += 1;
        Ok(())
    }
}

fn start_faulty(background: Background) -> (FaultyWriter, Dispatch, LogGuard) {
    let writer = FaultyWriter::default();
    let clone = writer.clone();
    let (dispatch, guard) = start(Format::Logfmt, background, move || clone.clone());
    (writer, dispatch, guard)
}

fn log(dispatch: &Dispatch, n: u64) {
    with_default(dispatch, || info!(n));
}

/// The value of a field in each line that has it.
fn values(text: &str, name: &str) -> Vec<String> {
    let lines = text.lines().map(|line| pairs(Format::Logfmt, line));
    let value = |pairs: Vec<(String, String)>| pairs.into_iter().find(|pair| pair.0 == name);
    lines.filter_map(value).map(|pair| pair.1).collect()
}

#[test]
fn all_lines_are_written_after_a_flush_and_after_the_guard_is_dropped() {
    let (writer, dispatch, guard) = start_faulty(Background::new());
    log(&dispatch, 1);
    log(&dispatch, 2);
    assert!(guard.queue().flush(LONG));
    assert_eq!(values(&writer.text(), "n"), ["1", "2"]);
    assert!(guard.queue().flush(LONG), "no line is waiting");
    assert!(writer.written().flushes > 0);
    log(&dispatch, 3);
    let queue = guard.queue().clone();
    drop(guard);
    assert_eq!(values(&writer.text(), "n"), ["1", "2", "3"]);
    assert_eq!(queue.dropped(), 0);
    log(&dispatch, 4);
    assert_eq!(values(&writer.text(), "n"), ["1", "2", "3", "4"], "at once");
    assert_eq!(queue.dropped(), 0);
    assert!(queue.flush(LONG));
}

/// LG-05: a pipe without a reader blocks no call, which would block this test, and the log reports its lost lines afterwards.
#[test]
fn a_blocked_pipe_blocks_no_call_and_dropped_lines_are_reported() {
    let (reader, writer) = pipe().unwrap();
    let (dispatch, guard) = start(Format::Logfmt, small(), Arc::new(writer));
    let mut logged = 0_u64;
    while logged < 5000 || guard.queue().flush(Duration::from_millis(20)) {
        log(&dispatch, logged);
        logged += 1;
    }
    let queue = guard.queue().clone();
    let read = thread::spawn(move || {
        let mut text = String::new();
        { reader }.read_to_string(&mut text).unwrap();
        text
    });
    drop((guard, dispatch));
    let text = read.join().unwrap();
    let written = values(&text, "n").len() as u64;
    let reported: u64 = values(&text, "dropped")
        .iter()
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    assert_eq!((written + reported, reported), (logged, queue.dropped()));
}

/// Other writers of lines can write into the queue.
#[test]
fn the_queue_is_a_writer_for_other_formats() {
    let written = FaultyWriter::default();
    let writer = written.clone();
    let (queue, guard) = Background::default()
        .start(Format::Logfmt, move || writer.clone())
        .unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(queue);
    tracing::subscriber::with_default(subscriber.finish(), || info!(n = 1, "other"));
    drop(guard);
    assert!(
        written.text().ends_with("other n=1\n"),
        "{}",
        written.text()
    );
}

/// LG-05: the end does not wait forever for a blocked pipe.
#[test]
fn the_guard_waits_for_a_blocked_pipe_until_the_shutdown_timeout() {
    let (reader, writer) = pipe().unwrap();
    let timeout = Duration::from_millis(50);
    let (dispatch, guard) = start(
        Format::Logfmt,
        small().shutdown_timeout(timeout),
        Arc::new(writer),
    );
    while guard.queue().dropped() == 0 || guard.queue().flush(Duration::from_millis(20)) {
        log(&dispatch, 0);
    }
    let began = Instant::now();
    drop(guard);
    let took = began.elapsed();
    assert!(took >= timeout && took < LONG, "{took:?}");
    drop(reader);
}

/// LG-05
#[test]
fn a_writer_that_always_fails_loses_only_its_lines() {
    let full = Arc::new(File::options().write(true).open("/dev/full").unwrap());
    let (reader, closed) = pipe().unwrap();
    drop(reader);
    for (dispatch, guard) in [
        start(Format::Json, Background::new(), full),
        start(Format::Json, Background::new(), Arc::new(closed)),
        start(Format::Json, Background::new(), || -> FaultyWriter {
            panic!("no writer")
        }),
    ] {
        (0..100).for_each(|n| log(&dispatch, n));
        assert!(guard.queue().flush(LONG));
        assert_eq!(guard.queue().dropped(), 100);
        log(&dispatch, 100);
        let queue = guard.queue().clone();
        drop(guard);
        assert_eq!(queue.dropped(), 101, "the thread continues");
    }
}

/// LG-05: the lines after a fault are complete.
#[test]
fn an_incomplete_line_is_separated_from_the_next() {
    for (faults, kept_bytes) in [
        (&[Fault::Error(ErrorKind::StorageFull)][..], 0),
        (&[Fault::Panic], 0),
        (&[Fault::Zero], 0),
        (&[Fault::Error(ErrorKind::BrokenPipe), Fault::Short(7)], 8),
        (&[Fault::Panic, Fault::Short(30)], 31),
    ] {
        let (writer, dispatch, guard) = start_faulty(Background::new());
        writer.set_faults(faults);
        log(&dispatch, 1);
        assert!(guard.queue().flush(LONG));
        assert_eq!(guard.queue().dropped(), 1);
        log(&dispatch, 2);
        let queue = guard.queue().clone();
        drop(guard);
        let text = writer.text();
        assert_eq!(
            text.lines().count(),
            2 + usize::from(kept_bytes > 0),
            "{text}"
        );
        assert_eq!(values(&text[kept_bytes..], "n"), ["2"], "{text}");
        assert_eq!(values(&text[kept_bytes..], "dropped"), ["1"], "{text}");
        assert_eq!(
            values(&text[kept_bytes..], "msg"),
            ["lines dropped"],
            "{text}"
        );
        assert_eq!(queue.dropped(), 1);
    }
}

#[test]
fn a_write_that_would_block_is_retried() {
    let (writer, dispatch, guard) = start_faulty(Background::new());
    let faults = [
        Fault::Error(ErrorKind::WouldBlock),
        Fault::Short(3),
        Fault::Error(ErrorKind::Interrupted),
        Fault::Error(ErrorKind::WouldBlock),
    ];
    writer.set_faults(&faults);
    log(&dispatch, 1);
    drop(guard);
    assert_eq!(values(&writer.text(), "n"), ["1"]);
}

#[test]
fn a_line_longer_than_the_queue_is_dropped() {
    let background = Background::new().bytes(NonZeroUsize::new(150).unwrap());
    let (writer, dispatch, guard) = start_faulty(background.lines(NonZeroUsize::MIN));
    with_default(&dispatch, || info!(value = "long ".repeat(100)));
    log(&dispatch, 2);
    drop(guard);
    let text = writer.text();
    assert_eq!(values(&text, "n"), ["2"]);
    assert_eq!(values(&text, "dropped"), ["1"]);
}

#[test]
fn a_lost_report_of_dropped_lines_is_repeated() {
    let background = Background::new().bytes(NonZeroUsize::new(150).unwrap());
    let (writer, dispatch, guard) = start_faulty(background);
    let too_long = || with_default(&dispatch, || info!(value = "long ".repeat(100)));
    too_long();
    writer.set_faults(&[Fault::Error(ErrorKind::StorageFull), Fault::Success]);
    log(&dispatch, 1);
    assert!(guard.queue().flush(LONG));
    too_long();
    log(&dispatch, 2);
    drop(guard);
    let text = writer.text();
    assert_eq!(values(&text, "n"), ["1", "2"]);
    assert_eq!(values(&text, "dropped"), ["2"]);
}

/// The writer logs into its own queue.
#[test]
fn a_writer_that_logs_neither_hangs_nor_recurses() {
    static DISPATCH: OnceLock<Dispatch> = OnceLock::new();
    struct Logs;
    impl Write for Logs {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            log(DISPATCH.get().unwrap(), 0);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let (dispatch, guard) = start(Format::Logfmt, Background::new(), || Logs);
    log(DISPATCH.get_or_init(|| dispatch), 1);
    assert!(guard.queue().flush(LONG));
    let queue = guard.queue().clone();
    drop(guard);
    assert!(queue.dropped() > 0, "lines after the end are dropped");
}

#[test]
fn the_writer_is_dropped_with_the_last_queue() {
    struct Last(Arc<AtomicBool>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let is_dropped = Arc::new(AtomicBool::new(false));
    let last = Last(is_dropped.clone());
    let (dispatch, guard) = start(Format::Logfmt, Background::new(), move || {
        let _ = &last;
        io::sink()
    });
    let _queue = guard.queue().clone();
    drop(guard);
    assert!(!is_dropped.load(Ordering::SeqCst), "the subscriber may log");
    drop(dispatch);
    assert!(is_dropped.load(Ordering::SeqCst));
}

/// Lines accumulate while one line is being written.
#[test]
fn lines_are_written_in_batches() {
    struct Slow(mpsc::Sender<usize>, Arc<Mutex<mpsc::Receiver<()>>>);
    impl Write for &Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .send(bytes.iter().filter(|byte| **byte == b'\n').count())
                .unwrap();
            self.1.lock().unwrap().recv().unwrap();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl<'a> MakeWriter<'a> for Slow {
        type Writer = &'a Self;
        fn make_writer(&'a self) -> &'a Self {
            self
        }
    }
    let (writes, written) = mpsc::channel();
    let (go, gate) = mpsc::channel();
    let slow = Slow(writes, Arc::new(Mutex::new(gate)));
    let (dispatch, guard) = start(Format::Logfmt, Background::new(), slow);
    log(&dispatch, 0);
    assert_eq!(written.recv().unwrap(), 1);
    (0..1000).for_each(|n| log(&dispatch, n));
    go.send(()).unwrap();
    go.send(()).unwrap();
    assert_eq!(written.recv().unwrap(), 1000);
    assert!(guard.queue().flush(LONG));
}
