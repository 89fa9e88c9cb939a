use std::{
    io,
    io::{ErrorKind, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, PoisonError, Weak},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

use crate::{
    Format,
    background::{Last, Shared, WriteLines, Writing},
    lines::dropped_line,
};

/// What the thread runs that writes lines in the background.
pub(crate) struct Worker<W> {
    shared: Arc<Shared>,
    format: Format,
    out: Out<W>,
    batch: Vec<u8>,
}

impl<W> Worker<W>
where
    W: for<'a> MakeWriter<'a> + Send + 'static,
{
    /// In which lines gather after a batch, so that a busy program does not wake the thread for each of them.
    const PAUSE: Duration = Duration::from_millis(5);

    pub(crate) fn new(shared: Arc<Shared>, format: Format, writer: W, bytes: usize) -> Self {
        Self {
            shared,
            format,
            out: Out {
                writer,
                is_torn: false,
            },
            batch: Vec::with_capacity(bytes),
        }
    }

    /// Writes until the queue is closed and empty, and leaves the writer to those who log later, if there still may be any.
    pub(crate) fn run(mut self, left: &Weak<Last>) {
        let shared = self.shared.clone();
        let _writing = Writing::begin();
        let _ = catch_unwind(AssertUnwindSafe(move || {
            while let Some(lines) = self.next() {
                let lost = self.out.write_lines(&self.batch);
                self.settle(lines, lost);
            }
            self.tell();
            if let Some(left) = left.upgrade() {
                *left.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(self.out));
            }
        }));
        shared.end();
    }

    /// Waits for lines and takes them; none when all is over.
    fn next(&mut self) -> Option<usize> {
        self.batch.clear();
        let mut state = self.shared.lock();
        let wake = &self.shared.wake;
        state = wake
            .wait_timeout_while(state, Self::PAUSE, |state| !state.queue.is_pressing())
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state = wake
            .wait_while(state, |state| state.queue.rests())
            .unwrap_or_else(PoisonError::into_inner);
        Some(state.queue.take(&mut self.batch)).filter(|lines| *lines > 0)
    }

    fn settle(&mut self, lines: usize, lost: usize) {
        self.shared.lock().queue.settle(lines, lost);
        if lost == 0 {
            self.tell();
        }
        self.shared.progress.notify_all();
    }

    /// Tells of the lines that were dropped, if there are any since the last time.
    fn tell(&mut self) {
        let dropped = self.shared.lock().queue.untold();
        if dropped == 0 {
            return;
        }
        self.batch.clear();
        dropped_line(self.format, dropped, &mut self.batch);
        if self.out.write_lines(&self.batch) == 0 {
            self.shared.lock().queue.tell(dropped);
        }
    }
}

/// The writer, and what it has been left with.
struct Out<W> {
    writer: W,
    /// The last thing that was written is no whole line.
    is_torn: bool,
}

impl<W> WriteLines for Out<W>
where
    W: for<'a> MakeWriter<'a> + Send,
{
    fn write_lines(&mut self, lines: &[u8]) -> usize {
        let mut rest = lines;
        let (writer, is_torn) = (&self.writer, &mut self.is_torn);
        let write = AssertUnwindSafe(|| {
            let mut out = writer.make_writer();
            if *is_torn {
                // What is left of an earlier line must not swallow the next.
                write_all(&mut out, &mut &b"\n"[..])?;
                *is_torn = false;
            }
            write_all(&mut out, &mut rest)?;
            out.flush()
        });
        // Neither an error nor a panic of the writer is anybody's trouble but the line's.
        let _ = catch_unwind(write);
        let gone = lines.len() - rest.len();
        if gone > 0 {
            self.is_torn = lines[gone - 1] != b'\n';
        }
        rest.iter().filter(|byte| **byte == b'\n').count()
    }
}

/// Writes all of `rest`, and leaves in it what was not written.
fn write_all(out: &mut impl Write, rest: &mut &[u8]) -> io::Result<()> {
    /// A terminal or a pipe may have been switched to non-blocking by whoever shares it: it is waited for.
    const PAUSE: Duration = Duration::from_millis(2);
    const PAUSES: u32 = 500;

    let mut pauses = 0;
    while !rest.is_empty() {
        match out.write(rest) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(count) => {
                // A writer that claims more than it was given is believed no further.
                *rest = rest.get(count..).unwrap_or_default();
                pauses = 0;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock && pauses < PAUSES => {
                pauses += 1;
                thread::sleep(PAUSE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
