use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{self, Command},
    time::Duration,
};

use serde_json::Value;
use tokio::time::sleep;
use towerkit::core::BoxError;

use crate::{calls::json, process::Process};

/// A Prometheus that scrapes one target every second.
#[derive(Debug)]
pub(crate) struct Prometheus {
    process: Process,
    folder: PathBuf,
}

/// What Prometheus knows of the calls.
#[derive(Debug)]
pub(crate) struct Queried {
    /// How many calls there were, by outcome.
    pub(crate) calls: Vec<(String, u64)>,
    /// The traces that exemplars name.
    pub(crate) traces: Vec<String>,
}

const CALLS: &str = "http_server_request_duration_seconds_count";
const BUCKETS: &str = "http_server_request_duration_seconds_bucket";

impl Prometheus {
    pub(crate) async fn start(program: &Path, target: SocketAddr) -> Result<Self, BoxError> {
        let folder = env::temp_dir().join(format!("towerkit-observability-{}", process::id()));
        fs::create_dir_all(&folder)?;
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\n\
             scrape_configs: [{{job_name: stringsvc, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&config, text)?;
        let mut command = Command::new(program);
        command
            .arg(format!("--config.file={}", config.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg("--enable-feature=exemplar-storage");
        let process = Process::run("prometheus", command, |command, addr| {
            command.arg(format!("--web.listen-address={addr}"));
        });
        let process = process.map_err(|error| {
            format!("{error}; Debian's package prometheus has it, --no-prometheus does without")
        })?;
        let mut prometheus = Self { process, folder };
        prometheus.process.answers().await?;
        Ok(prometheus)
    }

    /// Asks until it has scraped the calls that were rejected, which are the last.
    pub(crate) async fn ask(&self) -> Result<Queried, BoxError> {
        const TRIES: u32 = 240;
        for _ in 0..TRIES {
            if let Some(queried) = self.queried().await? {
                return Ok(queried);
            }
            sleep(Duration::from_millis(250)).await;
        }
        Err("Prometheus does not show the calls".into())
    }

    async fn queried(&self) -> Result<Option<Queried>, BoxError> {
        let query = format!("sum+by+(outcome)({CALLS})");
        // It listens before it has read its storage, and answers 503 until then.
        let Some(answer) = self.get(&format!("query?query={query}")).await? else {
            return Ok(None);
        };
        let results = answer["data"]["result"].as_array();
        let calls: Vec<_> = results.into_iter().flatten().filter_map(outcome).collect();
        if !calls.iter().any(|(outcome, _)| outcome == "overloaded") {
            return Ok(None);
        }
        let query = format!("query_exemplars?query={BUCKETS}&start=0&end=9999999999");
        let Some(answer) = self.get(&query).await? else {
            return Ok(None);
        };
        let mut traces = Vec::new();
        traces_in(&answer["data"], &mut traces);
        Ok(Some(Queried { calls, traces }))
    }

    async fn get(&self, query: &str) -> Result<Option<Value>, BoxError> {
        json(&format!("http://{}/api/v1/{query}", self.process.addr())).await
    }
}

fn outcome(result: &Value) -> Option<(String, u64)> {
    let outcome = result["metric"]["outcome"].as_str()?;
    let count = result["value"][1].as_str()?.parse().ok()?;
    Some((outcome.to_owned(), count))
}

/// Finds every `trace_id` in the answer about exemplars.
fn traces_in(value: &Value, traces: &mut Vec<String>) {
    match value {
        Value::Array(values) => values.iter().for_each(|value| traces_in(value, traces)),
        Value::Object(fields) => {
            traces.extend(
                fields
                    .get("trace_id")
                    .and_then(Value::as_str)
                    .map(str::to_owned),
            );
            fields.values().for_each(|value| traces_in(value, traces));
        }
        _ => {}
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}
