//! A Prometheus of our own: on a free port, in a temporary folder, gone at the end of the test, also of one that panics.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) struct Prometheus {
    port: u16,
    folder: PathBuf,
    child: Child,
}

impl Prometheus {
    /// Starts a server that scrapes `target` ten times a second, and answers when this returns.
    pub(crate) fn start(target: SocketAddr) -> Self {
        let name = format!("towerkit-prometheus-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("prometheus.yml");
        let jobs = format!(
            "scrape_configs:\n- job_name: test\n  scrape_interval: 100ms\n  scrape_timeout: 100ms\n  \
             static_configs: [{{targets: ['{target}']}}]\n"
        );
        fs::write(&config, jobs).unwrap();
        let port = free_port();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}/data", folder.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--enable-feature=exemplar-storage")
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus is installed");
        let server = Self {
            port,
            folder,
            child,
        };
        until("prometheus is ready", || {
            server
                .text("/-/ready")
                .is_some_and(|text| text.contains(" 200 "))
        });
        server
    }

    /// Asks its API; `None` if it does not answer so that it can be read.
    pub(crate) fn data(&self, path: &str) -> Option<Value> {
        let text = self.text(&format!("/api/v1/{path}"))?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        let mut answer: Value = serde_json::from_str(body).ok()?;
        (answer["status"] == "success").then(|| answer["data"].take())
    }

    fn text(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        // HTTP/1.0: the answer is not in chunks, and ends with the connection.
        let request = format!("GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Some(text)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
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
        thread::sleep(Duration::from_millis(20));
    }
}
