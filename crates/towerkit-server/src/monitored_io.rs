use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::OwnedSemaphorePermit,
};

use crate::{activity::Activity, phase::CutOffSignal};

const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The transport of a connection. It counts reads and writes, and holds the end of the client's stream back while calls run.
///
/// It also lives as long as the connection does: an upgrade takes it out of the hands of the server.
pub(crate) struct MonitoredIo<Io> {
    io: Io,
    activity: Arc<Activity>,
    cut_off: CutOffSignal,
    reads: u64,
    written: u64,
    /// The bytes of the preface that have arrived, while the version is unknown.
    preface: Option<usize>,
    half_closed: bool,
    holds_back: bool,
    write_blocked: bool,
    /// The place of this connection among those of its listener.
    _permit: OwnedSemaphorePermit,
}

impl<Io> MonitoredIo<Io> {
    pub(crate) fn new(
        io: Io,
        activity: Arc<Activity>,
        cut_off: CutOffSignal,
        holds_back: bool,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            io,
            activity,
            cut_off,
            reads: 0,
            written: 0,
            preface: Some(0),
            half_closed: false,
            holds_back,
            write_blocked: false,
            _permit: permit,
        }
    }

    fn on_read(&mut self, bytes: &[u8]) {
        self.reads += 1;
        self.activity.set_reads(self.reads);
        if let Some(seen) = self.preface {
            let expected = &HTTP2_PREFACE[seen..];
            let length = expected.len().min(bytes.len());
            self.preface = match seen + length {
                _ if bytes[..length] != expected[..length] => None,
                seen if seen < HTTP2_PREFACE.len() => Some(seen),
                _ => {
                    self.activity.set_http2();
                    None
                }
            };
        }
    }

    /// Returns true if the end of the client's stream has to wait.
    ///
    /// A client that is gone and a client that only sends no more look the same. hyper drops the call of both, and writes no response
    /// that is not written yet. So the end is held back until the calls are answered; the timer of the connection limits that time.
    fn holds_end_back(&mut self) -> bool {
        let is_busy = self.activity.has_calls() || self.write_blocked;
        if !is_busy || !self.holds_back || self.activity.is_tunneled() {
            return false;
        }
        if !self.half_closed {
            self.half_closed = true;
            self.activity.set_half_closed();
        }
        true
    }

    fn on_write(&mut self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.written += *bytes as u64;
            self.activity.set_written(self.written);
        }
        self.set_write_blocked(polled.is_pending());
    }

    fn set_write_blocked(&mut self, blocked: bool) {
        if self.write_blocked != blocked {
            self.write_blocked = blocked;
            self.activity.set_write_blocked(blocked);
        }
    }

    /// Fails once the server has cut its connections off. The others end with their tasks.
    fn check_tunnel(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if self.activity.is_tunneled() && self.cut_off.poll(cx) {
            return Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the server has shut down",
            ));
        }
        Ok(())
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for MonitoredIo<Io> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_tunnel(cx)?;
        let (before, room) = (buf.filled().len(), buf.remaining());
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        let bytes = &buf.filled()[before..];
        if !bytes.is_empty() {
            this.on_read(bytes);
        } else if room > 0 && this.holds_end_back() {
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for MonitoredIo<Io> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_tunnel(cx)?;
        let polled = Pin::new(&mut this.io).poll_write(cx, buf);
        this.on_write(&polled);
        polled
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        this.check_tunnel(cx)?;
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.on_write(&polled);
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        this.set_write_blocked(polled.is_pending());
        polled
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_shutdown(cx);
        this.set_write_blocked(polled.is_pending());
        polled
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::sync::{Semaphore, watch};

    use super::*;
    use crate::{
        activity::InFlight,
        phase::{Phase, PhaseFollower},
    };

    fn monitored(io: &[u8], phases: watch::Receiver<Phase>) -> MonitoredIo<&[u8]> {
        let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let cut_off = CutOffSignal::new(PhaseFollower::new(phases));
        MonitoredIo::new(io, Arc::default(), cut_off, true, permit)
    }

    /// Reads up to `room` bytes; returns how many there were.
    fn read(io: &mut MonitoredIo<&[u8]>, room: usize) -> Poll<io::Result<usize>> {
        let mut bytes = vec![0; room];
        let mut buf = ReadBuf::new(&mut bytes);
        let mut cx = Context::from_waker(Waker::noop());
        ready!(Pin::new(io).poll_read(&mut cx, &mut buf))?;
        Poll::Ready(Ok(buf.filled().len()))
    }

    #[test]
    fn the_preface_is_recognised_however_it_is_cut() {
        let (_phase, phases) = watch::channel(Phase::Serving);
        let bytes = [HTTP2_PREFACE, b"more"].concat();
        for room in 1..bytes.len() {
            let mut io = monitored(&bytes, phases.clone());
            let mut total = 0;
            while total < bytes.len() {
                assert_eq!(io.activity.snapshot().http2, total >= HTTP2_PREFACE.len());
                let Poll::Ready(Ok(read)) = read(&mut io, room) else {
                    panic!("a slice is ready")
                };
                total += read;
            }
        }
        let mut io = monitored(b"PRI * HTTP/1.1\r\n\r\n......", phases);
        assert!(read(&mut io, 24).is_ready());
        assert!(!io.activity.snapshot().http2);
    }

    #[test]
    fn the_end_is_held_back_until_the_calls_have_ended() {
        let (_phase, phases) = watch::channel(Phase::Serving);
        let mut io = monitored(b"", phases);
        let call = InFlight::begin(&io.activity);
        assert!(read(&mut io, 9).is_pending());
        assert!(io.activity.snapshot().half_closed);
        drop(call);
        assert!(matches!(read(&mut io, 9), Poll::Ready(Ok(0))));
    }

    #[test]
    fn an_upgraded_connection_fails_once_it_is_cut_off() {
        let (phase, phases) = watch::channel(Phase::Serving);
        let mut io = monitored(b"abc", phases);
        io.activity.set_tunneled();
        assert!(matches!(read(&mut io, 1), Poll::Ready(Ok(1))));
        phase.send(Phase::Draining).unwrap();
        assert!(matches!(read(&mut io, 1), Poll::Ready(Ok(1))));
        phase.send(Phase::CutOff).unwrap();
        for _ in 0..2 {
            assert!(matches!(read(&mut io, 1), Poll::Ready(Err(_))));
        }
    }
}
