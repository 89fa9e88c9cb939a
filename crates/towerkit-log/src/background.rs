use std::{
    cell::Cell,
    fmt, io,
    num::NonZeroUsize,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{
    Format,
    queue::{Bounds, Queue},
    worker::Worker,
};

/// Options of a writer in the background, which never holds up and never fails who logs.
///
/// Lines are copied into a queue, and one thread (`towerkit-log`) writes them, many at a time: a line after a pause at once, and those
/// that follow within five milliseconds, unless the writer is slower. Where the queue is full the line is
/// dropped and counted; so is one that the writer would not take. Once writing works again the log itself says how many: one line
/// with the message `lines dropped` and the field `dropped`.
///
/// ```no_run
/// use towerkit_log::{Background, Format};
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     let (subscriber, _guard) = towerkit_log::subscriber(Format::Json).background(Background::new())?;
///     subscriber.try_init()?;
///     tracing::info!("this takes no system call");
///     Ok(())
/// } // The guard is dropped here, and the last lines are written.
/// ```
#[derive(Debug, Clone)]
#[must_use = "it does nothing until it is started"]
pub struct Background {
    bounds: Bounds,
    shutdown_timeout: Duration,
}

impl Background {
    /// Holds 4 MiB and 65,536 lines at most, and waits one second at the end.
    pub const fn new() -> Self {
        Self {
            bounds: Bounds {
                bytes: 4 << 20,
                lines: 1 << 16,
            },
            shutdown_timeout: Duration::from_secs(1),
        }
    }

    /// Sets how many bytes wait at most; 4 MiB by default. A line that is longer is always dropped.
    ///
    /// Twice as much address space is taken at the start, and as much memory as has ever been filled.
    pub const fn bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.bounds.bytes = bytes.get();
        self
    }

    /// Sets how many lines wait at most; 65,536 by default.
    pub const fn lines(mut self, lines: NonZeroUsize) -> Self {
        self.bounds.lines = lines.get();
        self
    }

    /// Sets how long the drop of the [`LogGuard`] waits at most for the last lines; one second by default.
    pub const fn shutdown_timeout(mut self, shutdown_timeout: Duration) -> Self {
        self.shutdown_timeout = shutdown_timeout;
        self
    }

    /// Starts the thread, which writes to `writer`; `format` is that of the line that tells of dropped lines.
    ///
    /// [`LogSubscriber::background`](crate::LogSubscriber::background) does this for you. The queue is a writer for
    /// [`LineFormatter`](crate::LineFormatter) and for the layers of `tracing_subscriber::fmt`: every write into it is a line. `make_writer` of
    /// `writer` is called once for each batch of lines.
    ///
    /// # Errors
    ///
    /// If the thread cannot be started.
    pub fn start<W>(self, format: Format, writer: W) -> io::Result<(LogQueue, LogGuard)>
    where
        W: for<'a> MakeWriter<'a> + Send + 'static,
    {
        let shared = Arc::new(Shared {
            state: Mutex::new(State {
                queue: Queue::new(self.bounds),
                has_ended: false,
                is_stuck: false,
            }),
            shutdown_timeout: self.shutdown_timeout,
            wake: Condvar::new(),
            progress: Condvar::new(),
        });
        let last = Arc::default();
        let worker = Worker::new(shared.clone(), format, writer, self.bounds.bytes);
        let left = Arc::downgrade(&last);
        thread::Builder::new()
            .name("towerkit-log".to_owned())
            .spawn(move || worker.run(&left))?;
        let handle = LogQueue {
            shared: shared.clone(),
            last: None,
        };
        let guard = LogGuard { queue: handle };
        let last = Some(last);
        let queue = LogQueue { shared, last };
        Ok((queue, guard))
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

/// The queue of a writer in the [`Background`], and a handle on it. Clones are the same queue.
///
/// To write into it copies the line, under a lock that nobody holds for longer than such a copy takes; it allocates nothing, fails
/// never, and makes no system call unless the writing thread sleeps.
#[derive(Clone)]
pub struct LogQueue {
    shared: Arc<Shared>,
    /// For who writes, not for who looks on: so the writer is dropped when nobody can write any more.
    last: Option<Arc<Last>>,
}

impl LogQueue {
    /// Returns how many lines were dropped: for want of room, because they could not be written, or after the end.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock().queue.dropped()
    }

    /// Waits until what has been logged so far is written or lost, for `timeout` at most; returns whether it is.
    pub fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.shared.lock();
        let accepted = state.queue.hurry();
        self.shared.wake.notify_one();
        let waits = |state: &mut State| !state.queue.is_settled(accepted);
        let waited = self
            .shared
            .progress
            .wait_timeout_while(state, timeout, waits);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.queue.is_settled(accepted)
    }

    fn close(&self) {
        let mut state = self.shared.lock();
        state.queue.close();
        self.shared.wake.notify_one();
        self.shared.wait_for_the_end(state);
    }

    /// Writes a line that comes after the thread has ended. What a writer itself logs is dropped then.
    #[cold]
    fn write_last(&self, line: &[u8]) {
        let is_written = Writing::begin().is_some_and(|_writing| {
            self.shared.wait_for_the_end(self.shared.lock());
            self.last.as_ref().is_some_and(|last| {
                let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
                last.as_mut().is_some_and(|out| out.write_lines(line) == 0)
            })
        });
        if !is_written {
            self.shared.lock().queue.count_dropped();
        }
    }
}

