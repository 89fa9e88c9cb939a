//! Etsy's statsd.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use serde_json::Value;
use towerkit_metrics::{Buckets, Registry};
use towerkit_metrics_push::{Destination, Histograms, Pusher, Statsd};
use towerkit_programs::{Program, free_port};

use super::{registry_with_special_labels, snapshot_when, until, while_pushing};

struct Daemon {
    port: u16,
    program: Program,
}

/// A backend of statsd that appends each flush, ten times a second, to a file.
const BACKEND: &str = r#"
const fs = require("fs");
exports.init = (startup, config, events) => {
    events.on("flush", (time, { counters, gauges, timer_data }) =>
        fs.appendFileSync(config.passed, JSON.stringify({ counters, gauges, timer_data }) + "\n"));
    return true;
};
"#;

impl Daemon {
    /// Starts a daemon, and waits until it listens.
    fn start() -> Self {
        let mut program = Program::new("statsd");
        let (port, management) = (free_port(), free_port());
        let backend = program.file("backend.js", BACKEND);
        let passed = program.file("passed", "");
        let configuration = format!(
            r#"{{ port: {port}, address: "127.0.0.1", mgmt_port: {management}, mgmt_address: "127.0.0.1",
                flushInterval: 100, backends: ["{backend}"], passed: "{passed}", deleteCounters: true }}"#
        );
        let configuration = program.file("configuration.js", &configuration);
        program.start([configuration]);
        let daemon = Self { port, program };
        daemon.listens(1);
        daemon
    }

    fn restart(&mut self) {
        self.program.restart();
        self.listens(2);
    }

    fn listens(&self, times: usize) {
        until("statsd is up", || {
            let output = self.program.read("output");
            (output.matches("server is up").count() == times).then_some(())
        });
        // The daemon prints the line before it listens.
        let probe = UdpSocket::bind("127.0.0.1:0").unwrap();
        probe.connect(("127.0.0.1", self.port)).unwrap();
        until("statsd listens", || {
            let sent = probe.send(b"\n").and_then(|_| probe.send(b"\n"));
            sent.is_ok().then_some(())
        });
    }

    fn destination(&self) -> Destination {
        Destination::udp(format!("127.0.0.1:{}", self.port))
    }

    /// Returns all flushes until now.
    fn flushes(&self) -> Vec<Value> {
        let text = self.program.read("passed");
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Returns the sum of a counter over all flushes.
    fn counter(&self, name: &str) -> f64 {
        let flushes = self.flushes();
        let counts = flushes.iter().map(|flush| &flush["counters"][name]);
        counts.filter_map(Value::as_f64).sum()
    }

    fn gauge(&self, name: &str) -> Option<f64> {
        let flushes = self.flushes();
        flushes
            .iter()
            .rev()
            .find_map(|flush| flush["gauges"][name].as_f64())
    }

    /// Waits until a counter is `sum`, and checks that it is never larger.
    fn expect(&self, name: &str, sum: f64) {
        until(&format!("{name} is {sum}"), || {
            let found = self.counter(name);
            assert!(found <= sum + 1e-9, "{name} is {found}");
            ((found - sum).abs() < 1e-9).then_some(())
        });
    }

    fn has_no_bad_lines(&self) {
        assert_eq!(
            self.counter("statsd.bad_lines_seen"),
            0.0,
            "{}",
            self.program.read("output")
        );
    }
}

