use std::{
    fmt, io,
    num::NonZeroUsize,
    sync::{Arc, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{
    Format,
    queue::QueueLimits,
    worker::{FinalWriter, Shared, Worker, WritingScope},
};

/// The options of a background writer, which never delays or fails the code that logs.
///
/// Lines are copied into a bounded queue. One thread, `towerkit-log`, writes them in batches: it writes the first line after a pause
/// immediately, and lines that follow within five milliseconds together. If the queue is full, the line is dropped and counted, and so
/// is a line that the writer does not accept. When writing succeeds again, the log reports the number in a line with the message `lines
/// dropped` and the field `dropped`.
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
#[must_use = "the options have no effect until the writer is started"]
pub struct Background {
    limits: QueueLimits,
    shutdown_timeout: Duration,
}

impl Background {
    /// Creates the default options: a queue of 4 MiB and 65,536 lines, and a shutdown timeout of one second.
    pub const fn new() -> Self {
        Self {
            limits: QueueLimits {
                bytes: 4 << 20,
                lines: 1 << 16,
            },
            shutdown_timeout: Duration::from_secs(1),
        }
    }

    /// Sets the maximum size of the queue in bytes; 4 MiB by default. A line that is longer is always dropped.
    ///
    /// The writer reserves twice this address space at the start. It uses memory only for the part that has ever been filled.
    pub const fn bytes(mut self, bytes: NonZeroUsize) -> Self {
        self.limits.bytes = bytes.get();
        self
    }

    /// Sets the maximum number of lines in the queue; 65,536 by default.
    pub const fn lines(mut self, lines: NonZeroUsize) -> Self {
        self.limits.lines = lines.get();
        self
    }

    /// Sets how long the drop of the [`LogGuard`] waits for the last lines; one second by default.
    pub const fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown_timeout = timeout;
        self
    }

    /// Starts the thread that writes to `writer`, and reports dropped lines in `format`.
    ///
    /// [`LogSubscriber::background`](crate::LogSubscriber::background) calls this. Use it directly to put the queue behind a
    /// [`LineFormatter`](crate::LineFormatter) or a layer of [`tracing_subscriber::fmt`](mod@tracing_subscriber::fmt); each write into the queue is a line. The thread
    /// calls [`make_writer`](MakeWriter::make_writer) once per batch.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread cannot be started.
    pub fn start<W>(self, format: Format, writer: W) -> io::Result<(LogQueue, LogGuard)>
    where
        W: for<'a> MakeWriter<'a> + Send + 'static,
    {
        let shared = Arc::new(Shared::new(self.limits, self.shutdown_timeout));
        let worker = Worker::new(shared.clone(), format, writer, self.limits.bytes);
        let final_writer = Arc::default();
        let handover = Arc::downgrade(&final_writer);
        thread::Builder::new()
            .name("towerkit-log".to_owned())
            .spawn(move || worker.run(&handover))?;
        let guard = LogGuard {
            queue: LogQueue {
                shared: shared.clone(),
                final_writer: None,
            },
        };
        let queue = LogQueue {
            shared,
            final_writer: Some(final_writer),
        };
        Ok((queue, guard))
    }
}

impl Default for Background {
    fn default() -> Self {
        Self::new()
    }
}

/// The queue of a [`Background`] writer. Clones refer to the same queue.
///
/// A write copies the line under a lock that is held only for such copies. It never fails, allocates no memory, and makes a system call
/// only if the writing thread sleeps.
#[derive(Clone)]
pub struct LogQueue {
    shared: Arc<Shared>,
    /// Held by the queues that write, but not by the guard's: so the writer is dropped with the last queue that could use it.
    final_writer: Option<Arc<FinalWriter>>,
}

impl LogQueue {
    /// Returns the number of dropped lines: those that found the queue full, could not be written, or came too late at shutdown.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.shared.lock().queue.dropped()
    }

    /// Waits until all lines logged so far are written or dropped, for at most `timeout`. Returns true if they are.
    pub fn flush(&self, timeout: Duration) -> bool {
        let mut state = self.shared.lock();
        let ticket = state.queue.request_flush();
        self.shared.wake.notify_one();
        let waited = self
            .shared
            .progress
            .wait_timeout_while(state, timeout, |state| !state.queue.is_flushed(ticket));
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.queue.is_flushed(ticket)
    }

    fn close(&self) {
        let mut state = self.shared.lock();
        state.queue.close();
        self.shared.wake.notify_one();
        self.shared.wait_for_end(state);
    }

    /// Writes a line that arrives after the thread has ended. Lines that the writer itself logs are dropped.
    #[cold]
    fn write_directly(&self, line: &[u8]) {
        let is_written = WritingScope::enter().is_some_and(|_scope| {
            self.shared.wait_for_end(self.shared.lock());
            self.final_writer.as_ref().is_some_and(|writer| {
                let mut writer = writer.lock().unwrap_or_else(PoisonError::into_inner);
                writer
                    .as_mut()
                    .is_some_and(|writer| writer.write_lines(line) == 0)
            })
        });
        if !is_written {
            self.shared.lock().queue.count_dropped();
        }
    }
}

impl io::Write for &LogQueue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut state = self.shared.lock();
        if state.queue.is_finished() {
            drop(state);
            self.write_directly(line);
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

/// Ends the thread of the [`Background`] writer on drop. Keep it until the end of `main`.
///
/// The drop waits for the last lines, for at most the [shutdown timeout](Background::shutdown_timeout). Lines that are logged later, such
/// as those of calls that a runtime drops after the end of an `async fn main`, are written directly by the thread that logs; if the
/// writer is stuck, they are dropped.
///
/// [`std::process::exit`] and signals drop no guard: call [`LogQueue::flush`] before the process exits that way.
#[derive(Debug)]
#[must_use = "the writing thread ends when the guard is dropped"]
pub struct LogGuard {
    queue: LogQueue,
}

impl LogGuard {
    /// Returns the queue, to flush it or to read the number of dropped lines.
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

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use std::{
        io::{BufRead, BufReader, Write, pipe},
        time::Instant,
    };

    use super::*;

    /// The thread writes without a flush, if it sleeps and if it has just written.
    #[test]
    fn lines_are_written_without_a_flush() {
        let (reader, writer) = pipe().unwrap();
        let (queue, _guard) = Background::new()
            .start(Format::Logfmt, Arc::new(writer))
            .unwrap();
        let mut lines = BufReader::new(reader).lines();
        for waits_for_sleep in [false, true, false, true] {
            let begun = Instant::now();
            while waits_for_sleep && !queue.shared.lock().queue.is_idle() {
                assert!(
                    begun.elapsed() < Duration::from_secs(60),
                    "the thread never sleeps"
                );
                thread::yield_now();
            }
            (&queue).write_all(b"line\n").unwrap();
            assert_eq!(lines.next().unwrap().unwrap(), "line");
        }
    }
}
