//! Graphite's carbon-cache, read by whisper-fetch.

use std::{
    net::TcpStream,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use towerkit_metrics::{Buckets, Registry};
use towerkit_metrics_push::{Destination, Graphite, Pusher};
use towerkit_programs::{Program, command, free_port};

use super::{SPECIAL, registry_with_special_labels, snapshot_when, until, while_pushing};

struct Carbon {
    port: u16,
    program: Program,
}

impl Carbon {
    fn start() -> Self {
        let mut program = Program::new("carbon-cache");
        let [port, pickle, query] = [0; 3].map(|_| free_port());
        let folder = program.folder().to_str().unwrap().to_owned();
        let configuration = format!(
            "[cache]\nSTORAGE_DIR = {folder}\nCONF_DIR = {folder}\nLOG_DIR = {folder}\nPID_DIR = {folder}\n\
             LOCAL_DATA_DIR = {folder}/whisper\nUSER =\nDATABASE = whisper\nENABLE_TAGS = False\n\
             LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {port}\n\
             ENABLE_UDP_LISTENER = True\nUDP_RECEIVER_INTERFACE = 127.0.0.1\nUDP_RECEIVER_PORT = {port}\n\
             PICKLE_RECEIVER_INTERFACE = 127.0.0.1\nPICKLE_RECEIVER_PORT = {pickle}\n\
             CACHE_QUERY_INTERFACE = 127.0.0.1\nCACHE_QUERY_PORT = {query}\n\
             MAX_CREATES_PER_MINUTE = inf\nMAX_UPDATES_PER_SECOND = 10000\n"
        );
        let path = program.file("carbon.conf", &configuration);
        program.file(
            "storage-schemas.conf",
            "[all]\npattern = .*\nretentions = 1s:1h\n",
        );
        let arguments = [
            format!("--config={path}"),
            "--nodaemon".into(),
            "start".into(),
        ];
        program.start(arguments);
        let carbon = Self { port, program };
        carbon.wait_until_ready();
        carbon
    }

    fn restart(&mut self) {
        self.program.restart();
        self.wait_until_ready();
    }

    fn wait_until_ready(&self) {
        until("carbon-cache listens", || {
            TcpStream::connect(("127.0.0.1", self.port)).ok()
        });
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn file(&self, name: &str) -> PathBuf {
        let path = format!("whisper/{}.wsp", name.replace('.', "/"));
        self.program.folder().join(path)
    }

    /// Returns the files of series with tags, whose names are hashes.
    fn tagged(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.program.folder().join("whisper/_tagged")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push(path);
                }
            }
        }
        found
    }

    /// Waits until the last value of a series is `value`.
    fn expect(&self, name: &str, value: f64) {
        until(&format!("{name} is {value}"), || {
            (last(&self.file(name)) == Some(value)).then_some(())
        });
    }

    fn has_no_bad_lines(&self) {
        let output = self.program.read("output") + &self.program.read("listener.log");
        assert!(
            !output.contains("invalid line") && !output.contains("Traceback"),
            "{output}"
        );
    }
}

/// Returns the last value of a file of whisper.
fn last(path: &Path) -> Option<f64> {
    let output = command("whisper-fetch").arg(path).output();
    let text = String::from_utf8(output.expect("whisper-fetch is installed").stdout).unwrap();
    let mut values = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse().ok());
    values.rfind(|value: &f64| value.is_finite())
}

