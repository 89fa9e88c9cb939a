//! MT-06: whatever names and labels hold, each number is one line, which a reader of the format takes apart as it was meant.

use std::{cell::OnceCell, io, os::unix::net::UnixDatagram, time::Duration};

use tokio::runtime::{Builder, Runtime};
use towerkit_metrics::{Buckets, Registry};
use towerkit_metrics_push::{Destination, Format, Graphite, Histograms, Influx, Pusher, Statsd};

use crate::push_reader::{
    Point, read_dogstatsd, read_graphite, read_influx, read_influx_statsd, read_statsd,
};

/// Pushes metrics with what the bytes hold to statsd, DogStatsD and Telegraf. The bytes `0xff` part a prefix, two labels, and the
/// name and the value of a tag.
///
/// # Panics
///
/// If a line is none of the format.
pub fn statsd(data: &[u8]) {
    let case = Case::of(data);
    let samples = data.len() % 2 == 1;
    let with = |statsd: Statsd| {
        let histograms = if samples {
            Histograms::Samples
        } else {
            Histograms::Counters
        };
        let statsd = statsd.histograms(histograms).prefix(&case.prefix);
        statsd.tag(&case.tag.0, &case.tag.1)
    };
    let of_histogram = if samples { 1 } else { 3 };
    // A gauge below 0 is two lines, but for Datadog.
    case.check(with(Statsd::new()), read_statsd, 3 + of_histogram, false);
    case.check(
        with(Statsd::dogstatsd()),
        read_dogstatsd,
        2 + of_histogram,
        true,
    );
    case.check(
        with(Statsd::influx()),
        read_influx_statsd,
        3 + of_histogram,
        true,
    );
}

/// Pushes the same to Graphite, with tags and with levels.
///
/// # Panics
///
/// If a line is none of the format.
pub fn graphite(data: &[u8]) {
    let case = Case::of(data);
    let graphite = Graphite::new()
        .prefix(&case.prefix)
        .tag(&case.tag.0, &case.tag.1);
    case.check(graphite.clone(), read_graphite, 8, true);
    case.check(graphite.levels(), read_graphite, 8, false);
}

/// Pushes the same to InfluxDB.
///
/// # Panics
///
/// If a line is none of the format.
pub fn influx(data: &[u8]) {
    let case = Case::of(data);
    let influx = Influx::new()
        .prefix(&case.prefix)
        .tag(&case.tag.0, &case.tag.1);
    case.check(influx, read_influx, 3, true);
}

struct Case {
    prefix: String,
    labels: [String; 2],
    tag: (String, String),
}

impl Case {
    /// Longest text: so that a line is never too long for a packet.
    const MOST: usize = 200;

    fn of(data: &[u8]) -> Self {
        let mut parts = data.split(|byte| *byte == 0xff);
        let mut part = || {
            let text = String::from_utf8_lossy(parts.next().unwrap_or_default());
            text.chars().take(Self::MOST).collect::<String>()
        };
        Self {
            labels: [part(), part()],
            tag: (part(), part()),
            prefix: part(),
        }
    }

    fn registry(&self) -> Registry {
        let registry = Registry::new();
        let labels = [("path", &*self.labels[0]), ("time", &*self.labels[1])];
        let counter = registry.counter("calls_total", "Calls.", &labels);
        counter.expect("a counter").add(3);
        let gauge = registry.gauge("calls_active", "Calls.", &labels);
        gauge.expect("a gauge").set(-5);
        let buckets = Buckets::new([1.0]).expect("a bucket");
        let histogram = registry.histogram("call_duration_seconds", "Time.", &labels, &buckets);
        let histogram = histogram.expect("a histogram");
        (0..4).for_each(|_| histogram.observe(0.5));
        registry
    }

    fn check(
        &self,
        format: impl Into<Format>,
        read: fn(&str) -> Result<Point, String>,
        count: usize,
        has_tags: bool,
    ) {
        thread_local!(static RECEIVER: OnceCell<Receiver> = const { OnceCell::new() });
        let pusher = |destination| Pusher::new(self.registry(), format, destination);
        let lines = RECEIVER.with(|cell| cell.get_or_init(Receiver::new).lines(pusher));
        assert_eq!(lines.len(), count, "{lines:?}");
        for line in &lines {
            let point = read(line).unwrap_or_else(|why| panic!("{why}: {line:?}"));
            let is_number = point.values.iter().all(|value| value.is_finite());
            assert!(is_number && !point.values.is_empty(), "{line:?}");
            assert!(point.name.contains("call"), "{line:?}");
            if has_tags {
                self.check_tags(&point, line);
            }
        }
    }

    /// Labels that need no care come out as they are, and there are no tags but those that were given.
    fn check_tags(&self, point: &Point, line: &str) {
        let mut count = 0;
        for (name, value) in ["path", "time"].into_iter().zip(&self.labels) {
            let found = point
                .tags
                .iter()
                .filter(|(tag, _)| tag.trim_end_matches('_') == name);
            let found: Vec<_> = found.map(|(_, value)| value).collect();
            if value.is_empty() {
                continue;
            }
            count += 1;
            let is_plain = value.chars().all(char::is_alphanumeric);
            assert!(!is_plain || found.contains(&value), "{line:?}");
        }
        let others = usize::from(!self.tag.1.is_empty());
        let tags = point
            .tags
            .iter()
            .filter(|(tag, _)| tag != "upper_bound")
            .count();
        assert!((count..=count + others).contains(&tags), "{line:?}");
    }
}

/// A real receiver of datagrams, whose pusher knows at once that they have arrived.
struct Receiver {
    runtime: Runtime,
    socket: UnixDatagram,
    path: std::path::PathBuf,
}

impl Receiver {
    fn new() -> Self {
        let thread = format!("{:?}", std::thread::current().id());
        let name = format!("towerkit-{}-{thread}.sock", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).expect("a socket in the temporary folder");
        socket
            .set_nonblocking(true)
            .expect("a socket that does not block");
        let runtime = Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime"),
            socket,
            path,
        }
    }

    /// Returns the lines of one push.
    fn lines(&self, pusher: impl FnOnce(Destination) -> Pusher) -> Vec<String> {
        let pusher = pusher(Destination::unix(&self.path)).timeout(Duration::from_secs(60));
        let mut pusher = pusher.expect("a timeout");
        let pushed = self.runtime.block_on(pusher.flush());
        pushed.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(pusher.handle().snapshot().too_long, 0);
        let mut packet = vec![0; 64 * 1024];
        let mut lines = Vec::new();
        loop {
            match self.socket.recv(&mut packet) {
                Ok(length) => {
                    let text = std::str::from_utf8(&packet[..length]).expect("lines are UTF-8");
                    lines.extend(text.split('\n').map(str::to_owned));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return lines,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
