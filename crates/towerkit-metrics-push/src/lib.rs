//! Pushes the metrics of a [`Registry`] to [statsd], [DogStatsD], [Graphite] or [InfluxDB].
//!
//! Use it where metrics are not scraped. For Prometheus use [`towerkit_metrics`] alone, and for an OpenTelemetry collector
//! `towerkit-opentelemetry`.
//!
//! A [`Pusher`] takes a snapshot of the registry every 10 seconds, formats it as [`Statsd`], [`Graphite`](struct@Graphite) or [`Influx`],
//! and sends the lines to a [`Destination`]: over UDP, TCP, a Unix socket or, with the feature `http`, HTTP. It runs in a future that you
//! poll, and spawns no task. Measured calls only update the registry, so that a slow receiver cannot delay them.
//!
//! ```
//! use std::time::Duration;
//! use towerkit_metrics::Registry;
//! use towerkit_metrics_push::{Destination, Pusher, Statsd};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let receiver = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
//! # let address = receiver.local_addr()?.to_string();
//! let registry = Registry::new();
//! registry.counter("words_total", "Words.", &[("done", "uppercase")])?.add(2);
//!
//! // `address` is that of an agent, such as "127.0.0.1:8125".
//! let format = Statsd::dogstatsd().prefix("app.").tag("env", "prod");
//! let mut pusher =
//!     Pusher::new(registry, format, Destination::udp(address)).interval(Duration::from_secs(5))?;
//! let handle = pusher.handle();
//! # let (shutdown, is_shutdown) = tokio::sync::oneshot::channel::<()>();
//! let pushing = async move {
//!     tokio::select! {
//!         never = pusher.run() => match never {},
//!         _ = is_shutdown => pusher.flush().await,
//!     }
//! };
//! # drop(shutdown);
//! // In a program: `tokio::spawn(pushing)`.
//! pushing.await?;
//! assert_eq!(handle.snapshot().pushes, 1);
//!
//! let mut datagram = [0; 1500];
//! let length = receiver.recv(&mut datagram).await?;
//! assert_eq!(&datagram[..length], b"app.words_total:2|c|#env:prod,done:uppercase");
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # Values
//!
//! | | counters | gauges | histograms |
//! |---|---|---|---|
//! | [`Statsd`] | increase since the last push | value | counters of values, sum and buckets, or [samples](Histograms::Samples) |
//! | [`Graphite`](struct@Graphite) | value | value | number of values and sum; quantiles since the last push |
//! | [`Influx`] | value | value | number of values and sum; quantiles since the last push |
//!
//! Statsd adds up the increases that it receives. Graphite and InfluxDB store the values and compute rates from them, so that a lost or
//! repeated value does no harm.
//!
//! Every number is one line, regardless of the characters in names and labels (`|`, `:`, `,`, `=`, `#`, `;` and line feeds); the types
//! document the replacements. Labels with an empty value and numbers that are not finite are left out.
//!
//! # Quantiles
//!
//! A [histogram](towerkit_metrics::Histogram) counts values by bucket. Quantiles are estimated by linear interpolation, as by
//! [`histogram_quantile`] of Prometheus: if `n` of `total` values are below the bucket with the quantile `q`, and `c` values in it, the
//! estimate is `lower + (upper - lower) * (q * total - n) / c`. The first bucket starts at 0. Above the last bound the estimate is that
//! bound.
//!
//! # While the receiver is unreachable
//!
//! No values are queued: the registry keeps them, and the next push sends the changes that did not arrive, so that memory does not grow.
//! A push has a [timeout](Pusher::timeout) of 5 seconds, and while pushes fail their interval grows up to one minute.
//!
//! The transport determines when a change counts as sent:
//!
//! - HTTP: when InfluxDB has replied that the lines are written.
//! - Unix socket: when the datagram is in the queue of the receiver. The push waits while the queue is full.
//! - TCP: when the data is written to the connection and the connection is not reset before the next push. A receiver that dies with unread
//!   data resets the connection. A host that disappears does not, so that pushes are lost until the connection times out. Graphite and
//!   InfluxDB recover the values of counters with the next push that arrives.
//! - UDP: when no ICMP error has arrived before the next push. On the same host the error arrives at once. Datagrams that the network or a
//!   receiver with a full buffer drops are lost without an error; a large push has pauses to prevent that.
//!
//! After an error the next push repeats all changes of the failed one, also those that had arrived. Receivers such as statsd lose the values
//! that they have not forwarded when they die.
//!
//! # Cancellation
//!
//! The futures of [`run`](Pusher::run) and [`flush`](Pusher::flush) may be dropped at any time. Packets that were sent by then count as
//! sent.
//!
//! # Errors
//!
//! Invalid options are a [`ConfigError`](towerkit_core::ConfigError). The [handle](PusherHandle) counts failed pushes, and its
//! [`snapshot`](PusherHandle::snapshot) has the error of the last push. [`flush`](Pusher::flush) returns a [`PushError`].
//!
//! # Coming from go-kit
//!
//! | go-kit's `metrics/…` | here |
//! |---|---|
//! | `statsd` | [`Statsd::new`] |
//! | `dogstatsd` | [`Statsd::dogstatsd`], over [UDP](Destination::udp) or a Unix socket |
//! | `influxstatsd` | [`Statsd::influx`] |
//! | `graphite` | [`Graphite`](struct@Graphite) |
//! | `influx` | [`Influx`], over UDP or HTTP (`InfluxHttp`) |
//! | `prometheus` | [`Registry::render`] and [`Registry::service`](towerkit_metrics::Registry) |
//! | `provider` | [`Provider`](towerkit_metrics::Provider), implemented by the registry and the `metrics` facade |
//! | `multi` | several pushers of one registry, which Prometheus may scrape as well |
//! | `generic`, `teststat` | [`Registry::snapshot`] |
//! | `discard` | a registry without a pusher |
//! | `expvar` | [`Registry::render`], a page in the format of Prometheus |
//! | `cloudwatch`, `cloudwatch2` | the crate [`metrics_cloudwatch`](https://docs.rs/metrics_cloudwatch), behind the `metrics` facade |
//! | `pcp` | Performance Co-Pilot reads the format of Prometheus ([`pmdaopenmetrics`]) |
//!
//! `WriteLoop` and `SendLoop` are [`Pusher::run`], and [`Pusher::flush`] is the last push, which go-kit omits. In go-kit a failed push
//! loses its values, a sample rate is written but not applied, a gauge is reset by each push, and memory grows between pushes.
//!
//! [`Registry`]: towerkit_metrics::Registry
//! [`Registry::render`]: towerkit_metrics::Registry::render
//! [`Registry::snapshot`]: towerkit_metrics::Registry::snapshot
//! [statsd]: https://github.com/statsd/statsd
//! [DogStatsD]: https://docs.datadoghq.com/developers/dogstatsd/
//! [Graphite]: https://graphiteapp.org
//! [InfluxDB]: https://www.influxdata.com
//! [`histogram_quantile`]: https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile
//! [`pmdaopenmetrics`]: https://man7.org/linux/man-pages/man1/pmdaopenmetrics.1.html

mod backoff;
mod destination;
mod format;
#[cfg(test)]
mod format_tests;
mod graphite;
mod handle;
#[cfg_attr(not(feature = "http"), path = "no_http.rs")]
mod http;
mod influx;
mod packet_buffer;
mod pusher;
mod quantile;
mod sent_state;
mod series;
mod sockets;
mod statsd;
mod text;
mod transport;

pub use destination::Destination;
pub use format::Format;
pub use graphite::Graphite;
pub use handle::{PusherHandle, PusherSnapshot};
#[cfg(feature = "http")]
pub use http::InfluxHttp;
pub use influx::Influx;
pub use pusher::{PushError, Pusher};
pub use statsd::{Histograms, Statsd};
