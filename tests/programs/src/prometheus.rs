use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use serde_json::Value;

use crate::{Program, free_port, until};

/// A Prometheus, which keeps exemplars.
#[derive(Debug)]
pub struct Prometheus {
    port: u16,
    _program: Program,
}

impl Prometheus {
    /// Starts one that scrapes `target` ten times a second and evaluates `rules`, if there are any, every second. It answers when this
    /// returns.
    ///
    /// # Panics
    ///
    /// If it does not answer within two minutes.
    #[must_use]
    pub fn start(target: SocketAddr, rules: Option<&Path>) -> Self {
        let rules = rules.map(|rules| rules.canonicalize().expect("the rules"));
        let rules = rules.map(|rules| format!("rule_files: ['{}']\n", rules.display()));
        let mut program = Program::new("prometheus");
        let config = format!(
            "global: {{scrape_interval: 100ms, scrape_timeout: 100ms, evaluation_interval: 1s}}\n{}\
             scrape_configs: [{{job_name: test, static_configs: [{{targets: ['{target}']}}]}}]\n",
            rules.unwrap_or_default()
        );
        let config = program.file("prometheus.yml", &config);
        let port = free_port();
        program.start([
            format!("--config.file={config}"),
            format!("--storage.tsdb.path={}/data", program.folder().display()),
            format!("--web.listen-address=127.0.0.1:{port}"),
            "--enable-feature=exemplar-storage".to_owned(),
        ]);
        let server = Self {
            port,
            _program: program,
        };
        until("prometheus is ready", Duration::from_secs(120), || {
            let text = server.text("/-/ready")?;
            text.contains(" 200 ").then_some(())
        });
        server
    }

    /// Asks its API; `None` if it does not answer so that it can be read.
    #[must_use]
    pub fn data(&self, path: &str) -> Option<Value> {
        let text = self.text(&format!("/api/v1/{path}"))?;
        let (_, body) = text.split_once("\r\n\r\n")?;
        let mut answer: Value = serde_json::from_str(body).ok()?;
        (answer["status"] == "success").then(|| answer["data"].take())
    }

    /// Asks for the series of a query at this moment, in any spelling.
    #[must_use]
    pub fn query(&self, query: &str) -> Vec<Value> {
        let data = self.data(&format!("query?query={}", Self::encoded(query)));
        let result = data.map(|mut data| data["result"].take());
        let series = result.as_ref().and_then(Value::as_array);
        series.cloned().unwrap_or_default()
    }

    /// Spells a query so that it may stand in a URL.
    #[must_use]
    pub fn encoded(query: &str) -> String {
        query.bytes().map(|byte| format!("%{byte:02X}")).collect()
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
