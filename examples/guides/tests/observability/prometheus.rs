//! A Prometheus of our own: on a free port, in a temporary folder, and gone at the end of the test, also of one that panics.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) struct Prometheus {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl Prometheus {
    /// Starts a server that scrapes `target` ten times a second and evaluates `rules` every second.
    pub(crate) fn start(target: SocketAddr, rules: &Path) -> Self {
        let folder = std::env::temp_dir().join(format!("guides-prometheus-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let rules = fs::canonicalize(rules).unwrap();
        let config = format!(
            "global: {{scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 1s}}\n\
             rule_files: ['{}']\n\
             scrape_configs: [{{job_name: shop, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.display()
        );
        fs::write(folder.join("prometheus.yml"), config).unwrap();
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}/prometheus.yml", folder.display()))
            .arg(format!("--storage.tsdb.path={}/data", folder.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--enable-feature=exemplar-storage")
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed");
        Self {
            port,
            folder,
            child,
        }
    }

    /// Asks its API; `None` if it does not answer so that it can be read.
    pub(crate) fn data(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        // HTTP/1.0: the answer is not in chunks, and ends with the connection.
        let request = format!("GET /api/v1/{path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        let mut answer: Value = serde_json::from_str(body).ok()?;
        (answer["status"] == "success").then(|| answer["data"].take())
    }

    /// Returns the values that a query has now, but for those that are none.
    pub(crate) fn values(&self, query: &str) -> Vec<f64> {
        let data = self.data(&format!("query?query={}", encoded(query)));
        let result = data.map(|mut data| data["result"].take());
        let series = result.as_ref().and_then(Value::as_array);
        let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
        let values = series.into_iter().flatten().filter_map(value);
        values.filter(|value: &f64| !value.is_nan()).collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Spells a query so that it may stand in a URL.
pub(crate) fn encoded(query: &str) -> String {
    query.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Waits until it is so, for at most a minute.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}