/// GK-MT-3, GK-MT-4.
#[tokio::test]
#[ignore = "needs carbon-cache"]
async fn graphite_has_the_values_of_the_registry() {
    let carbon = Carbon::start();
    let registry = Registry::new();
    let labels = [("method", "GET")];
    let counter = registry.counter("calls_total", "", &labels).unwrap();
    registry.gauge("active", "", &[]).unwrap().set(-7);
    let buckets = Buckets::new([1.0, 2.0, 4.0]).unwrap();
    let histogram = registry.histogram("h_seconds", "", &[], &buckets).unwrap();
    (0..8).for_each(|_| histogram.observe(1.5));
    (0..8).for_each(|_| histogram.observe(3.0));
    let graphite = Graphite::new().prefix("app.").levels();
    let mut pusher = Pusher::new(
        registry.clone(),
        graphite,
        Destination::tcp(carbon.address()),
    );
    counter.add(15);
    pusher.flush().await.unwrap();
    for (name, value) in [
        ("calls_total.method.GET", 15.0),
        ("active", -7.0),
        ("h_seconds.count", 16.0),
        ("h_seconds.sum", 36.0),
        ("h_seconds.p50", 2.0),
        ("h_seconds.p90", 3.6),
        ("h_seconds.p95", 3.8),
        ("h_seconds.p99", 3.96),
    ] {
        carbon.expect(&format!("app.{name}"), value);
    }
    // Another pusher over UDP sends the same values.
    counter.add(5);
    let graphite = Graphite::new().prefix("udp.").levels();
    let mut pusher = Pusher::new(registry, graphite, Destination::udp(carbon.address()));
    pusher.flush().await.unwrap();
    carbon.expect("udp.calls_total.method.GET", 20.0);
    carbon.has_no_bad_lines();
}

/// MT-06: each label is one series, and no path leaves the folder.
#[tokio::test]
#[ignore = "needs carbon-cache"]
async fn special_labels_are_one_series_each_on_graphite() {
    let carbon = Carbon::start();
    let graphite = Graphite::new().tag("env", "a b;c");
    let mut pusher = Pusher::new(
        registry_with_special_labels(),
        graphite,
        Destination::tcp(carbon.address()),
    );
    pusher.flush().await.unwrap();
    let files = until("the files", || {
        let files = carbon.tagged();
        (files.len() >= SPECIAL.len()).then_some(files)
    });
    assert_eq!(files.len(), SPECIAL.len());
    let mut values = until("the values", || {
        files
            .iter()
            .map(|file| last(file))
            .collect::<Option<Vec<_>>>()
    });
    values.sort_by(f64::total_cmp);
    let expected: Vec<_> = (1..=SPECIAL.len()).map(|n| n as f64).collect();
    assert_eq!(values, expected);
    let graphite = Graphite::new().prefix("levels.").levels();
    let mut pusher = Pusher::new(
        registry_with_special_labels(),
        graphite,
        Destination::tcp(carbon.address()),
    );
    pusher.flush().await.unwrap();
    carbon.expect(
        "levels.special_total.kind.special.value._orders__id___",
        7.0,
    );
    carbon.has_no_bad_lines();
}

/// Carbon is killed and restarted, then suspended for a time and resumed; it gets all values.
#[tokio::test]
#[ignore = "needs carbon-cache"]
async fn carbon_gets_all_values_after_an_outage() {
    let mut carbon = Carbon::start();
    let registry = Registry::new();
    let counter = registry.counter("calls_total", "", &[]).unwrap();
    let pusher = Pusher::new(
        registry,
        Graphite::new(),
        Destination::tcp(carbon.address()),
    );
    let pusher = pusher.interval(Duration::from_millis(10)).unwrap();
    let mut pusher = pusher.timeout(Duration::from_millis(500)).unwrap();
    let handle = pusher.handle();
    counter.add(1);
    while_pushing(
        &mut pusher,
        snapshot_when(&handle, |snapshot| snapshot.pushes > 2),
    )
    .await;
    carbon.expect("calls_total", 1.0);

    carbon.program.kill();
    counter.add(10);
    tokio::select! {
        never = pusher.run() => match never {},
        snapshot = snapshot_when(&handle, |snapshot| snapshot.failures > 3) => {
            assert!(snapshot.last_failure.unwrap().starts_with("tcp 127.0.0.1:"));
        }
    }
    carbon.restart();
    let pushes = handle.snapshot().pushes;
    while_pushing(
        &mut pusher,
        snapshot_when(&handle, |snapshot| snapshot.pushes > pushes),
    )
    .await;
    carbon.expect("calls_total", 11.0);

    carbon.program.signal("STOP");
    let begun = Instant::now();
    for _ in 0..50 {
        counter.add(1);
        let _ = pusher.flush().await;
    }
    assert!(begun.elapsed() < Duration::from_secs(50));
    carbon.program.signal("CONT");
    pusher.flush().await.unwrap();
    carbon.expect("calls_total", 61.0);
    carbon.has_no_bad_lines();
}
