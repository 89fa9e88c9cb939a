use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::{CtrlC, ctrl_c};

/// Waits for `SIGTERM` or `SIGINT`, or for Ctrl-C on Windows.
///
/// The signals are caught from this call on; the process then no longer ends by them.
///
/// # Errors
///
/// Returns an error if the system rejects the handler of a signal.
///
/// # Panics
///
/// Panics outside of a tokio runtime with IO enabled.
#[cfg(unix)]
pub fn shutdown_signal() -> io::Result<ShutdownSignal> {
    Ok(ShutdownSignal {
        signals: [
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ],
    })
}

/// Waits for Ctrl-C.
///
/// It is caught from this call on; the process then no longer ends by it.
///
/// # Errors
///
/// Returns an error if the system rejects the handler.
///
/// # Panics
///
/// Panics outside of a tokio runtime with IO enabled.
#[cfg(windows)]
pub fn shutdown_signal() -> io::Result<ShutdownSignal> {
    Ok(ShutdownSignal {
        signals: [ctrl_c()?],
    })
}

#[cfg(unix)]
type Signals = [Signal; 2];
#[cfg(windows)]
type Signals = [CtrlC; 1];

/// The future of [`shutdown_signal`]. It can be awaited again, for the next signal.
#[must_use = "futures do nothing unless polled"]
pub struct ShutdownSignal {
    signals: Signals,
}

impl Future for ShutdownSignal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let polls = self.signals.iter_mut().map(|signal| signal.poll_recv(cx));
        // All are polled, so that each of them wakes the task.
        match polls.filter(Poll::is_ready).count() {
            0 => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

impl fmt::Debug for ShutdownSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownSignal").finish_non_exhaustive()
    }
}
