use std::time::Duration;

use towerkit_metrics::RegistrySnapshot;

use crate::{
    Graphite, Influx, Statsd,
    ledger::Ledger,
    packer::{Packer, Packet, Size},
    series::each_series,
};

/// What a [`Pusher`](crate::Pusher) writes: lines of [`Statsd`], [`Graphite`] or [`Influx`], which all become one by `into`.
#[derive(Debug, Clone)]
pub struct Format(Lines);

#[derive(Debug, Clone)]
enum Lines {
    Statsd(Statsd),
    Graphite(Graphite),
    Influx(Influx),
}

impl Format {
    /// Writes a snapshot that was taken at `time`, since the epoch of Unix, and says how many lines were too long.
    pub(crate) fn packets(
        &self,
        snapshot: &RegistrySnapshot,
        ledger: &mut Ledger,
        time: Duration,
        size: Size,
    ) -> (Vec<Packet>, u64) {
        let mut packer = Packer::new(size);
        each_series(snapshot, ledger, |series| match &self.0 {
            Lines::Statsd(statsd) => statsd.series(series, &mut packer),
            Lines::Graphite(graphite) => graphite.series(series, time, &mut packer),
            Lines::Influx(influx) => influx.series(series, time, &mut packer),
        });
        packer.packets()
    }
}

impl From<Statsd> for Format {
    fn from(statsd: Statsd) -> Self {
        Self(Lines::Statsd(statsd))
    }
}

impl From<Graphite> for Format {
    fn from(graphite: Graphite) -> Self {
        Self(Lines::Graphite(graphite))
    }
}

impl From<Influx> for Format {
    fn from(influx: Influx) -> Self {
        Self(Lines::Influx(influx))
    }
}
