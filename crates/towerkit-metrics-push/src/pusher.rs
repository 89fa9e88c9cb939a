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
use towerkit_metrics::Registry;

use crate::{
    Format, InvalidSetting, PusherHandle, Target,
    handle::Fares,
    invalid::Problem,
    ledger::Ledger,
    pace::Pace,
    packer::Packet,
    wire::{Failure, Wire},
};

/// Sends what a [`Registry`] holds to a receiver, every interval.
///
/// It works in the future of [`run`](Self::run) and nowhere else. A push takes a snapshot, so that the calls which are measured never
/// wait for it, whatever the receiver does.
#[derive(Debug)]
#[must_use = "a pusher pushes only while its `run` is polled"]
pub struct Pusher {
    registry: Registry,
    format: Format,
    target: Target,
    timeout: Duration,
    interval: Duration,
    wire: Wire,
    ledger: Ledger,
    /// Whether the last push was sent whole and may still be rejected.
    in_doubt: bool,
    pace: Pace,
    fares: Arc<Fares>,
}

const INTERVAL: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(5);

/// So many datagrams are sent without a pause. The socket of a receiver holds some 90 of them by default, and it drops what is more
/// without a word.
const BURST: usize = 16;
/// The pause after every other one; a timer makes it up to twice as long.
const PAUSE: Duration = Duration::from_millis(1);

/// How long the last push waits for a rejection to come back.
const GRACE: Duration = Duration::from_millis(100);

impl Pusher {
    /// Makes a pusher of these lines to this receiver, every 10 seconds.
    pub fn new(registry: Registry, format: impl Into<Format>, target: impl Into<Target>) -> Self {
        let target = target.into();
        Self {
            registry,
            format: format.into(),
            timeout: TIMEOUT,
            interval: INTERVAL,
            wire: target.wire(),
            target,
            ledger: Ledger::default(),
            in_doubt: false,
            pace: Pace::new(INTERVAL),
            fares: Arc::default(),
        }
    }

