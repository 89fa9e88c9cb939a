use std::{
    convert::Infallible,
    error,
    fmt::{Display, Formatter, Result as Formatted},
    io::{Error, ErrorKind},
    mem::take,
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, sleep, sleep_until, timeout};
use towerkit_core::ConfigError;
use towerkit_metrics::Registry;

use crate::{
    backoff::Backoff,
    destination::Destination,
    format::Format,
    handle::{PushStats, PusherHandle},
    packet_buffer::Packet,
    sent_state::SentState,
    sockets::SendError,
    transport::Transport,
};

/// Sends the metrics of a [`Registry`] to a receiver at a fixed interval.
///
/// It pushes only while the future of [`run`](Self::run) is polled. A push takes a [snapshot](Registry::snapshot), so that measured calls
/// never wait for the receiver.
#[derive(Debug)]
#[must_use = "a pusher pushes only while its `run` is polled"]
pub struct Pusher {
    registry: Registry,
    format: Format,
    destination: Destination,
    timeout: Duration,
    interval: Duration,
    transport: Transport,
    sent: SentState,
    /// True if the last push was sent and may still be rejected.
    is_unconfirmed: bool,
    backoff: Backoff,
    stats: Arc<PushStats>,
}

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);

/// The number of datagrams that are sent before the first pause. By default the socket of a receiver buffers about 90 datagrams, and
/// drops further ones.
const BURST: usize = 16;
/// The pause between further datagrams. The timer makes it up to twice as long.
const PAUSE: Duration = Duration::from_millis(1);

/// The time for which [`Pusher::flush`] waits for an error.
const FLUSH_WAIT: Duration = Duration::from_millis(100);

impl Pusher {
    /// Makes a pusher that sends lines in `format` to `destination` every 10 seconds.
    pub fn new(
        registry: Registry,
        format: impl Into<Format>,
        destination: impl Into<Destination>,
    ) -> Self {
        let destination = destination.into();
        Self {
            registry,
            format: format.into(),
            timeout: TIMEOUT,
            interval: INTERVAL,
            transport: destination.transport(),
            destination,
            sent: SentState::default(),
            is_unconfirmed: false,
            backoff: Backoff::new(INTERVAL),
            stats: Arc::default(),
        }
    }

