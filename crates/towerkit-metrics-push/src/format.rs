use std::time::Duration;

use towerkit_metrics::RegistrySnapshot;

use crate::{
    graphite::Graphite,
    influx::Influx,
    packet_buffer::{Packet, PacketBuffer, SizeLimits},
    sent_state::SentState,
    series::for_each_series,
    statsd::Statsd,
};

/// The line format of a [`Pusher`](crate::Pusher): [`Statsd`], [`Graphite`] or [`Influx`], each of which converts by [`Into`].
#[derive(Debug, Clone)]
pub struct Format(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Statsd(Statsd),
    Graphite(Graphite),
    Influx(Influx),
}

impl Format {
    /// Writes a snapshot, taken at `time` since the Unix epoch. Returns the packets and the number of lines that were too long.
    pub(crate) fn packets(
        &self,
        snapshot: &RegistrySnapshot,
        state: &mut SentState,
        time: Duration,
        limits: SizeLimits,
    ) -> (Vec<Packet>, u64) {
        let mut buffer = PacketBuffer::new(limits);
        for_each_series(snapshot, state, |series| match &self.0 {
            Kind::Statsd(statsd) => statsd.write_series(series, &mut buffer),
            Kind::Graphite(graphite) => graphite.write_series(series, time, &mut buffer),
            Kind::Influx(influx) => influx.write_series(series, time, &mut buffer),
        });
        buffer.into_packets()
    }
}

impl From<Statsd> for Format {
    fn from(statsd: Statsd) -> Self {
        Self(Kind::Statsd(statsd))
    }
}

impl From<Graphite> for Format {
    fn from(graphite: Graphite) -> Self {
        Self(Kind::Graphite(graphite))
    }
}

impl From<Influx> for Format {
    fn from(influx: Influx) -> Self {
        Self(Kind::Influx(influx))
    }
}
