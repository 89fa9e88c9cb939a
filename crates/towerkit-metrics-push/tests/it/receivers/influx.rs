//! InfluxDB 1.6 over HTTP and UDP.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use towerkit_metrics::{Buckets, Registry};
use towerkit_metrics_push::{Destination, Influx, InfluxHttp, Pusher};
use towerkit_programs::{Program, free_port};

use super::{SPECIAL, registry_with_special_labels, until};

struct Database {
    http: u16,
    udp: u16,
    program: Program,
}

impl Database {
    /// Starts a database with the user `ann`, the password `canary`, and the databases `app` and `udp`.
    fn start() -> Self {
        let mut program = Program::new("influxd");
        let [http, udp, backup] = [0; 3].map(|_| free_port());
        let folder = program.folder().to_str().unwrap().to_owned();
        let configuration = format!(
            "reporting-disabled = true\nbind-address = \"127.0.0.1:{backup}\"\n\
             [meta]\ndir = \"{folder}/meta\"\n[data]\ndir = \"{folder}/data\"\nwal-dir = \"{folder}/wal\"\n\
             [monitor]\nstore-enabled = false\n\
             [http]\nbind-address = \"127.0.0.1:{http}\"\nauth-enabled = true\n\
             [[udp]]\nenabled = true\nbind-address = \"127.0.0.1:{udp}\"\ndatabase = \"udp\"\nbatch-timeout = \"10ms\"\n"
        );
        let path = program.file("influxd.conf", &configuration);
        program.start(["run".into(), "-config".into(), path]);
        let database = Self { http, udp, program };
        database.wait_until_ready();
        database.query(
            "",
            "CREATE USER ann WITH PASSWORD 'canary' WITH ALL PRIVILEGES",
        );
        database.query("", "CREATE DATABASE app");
        database.query("", "CREATE DATABASE udp");
        database
    }

