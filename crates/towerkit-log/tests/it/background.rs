//! A writer in the background, as those see it who log, and its reader.

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

/// Nothing here takes as long, unless it hangs.
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

/// A sink that fails as it is told, and keeps what it takes.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Kept>>);

#[derive(Default)]
struct Kept {
    text: Vec<u8>,
    /// What happens to the next writes, before all go well.
    trouble: Vec<Trouble>,
    flushes: usize,
}

#[derive(Clone, Copy)]
enum Trouble {
    Error(ErrorKind),
    Nothing,
    Panic,
    /// None this time.
    Fine,
    /// So many bytes are taken.
    Short(usize),
}

impl Sink {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8(self.kept().text.clone()).unwrap()
    }

    /// The last comes first.
    fn trouble(&self, trouble: &[Trouble]) {
        self.kept().trouble = trouble.to_vec();
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut kept = self.kept();
        match kept.trouble.pop() {
            Some(Trouble::Error(kind)) => Err(kind.into()),
            Some(Trouble::Nothing) => Ok(0),
            Some(Trouble::Panic) => {
                drop(kept);
                panic!("writer")
            }
            Some(Trouble::Short(count)) => kept.text.write(&bytes[..count]),
            Some(Trouble::Fine) | None => kept.text.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.kept().flushes += 1;
        Ok(())
    }
}

fn sink(background: Background) -> (Sink, Dispatch, LogGuard) {
    let sink = Sink::default();
    let writer = sink.clone();
    let (dispatch, guard) = start(Format::Logfmt, background, move || writer.clone());
    (sink, dispatch, guard)
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
    let (sink, dispatch, guard) = sink(Background::new());
    log(&dispatch, 1);
    log(&dispatch, 2);
    assert!(guard.queue().flush(LONG));
    assert_eq!(values(&sink.text(), "n"), ["1", "2"]);
    assert!(guard.queue().flush(LONG), "there is nothing to wait for");
    assert!(sink.kept().flushes > 0);
    log(&dispatch, 3);
    let queue = guard.queue().clone();
    drop(guard);
    assert_eq!(values(&sink.text(), "n"), ["1", "2", "3"]);
    assert_eq!(queue.dropped(), 0);
    log(&dispatch, 4);
    assert_eq!(values(&sink.text(), "n"), ["1", "2", "3", "4"], "at once");
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
    let told: u64 = values(&text, "dropped")
        .iter()
        .map(|count| count.parse::<u64>().unwrap())
        .sum();
    assert_eq!((written + told, told), (logged, queue.dropped()));
}

/// Whatever else writes lines can write them into the queue.
#[test]
fn the_queue_is_a_writer_for_other_formats() {
    let sink = Sink::default();
    let writer = sink.clone();
    let (queue, guard) = Background::default()
        .start(Format::Logfmt, move || writer.clone())
        .unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(queue);
    tracing::subscriber::with_default(subscriber.finish(), || info!(n = 1, "other"));
    drop(guard);
    assert!(sink.text().ends_with("other n=1\n"), "{}", sink.text());
}

/// LG-05: nor does the end wait for a pipe that stays blocked.
#[test]
fn the_guard_waits_for_a_blocked_pipe_until_the_shutdown_timeout() {
    let (reader, writer) = pipe().unwrap();
    let patience = Duration::from_millis(50);
    let (dispatch, guard) = start(
        Format::Logfmt,
        small().shutdown_timeout(patience),
        Arc::new(writer),
    );
    while guard.queue().dropped() == 0 || guard.queue().flush(Duration::from_millis(20)) {
        log(&dispatch, 0);
    }
    let began = Instant::now();
    drop(guard);
    let took = began.elapsed();
    assert!(took >= patience && took < LONG, "{took:?}");
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
        start(Format::Json, Background::new(), || -> Sink {
            panic!("no writer")
        }),
    ] {
        (0..100).for_each(|n| log(&dispatch, n));
        assert!(guard.queue().flush(LONG));
        assert_eq!(guard.queue().dropped(), 100);
        log(&dispatch, 100);
        let queue = guard.queue().clone();
        drop(guard);
        assert_eq!(queue.dropped(), 101, "the thread goes on");
    }
}

/// LG-05: and what comes after the trouble is whole.
#[test]
fn an_incomplete_line_is_separated_from_the_next() {
    for (trouble, kept) in [
        (&[Trouble::Error(ErrorKind::StorageFull)][..], 0),
        (&[Trouble::Panic], 0),
        (&[Trouble::Nothing], 0),
        (
            &[Trouble::Error(ErrorKind::BrokenPipe), Trouble::Short(7)],
            8,
        ),
        (&[Trouble::Panic, Trouble::Short(30)], 31),
    ] {
        let (sink, dispatch, guard) = sink(Background::new());
        sink.trouble(trouble);
        log(&dispatch, 1);
        assert!(guard.queue().flush(LONG));
        assert_eq!(guard.queue().dropped(), 1);
        log(&dispatch, 2);
        let queue = guard.queue().clone();
        drop(guard);
        let text = sink.text();
        assert_eq!(text.lines().count(), 2 + usize::from(kept > 0), "{text}");
        assert_eq!(values(&text[kept..], "n"), ["2"], "{text}");
        assert_eq!(values(&text[kept..], "dropped"), ["1"], "{text}");
        assert_eq!(values(&text[kept..], "msg"), ["lines dropped"], "{text}");
        assert_eq!(queue.dropped(), 1);
    }
}

#[test]
fn a_write_that_would_block_is_retried() {
    let (sink, dispatch, guard) = sink(Background::new());
    let trouble = [
        Trouble::Error(ErrorKind::WouldBlock),
        Trouble::Short(3),
        Trouble::Error(ErrorKind::Interrupted),
        Trouble::Error(ErrorKind::WouldBlock),
    ];
    sink.trouble(&trouble);
    log(&dispatch, 1);
    drop(guard);
    assert_eq!(values(&sink.text(), "n"), ["1"]);
}

#[test]
fn a_line_longer_than_the_queue_is_dropped() {
    let background = Background::new().bytes(NonZeroUsize::new(150).unwrap());
    let (sink, dispatch, guard) = sink(background.lines(NonZeroUsize::MIN));
    with_default(&dispatch, || info!(value = "long ".repeat(100)));
    log(&dispatch, 2);
    drop(guard);
    let text = sink.text();
    assert_eq!(values(&text, "n"), ["2"]);
    assert_eq!(values(&text, "dropped"), ["1"]);
}

#[test]
fn a_lost_report_of_dropped_lines_is_repeated() {
    let background = Background::new().bytes(NonZeroUsize::new(150).unwrap());
    let (sink, dispatch, guard) = sink(background);
    let too_long = || with_default(&dispatch, || info!(value = "long ".repeat(100)));
    too_long();
    sink.trouble(&[Trouble::Error(ErrorKind::StorageFull), Trouble::Fine]);
    log(&dispatch, 1);
    assert!(guard.queue().flush(LONG));
    too_long();
    log(&dispatch, 2);
    drop(guard);
    let text = sink.text();
    assert_eq!(values(&text, "n"), ["1", "2"]);
    assert_eq!(values(&text, "dropped"), ["2"]);
}

/// A writer that logs, to itself, is no reason to hang or to grow.
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
    assert!(queue.dropped() > 0, "it came too late");
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

/// While one line is being written those that follow are gathered.
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