/// GK-MT-1, GK-MT-2.
#[tokio::test]
#[ignore = "needs statsd"]
async fn statsd_has_the_values_of_the_registry() {
    let daemon = Daemon::start();
    let registry = Registry::new();
    let counter = registry
        .counter("calls_total", "", &[("method", "GET")])
        .unwrap();
    let gauge = registry.gauge("active", "", &[]).unwrap();
    let buckets = Buckets::new([0.5, 1.0]).unwrap();
    let histogram = registry.histogram("h_seconds", "", &[], &buckets).unwrap();
    let pusher = Pusher::new(registry, Statsd::new().prefix("app."), daemon.destination());
    let mut pusher = pusher.interval(Duration::from_millis(10)).unwrap();
    let work = async {
        for _ in 0..100 {
            counter.add(3);
            gauge.add(-1);
            histogram.observe(0.25);
            histogram.observe(2.0);
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    while_pushing(&mut pusher, work).await;
    let snapshot = pusher.handle().snapshot();
    assert!(
        snapshot.pushes > 5 && snapshot.failures == 0,
        "{snapshot:?}"
    );
    daemon.expect("app.calls_total.method.GET", 300.0);
    daemon.expect("app.h_seconds.count", 200.0);
    daemon.expect("app.h_seconds.sum", 225.0);
    daemon.expect("app.h_seconds.bucket.0_5", 100.0);
    daemon.expect("app.h_seconds.bucket.inf", 100.0);
    assert_eq!(daemon.counter("app.h_seconds.bucket.1"), 0.0);
    until("the gauge", || {
        (daemon.gauge("app.active") == Some(-100.0)).then_some(())
    });
    daemon.has_no_bad_lines();
}

/// GK-MT-4.
#[tokio::test]
#[ignore = "needs statsd"]
async fn samples_are_counted_by_their_rate() {
    let daemon = Daemon::start();
    let registry = Registry::new();
    let buckets = Buckets::new([0.5, 1.0]).unwrap();
    let histogram = registry.histogram("h_seconds", "", &[], &buckets).unwrap();
    (0..49).for_each(|_| histogram.observe(0.75));
    histogram.observe(0.1);
    let statsd = Statsd::new().histograms(Histograms::Samples);
    Pusher::new(registry, statsd, daemon.destination())
        .flush()
        .await
        .unwrap();
    let data = until("the timer", || {
        let flushes = daemon.flushes();
        let mut data = flushes
            .iter()
            .map(|flush| flush["timer_data"]["h_seconds"].clone());
        data.find(Value::is_object)
    });
    assert!(
        (data["count"].as_f64().unwrap() - 50.0).abs() < 1e-9,
        "{data}"
    );
    assert_eq!(
        (&data["lower"], &data["upper"]),
        (&Value::from(250), &Value::from(750))
    );
    daemon.has_no_bad_lines();
}

/// Etsy's statsd converts the tags of DogStatsD to those of Graphite.
#[tokio::test]
#[ignore = "needs statsd"]
async fn tags_arrive_as_tags() {
    let daemon = Daemon::start();
    let registry = Registry::new();
    let labels = [("method", "GET"), ("route", "/orders/{id}")];
    registry.counter("calls_total", "", &labels).unwrap().add(3);
    registry.gauge("active", "", &labels).unwrap().set(4);
    let dog = Statsd::dogstatsd().prefix("app.").tag("env", "prod");
    Pusher::new(registry, dog, daemon.destination())
        .flush()
        .await
        .unwrap();
    // In names statsd replaces a slash by a dash, and removes braces.
    daemon.expect("app.calls_total;env=prod;method=GET;route=-orders-id", 3.0);
    until("the gauge", || {
        daemon.gauge("app.active;env=prod;method=GET;route=-orders-id")
    });
    daemon.has_no_bad_lines();
}

/// MT-06.
#[tokio::test]
#[ignore = "needs statsd"]
async fn special_labels_are_one_valid_line_each_for_statsd() {
    let daemon = Daemon::start();
    for statsd in [Statsd::new(), Statsd::dogstatsd()] {
        let mut pusher = Pusher::new(registry_with_special_labels(), statsd, daemon.destination());
        pusher.flush().await.unwrap();
        assert_eq!(pusher.handle().snapshot().lines, 12);
    }
    daemon.expect("statsd.metrics_received", 24.0);
    daemon.has_no_bad_lines();
    let flushes = daemon.flushes();
    let special = flushes
        .iter()
        .flat_map(|flush| flush["counters"].as_object().unwrap());
    let (mut plain, mut tagged) = (0.0, 0.0);
    for (name, count) in special.filter(|(name, _)| !name.starts_with("statsd.")) {
        let sum = if name.starts_with("special_total.kind.special.value.") {
            &mut plain
        } else {
            assert!(
                name.starts_with("special_total;kind=special;value="),
                "{name}"
            );
            &mut tagged
        };
        *sum += count.as_f64().unwrap();
    }
    assert_eq!((plain, tagged), (78.0, 78.0));
}

/// Statsd is killed and restarted, then suspended for a time and resumed; it gets all increases.
#[tokio::test]
#[ignore = "needs statsd"]
async fn statsd_gets_all_increases_after_an_outage() {
    let mut daemon = Daemon::start();
    let registry = Registry::new();
    let counter = registry.counter("calls_total", "", &[]).unwrap();
    let pusher = Pusher::new(registry, Statsd::new(), daemon.destination());
    let mut pusher = pusher.interval(Duration::from_millis(10)).unwrap();
    let handle = pusher.handle();
    counter.add(5);
    while_pushing(
        &mut pusher,
        snapshot_when(&handle, |snapshot| snapshot.pushes > 1),
    )
    .await;
    daemon.expect("calls_total", 5.0);
    daemon.program.kill();
    for failures in 1..100 {
        counter.add(1);
        pusher.flush().await.unwrap_err();
        let snapshot = handle.snapshot();
        assert_eq!(snapshot.failures, failures, "{snapshot:?}");
    }
    daemon.restart();
    pusher.flush().await.unwrap();
    daemon.expect("calls_total", 104.0);

    daemon.program.signal("STOP");
    let begun = Instant::now();
    for _ in 0..10 {
        counter.add(1);
        pusher.flush().await.unwrap();
    }
    assert!(begun.elapsed() < Duration::from_secs(5));
    daemon.program.signal("CONT");
    // The socket has buffered all datagrams.
    daemon.expect("calls_total", 114.0);
    daemon.has_no_bad_lines();
}

/// The pauses keep a burst from overrunning the socket of the receiver.
#[tokio::test]
#[ignore = "needs statsd"]
async fn ten_thousand_series_arrive_completely() {
    let daemon = Daemon::start();
    let registry = Registry::new();
    for n in 0..10_000 {
        let n = n.to_string();
        let labels = [("a_label_of_some_length", n.as_str())];
        registry.counter("calls_total", "", &labels).unwrap().add(2);
    }
    let mut pusher = Pusher::new(registry, Statsd::new(), daemon.destination());
    pusher.flush().await.unwrap();
    assert_eq!(pusher.handle().snapshot().lines, 10_000);
    daemon.expect("statsd.metrics_received", 10_000.0);
    daemon.has_no_bad_lines();
}