    /// Sets the time from the start of one push to the start of the next; 10 seconds by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `interval` is below 10 ms or above one day.
    pub fn interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
        if !(least..=most).contains(&interval) {
            let expected = "10 ms up to a day";
            return Err(ConfigError::new("interval", interval, expected));
        }
        self.interval = interval;
        self.backoff = Backoff::new(interval);
        Ok(self)
    }

    /// Sets the timeout of a push, including name resolution and connecting; 5 seconds by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `timeout` is below 1 ms or above one hour.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, ConfigError> {
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(60 * 60));
        if !(least..=most).contains(&timeout) {
            let expected = "1 ms up to an hour";
            return Err(ConfigError::new("timeout", timeout, expected));
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// Returns a handle that reads the statistics of the pushes.
    #[must_use]
    pub fn handle(&self) -> PusherHandle {
        PusherHandle(self.stats.clone())
    }

    /// Pushes at the interval, starting after one interval; never returns.
    ///
    /// The [handle](Self::handle) counts failures, and the changes of a failed push are part of the next one. While pushes fail the
    /// interval grows up to one minute.
    ///
    /// The future may be dropped at any time. A push in progress is then aborted, and may have been sent in part.
    pub async fn run(&mut self) -> Infallible {
        let mut due = Instant::now() + self.interval;
        loop {
            sleep_until(due).await;
            let begun = Instant::now();
            // A failure is counted by the handle.
            let _ = self.push().await;
            due = begun + self.backoff.delay(fastrand::f64());
        }
    }

    /// Pushes once, now. Call it at the end of a process, after the future of [`run`](Self::run) was dropped.
    ///
    /// Over UDP and TCP it waits 100 ms for an error of the receiver.
    ///
    /// # Errors
    ///
    /// Returns a [`PushError`] if this push is known not to have arrived.
    pub async fn flush(&mut self) -> Result<(), PushError> {
        self.push().await?;
        if !self.transport.is_reliable() {
            sleep(FLUSH_WAIT).await;
        }
        self.confirm_last().map_or(Ok(()), Err)
    }

    async fn push(&mut self) -> Result<(), PushError> {
        let pushed = match timeout(self.timeout, self.attempt()).await {
            Ok(pushed) => pushed,
            Err(_) => Err(ErrorKind::TimedOut.into()),
        };
        self.backoff.record(pushed.is_ok());
        match pushed {
            Ok(()) if self.transport.is_reliable() => self.stats.record_success(),
            Ok(()) => self.is_unconfirmed = true,
            Err(error) => return Err(self.record_failure(error)),
        }
        Ok(())
    }

    async fn attempt(&mut self) -> Result<(), Error> {
        // An error is counted by the handle, and this push repeats the changes of the last one.
        let _ = self.confirm_last();
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (packets, too_long) = self.format.packets(
            &self.registry.snapshot(),
            &mut self.sent,
            time.unwrap_or_default(),
            self.destination.size_limits(),
        );
        self.stats.add_too_long(too_long);
        self.transport.open().await?;
        let stride = stride(packets.len(), self.timeout);
        let mut skipped = None;
        for (packet, sent) in packets.iter().zip(1..) {
            match self.send(packet).await {
                Ok(()) => {}
                Err(SendError::Skip(error)) => skipped = skipped.or(Some(error)),
                Err(SendError::Stop(error)) => return Err(error),
            }
            if self.transport.needs_pauses() && sent > BURST && sent % stride == 0 {
                sleep(PAUSE).await;
            }
        }
        skipped.map_or(Ok(()), Err)
    }

    async fn send(&mut self, packet: &Packet) -> Result<(), SendError> {
        let sent = self.transport.send(&packet.text).await;
        if sent.is_ok() {
            self.stats.add_lines(packet.lines);
            self.sent.record_sent(&packet.values);
        }
        if self.transport.is_reliable() {
            self.sent.confirm();
            return sent;
        }
        // The error of a receiver on this machine arrives at once.
        let sent = match self.transport.take_error() {
            Some(error) => Err(SendError::Stop(error)),
            None => sent,
        };
        if let Err(SendError::Stop(_)) = sent {
            self.sent.reject();
        }
        sent
    }

    /// Confirms the last push, or returns its error if one has arrived since.
    fn confirm_last(&mut self) -> Option<PushError> {
        let was_unconfirmed = take(&mut self.is_unconfirmed);
        if let Some(error) = self.transport.take_error() {
            self.sent.reject();
            return was_unconfirmed.then(|| self.record_failure(error));
        }
        self.sent.confirm();
        if was_unconfirmed {
            self.stats.record_success();
        }
        None
    }

    fn record_failure(&self, source: Error) -> PushError {
        let destination = self.destination.to_string();
        self.stats
            .record_failure(format!("{destination}: {source}"));
        PushError {
            destination,
            source,
        }
    }
}

/// Returns the number of datagrams between two pauses, such that all pauses take at most half of the time.
fn stride(packets: usize, time: Duration) -> usize {
    let pauses = (time / 2).as_nanos() / (2 * PAUSE).as_nanos();
    packets
        .div_ceil(usize::try_from(pauses).unwrap_or(usize::MAX).max(1))
        .max(1)
}

/// The error of a push that did not arrive; its [`source`](error::Error::source) is an [`io::Error`](std::io::Error).
#[derive(Debug)]
pub struct PushError {
    destination: String,
    source: Error,
}

impl Display for PushError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Formatted {
        write!(f, "could not push metrics to {}", self.destination)
    }
}

impl error::Error for PushError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_take_at_most_half_of_the_timeout() {
        let seconds = Duration::from_secs;
        assert_eq!(stride(0, seconds(5)), 1);
        assert_eq!(stride(1250, seconds(5)), 1);
        assert_eq!(stride(1251, seconds(5)), 2);
        assert_eq!(stride(100_000, seconds(5)), 80);
        assert_eq!(stride(7, Duration::from_millis(1)), 7);
    }
}
