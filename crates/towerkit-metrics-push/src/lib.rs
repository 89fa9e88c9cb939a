//! Pushes the metrics of a [`Registry`] to statsd, DogStatsD, Graphite and InfluxDB.
//!
//! A [`Pusher`] takes a snapshot of the registry every 10 seconds, writes it as lines of [`Statsd`], [`Graphite`] or [`Influx`], and
//! sends these to a [`Target`]: by UDP, TCP or a Unix socket, or by HTTP with the feature `http`. It works in the future that its user
//! polls, and nothing else: it has no task of its own. Calls that are measured touch the registry only, so that no receiver can hold
//! them up.
//!
//! ```
//! use std::time::Duration;
//! use towerkit_metrics::Registry;
//! use towerkit_metrics_push::{Pusher, Statsd, Target};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! # let receiver = tokio::net::UdpSocket::bind("127.0.0.1:0").await?;
//! # let address = receiver.local_addr()?.to_string();
//! let registry = Registry::new();
//! registry.counter("words_total", "Words.", &[("done", "uppercase")])?.add(2);
//!
//! // `address` is "127.0.0.1:8125", where an agent listens.
//! let lines = Statsd::dogstatsd().prefix("app.").tag("env", "prod");
//! let mut pusher = Pusher::new(registry, lines, Target::udp(address)).interval(Duration::from_secs(5))?;
//! let handle = pusher.handle();
//! # let (shutdown, is_shutdown) = tokio::sync::oneshot::channel::<()>();
//! let pushing = async move {
//!     tokio::select! {
//!         never = pusher.run() => match never {},
//!         _ = is_shutdown => pusher.flush().await,
//!     }
//! };
//! # drop(shutdown);
//! // Elsewhere: `tokio::spawn(pushing)`.
//! pushing.await?;
//! assert_eq!(handle.report().pushes, 1);
//!
//! let mut datagram = [0; 1500];
//! let length = receiver.recv(&mut datagram).await?;
//! assert_eq!(&datagram[..length], b"app.words_total:2|c|#env:prod,done:uppercase");
//! # Ok::<_, Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # What is told
//!
//! | | counters | gauges | histograms |
//! |---|---|---|---|
//! | [`Statsd`] | what came since the last push | value | counters of values, sum and buckets, or [samples](Histograms::Samples) |
//! | [`Graphite`] | value, which rises | value | count and sum, which rise; quantiles since the last push |
//! | [`Influx`] | value, which rises | value | count and sum, which rise; quantiles since the last push |
//!
//! Statsd adds up what it is told, so it is told what is new. The other two keep what they are told, and compute rates themselves: a
//! number that rises loses nothing with a lost point, and a point that is told twice is no error.
//!
//! Every series is one line for each number, whatever its name and labels hold (`|`, `:`, `,`, `=`, `#`, `;`, line feeds, …): the
//! types say what becomes of which character. A label whose value is empty is none. A number that is not finite is left out.
//!
//! # Quantiles
//!
//! A histogram of the registry knows how many values lie between two bounds, not the values. A quantile is estimated as by Prometheus's
//! `histogram_quantile`: as if the values between two bounds lay evenly there. With `n` of `total` values below the bucket in which the
//! quantile `q` lies, and `c` in it, it is `lower + (upper - lower) * (q * total - n) / c`. The first bucket begins at 0; above the last
//! bound the estimate is that bound.
//!
//! # While the receiver is away
//!
//! Nothing is queued: what could not be told is still in the registry, and is told by the next push, so that memory stays what it is.
//! A push has 5 seconds ([`timeout`](Pusher::timeout)), and while pushes fail they become rarer, down to one a minute. Since when a
//! number counts as told depends on the transport:
//!
//! - HTTP: when InfluxDB has answered that it is written.
//! - Unix sockets: when the datagram is in the queue of the receiver. While that is full the push waits.
//! - TCP: when the connection has taken it, unless it is reset by the next push. A receiver that dies with lines unread resets it; of
//!   a machine that vanishes nothing is heard, and the pushes until the connection is full or given up are lost, which costs the values
//!   that rise nothing.
//! - UDP: when no rejection has come back by the next push. On the same machine a rejection comes at once. A receiver that is there but
//!   does not read, and a network that drops, lose what they are sent, and nobody knows; so, bursts have pauses in them.
//!
//! After a rejection everything that the push told is told again, also what had arrived before the receiver went away: a receiver like
//! statsd loses what it has not passed on when it dies.
//!
//! # Cancellation
//!
//! [`run`](Pusher::run) and [`flush`](Pusher::flush) may be dropped at any time. What was sent by then counts as sent.
//!
//! # Errors
//!
//! Settings that make no sense are an [`InvalidSetting`]. Pushes that fail are counted by the [handle](PusherHandle), whose
//! [`report`](PusherHandle::report) also has the reason of the last one.
//!
//! # Coming from go-kit
//!
//! | go-kit's `metrics/…` | here |
//! |---|---|
//! | `statsd` | [`Statsd::new`] |
//! | `dogstatsd` | [`Statsd::dogstatsd`], over UDP or a Unix socket |
//! | `influxstatsd` | [`Statsd::influx`] |
//! | `graphite` | [`Graphite`] |
//! | `influx` | [`Influx`], by UDP or HTTP (`InfluxHttp`) |
//! | `prometheus` | `Registry::render` and `Registry::service` of `towerkit-metrics` |
//! | `provider` | `Provider` of `towerkit-metrics`: one interface for the registry and the `metrics` facade |
//! | `multi` | several pushers on one registry, which Prometheus may scrape as well |
//! | `generic`, `teststat` | `Registry::snapshot`: the numbers themselves |
//! | `discard` | a registry that nobody reads |
//! | `expvar` | none: it is Go's own page of variables; `Registry::render` is a page that more can read |
//! | `cloudwatch`, `cloudwatch2` | the `metrics_cloudwatch` crate, behind the `metrics` facade (`Facade` of `towerkit-metrics`) |
//! | `pcp` | none: Performance Co-Pilot reads Prometheus's format itself (`pmdaopenmetrics`) |
//!
//! `WriteLoop` and `SendLoop` are [`Pusher::run`]; the last push, which go-kit leaves out, is [`Pusher::flush`]. There a failed push lost
//! what it had to tell, a sample rate was written but not applied (here it is how many values one sample stands for), a gauge began
//! anew after each push, and memory grew between pushes.
//!
//! [`Registry`]: towerkit_metrics::Registry

mod format;
mod graphite;
mod handle;
#[cfg_attr(not(feature = "http"), path = "no_http.rs")]
mod http;
mod influx;
mod interval;
mod invalid;
mod ledger;
#[cfg(test)]
mod lines;
mod pace;
mod packer;
mod pusher;
mod quantile;
mod series;
mod statsd;
mod target;
mod text;
mod wire;

pub use format::Format;
pub use graphite::Graphite;
pub use handle::{PusherHandle, Report};
#[cfg(feature = "http")]
pub use http::InfluxHttp;
pub use influx::Influx;
pub use invalid::InvalidSetting;
pub use pusher::{PushError, Pusher};
pub use statsd::{Histograms, Statsd};
pub use target::Target;
