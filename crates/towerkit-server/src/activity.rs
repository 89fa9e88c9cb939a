use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
};

/// The counts of one connection, from which its timer derives what the connection is doing.
///
/// The IO and the calls count; the task of the connection takes a [`Snapshot`] after each poll. A call costs a few additions, and no
/// timer. All accesses are relaxed: each count guards no other data, and the timer looks again later.
#[derive(Debug, Default)]
pub(crate) struct Activity {
    // Written by the IO only, which belongs to one task.
    reads: AtomicU64,
    written: AtomicU64,
    http2: AtomicBool,
    half_closed: AtomicBool,
    write_blocked: AtomicBool,
    // Written by calls, which are tasks of their own over HTTP/2.
    begun: AtomicUsize,
    ended: AtomicUsize,
    cancelled: AtomicUsize,
    blocked_bodies: AtomicUsize,
    streams: AtomicUsize,
    tunneled: AtomicBool,
}

/// The counts of a connection at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The reads that returned bytes.
    pub(crate) reads: u64,
    /// The bytes that the transport took.
    pub(crate) written: u64,
    /// The preface of HTTP/2 has arrived.
    pub(crate) http2: bool,
    /// The client has closed its sending side during a call.
    pub(crate) half_closed: bool,
    /// Bytes, or the body of a response, wait for the client to read.
    pub(crate) blocked: bool,
    /// The requests that have arrived.
    pub(crate) begun: usize,
    /// The calls whose response has not been passed on to its end.
    pub(crate) in_flight: usize,
    /// The calls that were dropped before their response.
    pub(crate) cancelled: usize,
    /// The responses in flight that are event streams or gRPC, which may pause for as long as they like.
    pub(crate) streams: usize,
    /// The connection was upgraded, or has a tunnel.
    pub(crate) tunneled: bool,
}

impl Snapshot {
    /// Returns true if there are calls in flight, or the rest of a response to write.
    pub(crate) fn is_busy(&self) -> bool {
        self.in_flight > 0 || self.blocked
    }
}

impl Activity {
    pub(crate) fn snapshot(&self) -> Snapshot {
        // The ends first: a call that ends in between then counts as in flight, never as less than none.
        let ended = self.ended.load(Relaxed);
        let begun = self.begun.load(Relaxed);
        Snapshot {
            reads: self.reads.load(Relaxed),
            written: self.written.load(Relaxed),
            http2: self.http2.load(Relaxed),
            half_closed: self.half_closed.load(Relaxed),
            blocked: self.write_blocked.load(Relaxed) || self.blocked_bodies.load(Relaxed) > 0,
            begun,
            in_flight: begun.saturating_sub(ended),
            cancelled: self.cancelled.load(Relaxed),
            streams: self.streams.load(Relaxed),
            tunneled: self.is_tunneled(),
        }
    }

    pub(crate) fn has_calls(&self) -> bool {
        self.begun.load(Relaxed) != self.ended.load(Relaxed)
    }

    pub(crate) fn is_tunneled(&self) -> bool {
        self.tunneled.load(Relaxed)
    }

    pub(crate) fn set_tunneled(&self) {
        self.tunneled.store(true, Relaxed);
    }

    pub(crate) fn set_reads(&self, reads: u64) {
        self.reads.store(reads, Relaxed);
    }

    pub(crate) fn set_written(&self, bytes: u64) {
        self.written.store(bytes, Relaxed);
    }

    pub(crate) fn set_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    pub(crate) fn set_half_closed(&self) {
        self.half_closed.store(true, Relaxed);
    }

    pub(crate) fn set_write_blocked(&self, blocked: bool) {
        self.write_blocked.store(blocked, Relaxed);
    }
}

/// One call in flight: begins with the head of its request, and ends when it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight {
    activity: Arc<Activity>,
    answered: bool,
    blocked: bool,
    stream: bool,
}

impl InFlight {
    pub(crate) fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Relaxed);
        Self {
            activity: activity.clone(),
            answered: false,
            blocked: false,
            stream: false,
        }
    }

    /// Records that there is a response, which is an event stream or gRPC if `is_stream`.
    pub(crate) fn set_answered(&mut self, is_stream: bool) {
        self.answered = true;
        if is_stream {
            self.stream = true;
            self.activity.streams.fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn set_tunneled(&self) {
        self.activity.set_tunneled();
    }

    /// Records that the body waits for the transport to take a frame, or no longer.
    pub(crate) fn set_blocked(&mut self, blocked: bool) {
        if self.blocked != blocked {
            self.blocked = blocked;
            if blocked {
                self.activity.blocked_bodies.fetch_add(1, Relaxed);
            } else {
                self.activity.blocked_bodies.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.set_blocked(false);
        if self.stream {
            self.activity.streams.fetch_sub(1, Relaxed);
        }
        if !self.answered {
            self.activity.cancelled.fetch_add(1, Relaxed);
        }
        self.activity.ended.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_call_leaves_no_count_behind() {
        let activity = Arc::new(Activity::default());
        let mut call = InFlight::begin(&activity);
        call.set_answered(true);
        call.set_blocked(true);
        call.set_blocked(true);
        let during = activity.snapshot();
        assert!(during.blocked && during.in_flight == 1 && during.streams == 1);
        drop(call);
        let cancelled = InFlight::begin(&activity);
        drop(cancelled);
        let expected = Snapshot {
            begun: 2,
            cancelled: 1,
            ..Snapshot::default()
        };
        assert_eq!(activity.snapshot(), expected);
    }
}