    fn restart(&mut self) {
        self.program.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        until("influxd replies", || {
            let ping = Command::new("curl")
                .args(["--silent", "--fail", &format!("{}/ping", self.url())])
                .status();
            ping.expect("curl is installed").success().then_some(())
        });
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    fn writer(&self) -> InfluxHttp {
        let writer = InfluxHttp::v1(&self.url(), "app").unwrap();
        writer.basic("ann", "canary").unwrap()
    }

    fn query(&self, database: &str, query: &str) -> Value {
        let output = Command::new("curl")
            .args(["--silent", "--user", "ann:canary", "--data-urlencode"])
            .arg(format!("q={query}"))
            .arg(format!("{}/query?db={database}", self.url()))
            .output()
            .expect("curl is installed");
        let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(
            answer["results"][0].get("error").is_none(),
            "{query}: {answer}"
        );
        answer["results"][0]["series"][0]["values"].clone()
    }

    /// Returns the rows of a query without their times.
    fn rows(&self, database: &str, query: &str) -> Vec<Vec<Value>> {
        let rows = self.query(database, query);
        let rows = rows.as_array().cloned().unwrap_or_default();
        rows.iter()
            .map(|row| row.as_array().unwrap()[1..].to_vec())
            .collect()
    }
}

/// GK-MT-5.
#[tokio::test]
#[ignore = "needs influxd"]
async fn influxdb_has_the_values_of_the_registry() {
    let database = Database::start();
    let registry = Registry::new();
    let counter = registry
        .counter("influx_counter", "", &[("a", "b")])
        .unwrap();
    counter.add(60);
    registry.gauge("active", "", &[]).unwrap().set(-2);
    let buckets = Buckets::new([1.0, 2.0, 4.0]).unwrap();
    let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
    (0..16).for_each(|_| histogram.observe(1.5));
    let influx = || Influx::new().tag("env", "prod");
    let mut pusher = Pusher::new(registry.clone(), influx(), database.writer());
    pusher.flush().await.unwrap();
    let udp = Destination::udp(format!("127.0.0.1:{}", database.udp));
    Pusher::new(registry, influx(), udp).flush().await.unwrap();
    for name in ["app", "udp"] {
        let count = "SELECT a, env, count FROM influx_counter";
        let found = until("the counter", || database.rows(name, count).pop());
        assert_eq!(found, ["b".into(), "prod".into(), Value::from(60)]);
        let found = until("the gauge", || {
            database.rows(name, "SELECT value FROM active").pop()
        });
        assert_eq!(found, [Value::from(-2)]);
        let histogram = "SELECT count, sum, p50, p90, p95, p99 FROM h";
        let found = until("the histogram", || database.rows(name, histogram).pop());
        let expected = [16.0, 24.0, 1.5, 1.9, 1.95, 1.99];
        let near =
            |(found, expected): (&Value, f64)| (found.as_f64().unwrap() - expected).abs() < 1e-9;
        assert!(found.iter().zip(expected).all(near), "{found:?}");
    }
    counter.add(1);
    pusher.flush().await.unwrap();
    let rows = database.rows("app", "SELECT count FROM influx_counter");
    assert_eq!(rows, [[Value::from(60)], [Value::from(61)]]);
    // Without new values there is no quantile.
    let rows = database.rows("app", "SELECT p50, count FROM h");
    assert_eq!(rows[1], [Value::Null, Value::from(16)]);
}

/// MT-06: all characters except control characters and backslashes are stored unchanged.
#[tokio::test]
#[ignore = "needs influxd"]
async fn special_labels_are_stored_unchanged_on_influxdb() {
    let database = Database::start();
    Pusher::new(
        registry_with_special_labels(),
        Influx::new(),
        database.writer(),
    )
    .flush()
    .await
    .unwrap();
    let udp = Destination::udp(format!("127.0.0.1:{}", database.udp));
    Pusher::new(registry_with_special_labels(), Influx::new(), udp)
        .flush()
        .await
        .unwrap();
    for name in ["app", "udp"] {
        let rows = until("all", || {
            let rows = database.rows(name, "SELECT kind, value, count FROM special_total");
            (rows.len() >= SPECIAL.len()).then_some(rows)
        });
        assert_eq!(rows.len(), SPECIAL.len());
        for (value, count) in SPECIAL.into_iter().zip(1..) {
            let kept = |c: char| if c.is_control() || c == '\\' { '_' } else { c };
            let value: String = value.chars().map(kept).collect();
            let row = ["special".into(), Value::from(value), Value::from(count)];
            assert!(
                rows.iter().any(|found| *found == row),
                "{row:?} in {rows:?}"
            );
        }
    }
}

/// LG-04: the error has the message of InfluxDB, and no password.
#[tokio::test]
#[ignore = "needs influxd"]
async fn an_error_has_the_message_of_influxdb() {
    let database = Database::start();
    let push = async |writer: InfluxHttp| {
        let registry = Registry::new();
        registry.counter("c", "", &[]).unwrap().add(1);
        let mut pusher = Pusher::new(registry, Influx::new(), writer);
        let error = pusher.flush().await.unwrap_err();
        let snapshot = pusher.handle().snapshot();
        let shown = format!("{error} {error:?} {snapshot:?} {pusher:?}");
        assert!(
            !shown.contains("canary") && !shown.contains("Y2FuYXJ5"),
            "{shown}"
        );
        snapshot.last_failure.unwrap()
    };
    let writer = |name| InfluxHttp::v1(&database.url(), name).unwrap();
    let message = push(writer("app")).await;
    assert!(message.contains("401 Unauthorized"), "{message}");
    let message = push(writer("app").basic("ann", "canaryx").unwrap()).await;
    assert!(message.contains("401 Unauthorized"), "{message}");
    let message = push(writer("none").basic("ann", "canary").unwrap()).await;
    assert!(
        message.contains("404") && message.contains("database not found"),
        "{message}"
    );
}

/// InfluxDB is killed and restarted, then suspended for a time and resumed; it gets all values.
#[tokio::test]
#[ignore = "needs influxd"]
async fn influxdb_gets_all_values_after_an_outage() {
    let mut database = Database::start();
    let registry = Registry::new();
    let counter = registry.counter("c", "", &[]).unwrap();
    let buckets = Buckets::new([1.0, 2.0]).unwrap();
    let histogram = registry.histogram("h", "", &[], &buckets).unwrap();
    let pusher = Pusher::new(registry, Influx::new(), database.writer());
    let mut pusher = pusher.timeout(Duration::from_secs(2)).unwrap();
    counter.add(1);
    pusher.flush().await.unwrap();

    database.program.kill();
    counter.add(10);
    histogram.observe(1.5);
    for _ in 0..200 {
        pusher.flush().await.unwrap_err();
    }
    database.restart();
    pusher.flush().await.unwrap();

    database.program.signal("STOP");
    counter.add(100);
    for _ in 0..2 {
        let begun = Instant::now();
        pusher.flush().await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    database.program.signal("CONT");
    pusher.flush().await.unwrap();
    let mut rows = database.rows("app", "SELECT count FROM c");
    // It also writes the points that it got while it was suspended.
    rows.dedup();
    assert_eq!(
        rows,
        [[Value::from(1)], [Value::from(11)], [Value::from(111)]]
    );
    // The quantiles cover the interval since the last push that arrived.
    let rows = database.rows("app", "SELECT p50 FROM h");
    assert_eq!(rows, [[Value::from(1.5)]]);
}
