use std::{num::NonZeroU32, time::Duration};

use clap::{Parser, ValueEnum};
use flags::{AuthScheme, RegistryUrl};
use towerkit::{discovery::Address, log::Format};
use tracing::level_filters::LevelFilter;

/// go-kit's string service on towerkit.
#[derive(Debug, Clone, Parser)]
pub struct Args {
    /// Address to listen on, such as localhost:8080; port 0 takes a free one.
    #[arg(long, env = "STRINGSVC_ADDR", default_value = "127.0.0.1:8080", value_parser = address)]
    pub addr: String,

    /// Instances that answer `uppercase` in place of this process, such as localhost:8001,localhost:8002.
    #[arg(
        long,
        env = "STRINGSVC_PROXY",
        value_delimiter = ',',
        conflicts_with = "discover"
    )]
    pub proxy: Vec<Address>,

    /// Registry of the instances that answer `uppercase` in place of this process: file:PATH, dns://HOST:PORT,
    /// dns://_SERVICE._tcp.DOMAIN, etcd://HOST:PORT/SERVICE, consul://HOST:PORT/SERVICE or zk://HOST:PORT/SERVICE.
    #[arg(long, env = "STRINGSVC_DISCOVER", value_name = "URL")]
    pub discover: Option<RegistryUrl>,

    /// Registry in which this instance registers itself: etcd://, consul:// or zk:// as above.
    #[arg(long, env = "STRINGSVC_REGISTER", value_name = "URL")]
    pub register: Option<RegistryUrl>,

    /// Address that is registered, if others reach this instance by another one than it listens on.
    #[arg(
        long,
        env = "STRINGSVC_ADVERTISE",
        value_name = "ADDR",
        requires = "register"
    )]
    pub advertise: Option<Address>,

    /// Authentication of callers: basic:FILE, api-key:FILE or jwt:URL; without one, anyone may call.
    #[arg(long, env = "STRINGSVC_AUTH", value_name = "SCHEME")]
    pub auth: Option<AuthScheme>,

    /// Calls admitted per second.
    #[arg(long, env = "STRINGSVC_RATE", default_value = "1000")]
    pub rate: NonZeroU32,

    /// Calls admitted at once after a pause.
    #[arg(long, env = "STRINGSVC_BURST", default_value = "1000")]
    pub burst: NonZeroU32,

    /// Time that a call may take, such as 250ms, 2s or 1m.
    #[arg(long, env = "STRINGSVC_TIMEOUT", default_value = "2s", value_parser = duration)]
    pub timeout: Duration,

    /// Time for the calls in flight to end after SIGTERM or SIGINT.
    #[arg(long, env = "STRINGSVC_DRAIN", default_value = "10s", value_parser = duration)]
    pub drain: Duration,

    /// Lowest level that is logged: off, error, warn, info, debug or trace.
    #[arg(long, env = "STRINGSVC_LOG", default_value = "info")]
    pub log: LevelFilter,

    /// Format of the log on stderr.
    #[arg(long, env = "STRINGSVC_LOG_FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,

    /// Collector for spans by OTLP over gRPC, such as http://127.0.0.1:4317; without one, no spans are sent.
    #[arg(long, env = "STRINGSVC_OTLP")]
    pub otlp: Option<String>,

    /// Share of the traces that begin here to record, from 0 to 1; callers decide for their own.
    #[arg(long, env = "STRINGSVC_SAMPLE", default_value = "1", value_parser = share)]
    pub sample: f64,
}

/// The formats of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// `key=value` pairs.
    Logfmt,
    /// One JSON object per line.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Logfmt => Self::Logfmt,
            LogFormat::Json => Self::Json,
        }
    }
}

/// Checks that there is a host and a port. The host is looked up when the server starts.
fn address(text: &str) -> Result<String, &'static str> {
    let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    let port = port.and_then(|(_, port)| port.parse::<u16>().ok());
    port.map(|_| text.to_owned())
        .ok_or("expected a host and a port, such as localhost:8080")
}

/// Reads a whole number and its unit.
fn duration(text: &str) -> Result<Duration, &'static str> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text[..text.len() - unit.len()].parse::<u64>();
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        _ => return Err("expected a whole number and ms, s, m or h, such as 250ms"),
    };
    match number.ok().and_then(|number| number.checked_mul(millis)) {
        Some(0) => Err("must not be zero"),
        Some(millis) => Ok(Duration::from_millis(millis)),
        None => Err("expected a number that is not that long, such as 250ms"),
    }
}

/// Reads a share.
fn share(text: &str) -> Result<f64, &'static str> {
    let share = text
        .parse()
        .ok()
        .filter(|share| (0.0..=1.0).contains(share));
    share.ok_or("expected a number from 0 to 1, such as 0.1")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        let millis = |text| duration(text).map(|duration| duration.as_millis());
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("2s"), Ok(2_000));
        assert_eq!(millis("1m"), Ok(60_000));
        assert_eq!(millis("3h"), Ok(10_800_000));
        for nonsense in [
            "",
            "2",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "2 s",
            "2d",
            "99999999999999999999s",
            "é",
        ] {
            assert!(duration(nonsense).is_err(), "{nonsense}");
        }
    }
}
