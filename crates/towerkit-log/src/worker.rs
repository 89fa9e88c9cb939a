use std::{
    cell::Cell,
    io::{self, ErrorKind, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{
    Format,
    line::push_dropped_line,
    queue::{Queue, QueueLimits},
};

/// The state that the writing thread shares with the threads that log.
pub(crate) struct Shared {
    state: Mutex<State>,
    /// Wakes the writing thread.
    pub(crate) wake: Condvar,
    /// Wakes the threads that wait for a flush or for the end.
    pub(crate) progress: Condvar,
    shutdown_timeout: Duration,
}

pub(crate) struct State {
    pub(crate) queue: Queue,
    has_ended: bool,
    /// The thread did not end within the timeout, and is not waited for again.
    is_stuck: bool,
}

impl Shared {
    pub(crate) fn new(limits: QueueLimits, shutdown_timeout: Duration) -> Self {
        Self {
            state: Mutex::new(State {
                queue: Queue::new(limits),
                has_ended: false,
                is_stuck: false,
            }),
            wake: Condvar::new(),
            progress: Condvar::new(),
            shutdown_timeout,
        }
    }

    /// Locks the state. Poison is ignored: no user code runs under the lock.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn mark_ended(&self) {
        self.lock().has_ended = true;
        self.progress.notify_all();
    }

    /// Waits for the end of the thread, once, for at most the shutdown timeout. A stuck thread is left running.
    pub(crate) fn wait_for_end(&self, mut state: MutexGuard<'_, State>) {
        if state.is_stuck {
            return;
        }
        let is_running = |state: &mut State| !state.has_ended;
        let waited = self
            .progress
            .wait_timeout_while(state, self.shutdown_timeout, is_running);
        state = waited.unwrap_or_else(PoisonError::into_inner).0;
        state.is_stuck = !state.has_ended;
    }
}

/// The writer after the end of the thread, for lines that are logged later.
pub(crate) type FinalWriter = Mutex<Option<Box<dyn WriteLines>>>;

/// Writes whole lines.
pub(crate) trait WriteLines: Send {
    /// Writes the lines, and returns the number of lines that were lost.
    fn write_lines(&mut self, lines: &[u8]) -> usize;
}

/// A scope in which this thread writes lines. A line that the writer logs inside the scope would wait for itself.
pub(crate) struct WritingScope(());

thread_local! {
    static IS_WRITING: Cell<bool> = const { Cell::new(false) };
}

impl WritingScope {
    /// Enters the scope, or returns [`None`] if this thread is inside.
    pub(crate) fn enter() -> Option<Self> {
        (!IS_WRITING.replace(true)).then_some(Self(()))
    }
}

impl Drop for WritingScope {
    fn drop(&mut self) {
        IS_WRITING.set(false);
    }
}

/// The loop of the thread that writes lines in the background.
pub(crate) struct Worker<W> {
    shared: Arc<Shared>,
    format: Format,
    writer: LineWriter<W>,
    batch: Vec<u8>,
}

impl<W> Worker<W>
where
    W: for<'a> MakeWriter<'a> + Send + 'static,
{
    /// The pause after a batch, in which lines accumulate, so that a busy program does not wake the thread for each line.
    const PAUSE: Duration = Duration::from_millis(5);

    pub(crate) fn new(shared: Arc<Shared>, format: Format, writer: W, bytes: usize) -> Self {
        Self {
            shared,
            format,
            writer: LineWriter {
                writer,
                is_mid_line: false,
            },
            batch: Vec::with_capacity(bytes),
        }
    }

    /// Writes until the queue is closed and empty, and then hands the writer over to the queues that may still log.
    pub(crate) fn run(mut self, handover: &Weak<FinalWriter>) {
        let shared = self.shared.clone();
        let _scope = WritingScope::enter();
        let _ = catch_unwind(AssertUnwindSafe(move || {
            while let Some(lines) = self.next_batch() {
                let lost = self.writer.write_lines(&self.batch);
                self.complete(lines, lost);
            }
            self.report_dropped();
            if let Some(final_writer) = handover.upgrade() {
                let mut final_writer = final_writer.lock().unwrap_or_else(PoisonError::into_inner);
                *final_writer = Some(Box::new(self.writer));
            }
        }));
        shared.mark_ended();
    }

    /// Waits for lines and takes them. Returns their number, or [`None`] if the queue is closed and empty.
    fn next_batch(&mut self) -> Option<usize> {
        self.batch.clear();
        let mut state = self.shared.lock();
        let wake = &self.shared.wake;
        state = wake
            .wait_timeout_while(state, Self::PAUSE, |state| !state.queue.is_urgent())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state = wake
            .wait_while(state, |state| state.queue.begin_idle())
            .unwrap_or_else(PoisonError::into_inner);
        Some(state.queue.take_batch(&mut self.batch)).filter(|lines| *lines > 0)
    }

    fn complete(&mut self, lines: usize, lost: usize) {
        self.shared.lock().queue.complete(lines, lost);
        if lost == 0 {
            self.report_dropped();
        }
        self.shared.progress.notify_all();
    }

    /// Writes a line with the number of lines dropped since the last report, if any.
    fn report_dropped(&mut self) {
        let dropped = self.shared.lock().queue.unreported();
        if dropped == 0 {
            return;
        }
        self.batch.clear();
        push_dropped_line(self.format, dropped, &mut self.batch);
        if self.writer.write_lines(&self.batch) == 0 {
            self.shared.lock().queue.mark_reported(dropped);
        }
    }
}

/// Writes lines to a [`MakeWriter`], and separates a line from an incomplete line before it.
struct LineWriter<W> {
    writer: W,
    /// The last write ended in the middle of a line.
    is_mid_line: bool,
}

impl<W> WriteLines for LineWriter<W>
where
    W: for<'a> MakeWriter<'a> + Send,
{
    fn write_lines(&mut self, lines: &[u8]) -> usize {
        let mut rest = lines;
        let (writer, is_mid_line) = (&self.writer, &mut self.is_mid_line);
        let write = AssertUnwindSafe(|| {
            let mut out = writer.make_writer();
            if *is_mid_line {
                write_all(&mut out, &mut &b"\n"[..])?;
                *is_mid_line = false;
            }
            write_all(&mut out, &mut rest)?;
            out.flush()
        });
        // An error or a panic of the writer loses the lines in `rest`, which are counted below.
        let _ = catch_unwind(write);
        let written = lines.len() - rest.len();
        if written > 0 {
            self.is_mid_line = lines[written - 1] != b'\n';
        }
        rest.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Writes all of `rest`, and leaves the bytes that were not written in it.
fn write_all(out: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    /// The pause before the next attempt if a terminal or a pipe is in non-blocking mode, because another process set it so.
    const PAUSE: Duration = Duration::from_millis(2);
    const MAX_PAUSES: u32 = 500;

    let mut pauses = 0;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                // A writer may return more than it was given.
                *rest = rest.get(count..).unwrap_or_default();
                pauses = 0;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && pauses < MAX_PAUSES => {
                pauses += 1;
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
