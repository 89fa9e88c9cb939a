use std::{fmt, sync::Arc, time::Duration};

use hyper_util::{
    rt::{TokioExecutor, TokioTimer},
    server::conn::auto::Builder,
};
use towerkit_core::{Event, EventQueue, Name};

use crate::{
    connection_timer::{Limits, SECOND},
    head_check::HeadLimits,
};

/// The settings of a server.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) name: Name,
    pub(crate) limits: Limits,
    pub(crate) head_limits: HeadLimits,
    pub(crate) body_timeout: Duration,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_connections: usize,
    pub(crate) max_streams: u32,
    pub(crate) ping_interval: Duration,
    pub(crate) drain_timeout: Duration,
    pub(crate) shutdown_delay: Duration,
    pub(crate) events: Events,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: Name::new("server"),
            limits: Limits {
                head: 10 * SECOND,
                idle: 60 * SECOND,
                write: 30 * SECOND,
                half_close: 5 * SECOND,
                age: None,
                cancelled: 500,
            },
            head_limits: HeadLimits {
                headers: 100,
                bytes: 64 << 10,
            },
            body_timeout: Duration::from_secs(30),
            handshake_timeout: Duration::from_secs(10),
            max_connections: 10_000,
            max_streams: 200,
            ping_interval: Duration::from_secs(20),
            drain_timeout: Duration::from_secs(30),
            shutdown_delay: Duration::ZERO,
            events: Events::default(),
        }
    }
}

/// The least buffer that hyper works with.
pub(crate) const MIN_HEADER_BYTES: usize = 8 << 10;
pub(crate) const MAX_HEADER_BYTES: usize = 16 << 20;

/// The headers of a head that hyper reads by default; it answers more of them with a 431.
const HYPER_HEADERS: usize = 100;

impl Config {
    /// Returns a builder of connections.
    pub(crate) fn http(&self) -> Builder<TokioExecutor> {
        let mut http = Builder::new(TokioExecutor::new());
        if self.head_limits.headers > HYPER_HEADERS {
            // Costs the initialisation of the table for each head. Lower limits are checked once the head is read.
            http.http1().max_headers(self.head_limits.headers);
        }
        http.http1()
            .timer(TokioTimer::new())
            // The timer of the connection tells heads from idle time, which this one does not.
            .header_read_timeout(None)
            // Twice as much as allowed, so that a long URI can be told from long headers.
            .max_buf_size(2 * self.head_limits.bytes);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_streams)
            .max_header_list_size(u32::try_from(self.head_limits.bytes).unwrap_or(u32::MAX))
            .keep_alive_interval(self.ping_interval)
            .keep_alive_timeout(self.ping_interval);
        http
    }

    pub(crate) fn emit(&self, event: &'static str, message: String) {
        self.events.0.push(Event::Other {
            layer: "server",
            name: self.name.clone(),
            event,
            message: message.into(),
        });
        self.events.0.deliver();
    }
}

/// The receiver of the events, if there is one.
#[derive(Clone, Default)]
pub(crate) struct Events(pub(crate) Arc<EventQueue>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