/// This thread writes lines: those of its writer would wait for themselves.
pub(crate) struct Writing(());

thread_local! {
    static WRITES: Cell<bool> = const { Cell::new(false) };
}

impl Writing {
    /// Begins to write, unless this thread does already.
    pub(crate) fn begin() -> Option<Self> {
        (!WRITES.replace(true)).then_some(Self(()))
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        WRITES.set(false);
    }
}

impl io::Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        if state.queue.is_over() {
            drop(state);
            self.write_last(line);
        } else if state.queue.push(line) {
            drop(state);
            self.shared.wake.notify_one();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for LogQueue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl fmt::Debug for LogQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogQueue")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// Ends the thread of the [`Background`] when it is dropped: keep it until the end of `main`.
///
/// The drop waits for the last lines, as long as [`shutdown_timeout`](Background::shutdown_timeout) says. Each line that is logged later is written at
/// once, by the thread that logs it: such as those of calls that end because the runtime is dropped after an `async fn main`. Where the
/// writer is stuck, they are dropped.
/// A program that leaves by `std::process::exit` or by a signal drops nothing: call [`LogQueue::flush`] before it does.
#[derive(Debug)]
#[must_use = "when it is dropped, the thread ends"]
pub struct LogGuard {
    queue: LogQueue,
}

impl LogGuard {
    /// Returns the queue, to flush it or to read its counter.
    #[must_use]
    pub fn queue(&self) -> &LogQueue {
        &self.queue
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// What the writing thread and the others share.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the writing thread.
    pub(crate) wake: Condvar,
    /// Wakes those who wait for it.
    pub(crate) progress: Condvar,
    shutdown_timeout: Duration,
}

/// The writer, once the thread has ended.
pub(crate) type Last = Mutex<Option<Box<dyn WriteLines>>>;

pub(crate) struct State {
    pub(crate) queue: Queue,
    has_ended: bool,
    /// The thread did not end in time: nobody waits for it once more.
    is_stuck: bool,
}

/// Writes whole lines.
pub(crate) trait WriteLines: Send {
    /// Returns how many of the lines were lost.
    fn write_lines(&mut self, lines: &[u8]) -> usize;
}

impl Shared {
    /// No user code runs under this lock: nothing poisons it.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says that the thread has ended.
    pub(crate) fn end(&self) {
        self.lock().has_ended = true;
        self.progress.notify_all();
    }

    /// Waits for the end of the thread, once for as long as it may take. If the writer is stuck its thread is left behind.
    fn wait_for_the_end(&self, mut state: MutexGuard<'_, State>) {
        if state.is_stuck {
            return;
        }
        let waits = |state: &mut State| !state.has_ended;
        let waited = self
            .progress
            .wait_timeout_while(state, self.shutdown_timeout, waits);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_stuck = !state.has_ended;
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write, pipe},
        time::Instant,
    };

    use super::*;

    /// The thread writes by itself, without a flush, whether it sleeps or has just written.
    #[test]
    fn lines_arrive_by_themselves() {
        let (reader, writer) = pipe().unwrap();
        let (queue, _guard) = Background::new()
            .start(Format::Logfmt, Arc::new(writer))
            .unwrap();
        let mut lines = BufReader::new(reader).lines();
        for sleeps in [false, true, false, true] {
            let begun = Instant::now();
            while sleeps && !queue.shared.lock().queue.is_idle() {
                assert!(begun.elapsed() < Duration::from_secs(60), "it never sleeps");
                thread::yield_now();
            }
            (&queue).write_all(b"line\n").unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), "line");
        }
    }
}