    /// Pushes every `interval`, from the start of one push to the start of the next: 10 seconds by default.
    ///
    /// # Errors
    ///
    /// If it is below 10 ms or above a day.
    pub fn interval(mut self, interval: Duration) -> Result<Self, InvalidSetting> {
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(24 * 60 * 60));
        if !(least..=most).contains(&interval) {
            return Err(InvalidSetting(Problem::Interval(interval)));
        }
        self.interval = interval;
        self.pace = Pace::new(interval);
        Ok(self)
    }

    /// Gives a whole push this time, with looking up names and connecting: 5 seconds by default.
    ///
    /// # Errors
    ///
    /// If it is below a millisecond or above an hour.
    pub fn timeout(mut self, timeout: Duration) -> Result<Self, InvalidSetting> {
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(60 * 60));
        if !(least..=most).contains(&timeout) {
            return Err(InvalidSetting(Problem::Timeout(timeout)));
        }
        self.timeout = timeout;
        Ok(self)
    }

    /// Returns a handle, which reads how it fares.
    #[must_use]
    pub fn handle(&self) -> PusherHandle {
        PusherHandle(self.fares.clone())
    }

    /// Pushes every interval, the first time after one; never returns.
    ///
    /// Failures are counted by the [handle](Self::handle), and what they had to tell is told by the next push. While they go on, pushes
    /// become rarer, down to one a minute.
    ///
    /// Dropping the future at any time ends it; a push that is under way is cut off, and may then be told in part.
    pub async fn run(&mut self) -> Infallible {
        let mut due = Instant::now() + self.interval;
        loop {
            sleep_until(due).await;
            let begun = Instant::now();
            // The handle tells.
            let _ = self.push().await;
            due = begun + self.pace.wait(fastrand::f64());
        }
    }

    /// Pushes once, now: for the end of a process, after [`run`](Self::run) was dropped.
    ///
    /// Over UDP and TCP it waits 100 ms more, since a rejection takes its time.
    ///
    /// # Errors
    ///
    /// A [`PushError`] if the push, or what was left of the one before, did not arrive, as far as that is known.
    pub async fn flush(&mut self) -> Result<(), PushError> {
        self.push().await?;
        if !self.wire.is_sure() {
            sleep(GRACE).await;
        }
        self.settle().map_or(Ok(()), Err)
    }

    async fn push(&mut self) -> Result<(), PushError> {
        let pushed = match timeout(self.timeout, self.attempt()).await {
            Ok(pushed) => pushed,
            Err(_) => Err(ErrorKind::TimedOut.into()),
        };
        self.pace.pushed(pushed.is_ok());
        match pushed {
            Ok(()) if self.wire.is_sure() => self.fares.well(),
            Ok(()) => self.in_doubt = true,
            Err(error) => return Err(self.failed(error)),
        }
        Ok(())
    }

    async fn attempt(&mut self) -> Result<(), Error> {
        // The handle tells; and this push tells what the last one did not.
        let _ = self.settle();
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (packets, too_long) = self.format.packets(
            &self.registry.snapshot(),
            &mut self.ledger,
            time.unwrap_or_default(),
            self.target.size(),
        );
        self.fares.too_long(too_long);
        self.wire.open().await?;
        let stride = stride(packets.len(), self.timeout);
        let mut skipped = None;
        for (packet, sent) in packets.iter().zip(1..) {
            match self.send(packet).await {
                Ok(()) => {}
                Err(Failure::Skip(error)) => skipped = skipped.or(Some(error)),
                Err(Failure::Stop(error)) => return Err(error),
            }
            if self.wire.is_unpaced() && sent > BURST && sent % stride == 0 {
                sleep(PAUSE).await;
            }
        }
        skipped.map_or(Ok(()), Err)
    }

    async fn send(&mut self, packet: &Packet) -> Result<(), Failure> {
        let sent = self.wire.send(&packet.text).await;
        if sent.is_ok() {
            self.fares.lines(packet.lines);
            self.ledger.sent(&packet.marks);
        }
        if self.wire.is_sure() {
            self.ledger.confirm();
            return sent;
        }
        // What a receiver on this machine rejects is known at once.
        let sent = match self.wire.rejected() {
            Some(error) => Err(Failure::Stop(error)),
            None => sent,
        };
        if let Err(Failure::Stop(_)) = sent {
            self.ledger.reject();
        }
        sent
    }

    /// Finds out what became of the last push, as far as it was not known.
    fn settle(&mut self) -> Option<PushError> {
        let in_doubt = take(&mut self.in_doubt);
        if let Some(error) = self.wire.rejected() {
            self.ledger.reject();
            return in_doubt.then(|| self.failed(error));
        }
        self.ledger.confirm();
        if in_doubt {
            self.fares.well();
        }
        None
    }

    fn failed(&self, source: Error) -> PushError {
        self.fares.failed(format!("{}: {source}", self.target));
        PushError {
            target: self.target.to_string(),
            source,
        }
    }
}

/// Returns how many datagrams go between two pauses, so that all pauses take half of the time at most.
fn stride(packets: usize, time: Duration) -> usize {
    let pauses = (time / 2).as_nanos() / (2 * PAUSE).as_nanos();
    packets
        .div_ceil(usize::try_from(pauses).unwrap_or(usize::MAX).max(1))
        .max(1)
}

/// A push that did not arrive.
#[derive(Debug)]
pub struct PushError {
    target: String,
    source: Error,
}

impl Display for PushError {
    fn fmt(&self, f: &mut Formatter<'_>) -> Formatted {
        write!(f, "metrics were not pushed to {}", self.target)
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
    fn pauses_leave_time_to_send() {
        let seconds = Duration::from_secs;
        assert_eq!(stride(0, seconds(5)), 1);
        assert_eq!(stride(1250, seconds(5)), 1);
        assert_eq!(stride(1251, seconds(5)), 2);
        assert_eq!(stride(100_000, seconds(5)), 80);
        assert_eq!(stride(7, Duration::from_millis(1)), 7);
    }
}
