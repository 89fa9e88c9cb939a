//! The dashboard and the alerts in `docs/observability` ask for what is measured, and are what Prometheus takes them for.

mod files;
mod measured;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use axum::Router;
use files::{ALERTS, DASHBOARD, GUIDE, TESTS, alerts, filled_in, panels, queries, words};
use measured::Measured;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::runtime;
use towerkit_metrics::{MetricFamily, MetricKind, Registry};
use towerkit_programs::Prometheus;

/// What names of metrics begin with, here.
const OURS: [&str; 4] = ["http_", "rpc_", "telemetry_", "towerkit_"];
/// Labels that begin alike.
const LABELS: [&str; 6] = [
    "http_request_method",
    "http_response_status_code",
    "http_route",
    "rpc_method",
    "rpc_status_code",
    "towerkit_outcome",
];

/// Returns the names of the series of a metric.
fn series(family: &MetricFamily) -> Vec<String> {
    let parts: &[&str] = match family.kind() {
        MetricKind::Histogram => &["_bucket", "_sum", "_count"],
        MetricKind::Counter | MetricKind::Gauge => &[""],
    };
    let name = |part| format!("{}{part}", family.name());
    parts.iter().map(name).collect()
}

fn measured() -> Vec<Vec<String>> {
    let measured = Measured::new();
    measured.happen();
    let snapshot = measured.registry.snapshot();
    snapshot.families().iter().map(series).collect()
}

fn asked_for(text: &str) -> BTreeSet<&str> {
    let is_ours = |word: &&str| OURS.iter().any(|ours| word.starts_with(ours));
    words(text)
        .filter(is_ours)
        .filter(|word| !LABELS.contains(word))
        .collect()
}

#[test]
fn every_metric_that_is_asked_for_is_measured() {
    let known: BTreeSet<_> = measured().into_iter().flatten().collect();
    let queries: Vec<_> = queries().into_iter().map(|(_, query)| query).collect();
    let others = files::dashboard();
    let others = [&others["annotations"], &others["templating"]].map(ToString::to_string);
    for text in queries.iter().chain(&others) {
        for name in asked_for(text) {
            assert!(known.contains(name), "{name} in {text}");
        }
    }
    for name in [ALERTS, TESTS].into_iter().flat_map(asked_for) {
        assert!(known.contains(name), "{name} in the rules or their tests");
    }
}

#[test]
fn every_metric_that_is_measured_is_on_the_dashboard() {
    let shown = asked_for(DASHBOARD);
    for series in measured() {
        let is_shown = series.iter().any(|name| shown.contains(name.as_str()));
        assert!(is_shown, "{series:?}");
    }
}

#[test]
fn every_alert_is_tested_and_every_panel_is_one() {
    assert!(alerts().len() > 10);
    for alert in alerts() {
        assert!(words(TESTS).any(|word| word == alert), "{alert}");
    }
    let ids: BTreeSet<_> = panels()
        .iter()
        .map(|panel| panel["id"].to_string())
        .collect();
    assert_eq!(ids.len(), panels().len());
}

/// Whether a word is the name of one of our crates.
fn is_crate(word: &str) -> bool {
    let folder = files::folder().join("../../crates");
    folder.join(word.replace('_', "-")).exists()
}

#[test]
fn the_guide_names_what_is_measured_and_every_alert() {
    let measured = Measured::new();
    measured.happen();
    let snapshot = measured.registry.snapshot();
    let families = snapshot.families();
    let named = |word: &str| {
        let is_named = |family: &MetricFamily| {
            family.name() == word || series(family).iter().any(|name| name == word)
        };
        families.iter().any(is_named)
    };
    for word in asked_for(GUIDE) {
        assert!(named(word) || is_crate(word), "{word}");
    }
    for alert in alerts() {
        assert!(words(GUIDE).any(|word| word == alert), "{alert}");
    }
}

/// The queries of the dashboard as rules, so that promtool reads them.
fn as_rules() -> String {
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (n, (_, query)) in queries().iter().enumerate() {
        let query = serde_json::to_string(&filled_in(query)).unwrap();
        rules += &format!("  - {{record: \"panel:{n}\", expr: {query}}}\n");
    }
    rules
}

fn promtool(arguments: &[&str], file: &Path) {
    let mut promtool = towerkit_programs::command("promtool");
    let output = promtool.args(arguments).arg(file).output();
    let output = output.expect("promtool is installed");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
}

#[test]
#[ignore = "needs promtool"]
fn promtool_takes_the_rules_and_the_queries_and_the_alerts_pass_their_tests() {
    let folder = files::folder();
    promtool(
        &["check", "rules", "--lint-fatal"],
        &folder.join("alerts.yml"),
    );
    promtool(&["test", "rules"], &folder.join("alerts.test.yml"));
    let queries = std::env::temp_dir().join(format!("guides-queries-{}.yml", std::process::id()));
    fs::write(&queries, as_rules()).unwrap();
    promtool(&["check", "rules"], &queries);
    fs::remove_file(queries).unwrap();
}

/// Waits until it is so, for at most two minutes.
fn until(what: &str, is_so: impl Fn() -> bool) {
    towerkit_programs::until(what, Duration::from_secs(120), || is_so().then_some(()));
}

/// Returns the values that a query has now, but for those that are none.
fn values(prometheus: &Prometheus, query: &str) -> Vec<f64> {
    let series = prometheus.query(query);
    let value = |series: &Value| series["value"][1].as_str()?.parse().ok();
    let values = series.iter().filter_map(value);
    values.filter(|value: &f64| !value.is_nan()).collect()
}

/// Serves the metrics of a registry, for as long as the runtime lives.
fn serve(runtime: &runtime::Runtime, registry: &Registry) -> SocketAddr {
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let app: Router = Router::new().route_service("/metrics", registry.service());
    runtime.spawn(async { axum::serve(listener, app).await });
    address
}

/// MT-03
#[test]
#[ignore = "needs prometheus"]
fn every_panel_shows_something_and_every_rule_is_evaluated() {
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let measured = Measured::new();
    let address = serve(&runtime, &measured.registry);
    let prometheus = Prometheus::start(address, Some(&files::folder().join("alerts.yml")));
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                measured.happen();
                thread::sleep(Duration::from_millis(20));
            }
        });
        let shown = catch_unwind(|| {
            for (title, query) in queries() {
                let query = filled_in(&query);
                let shows = || !values(&prometheus, &query).is_empty();
                until(&format!("{title}: {query}"), shows);
            }
            rules_are_evaluated(&prometheus);
            buckets_have_exemplars(&prometheus);
        });
        is_over.store(true, Ordering::Relaxed);
        if let Err(panic) = shown {
            resume_unwind(panic);
        }
    });
}

fn rules_are_evaluated(prometheus: &Prometheus) {
    until("all rules are well", || {
        let data = prometheus.data("rules").unwrap_or_default();
        let groups = data["groups"].as_array().cloned().unwrap_or_default();
        let rules = groups
            .iter()
            .filter_map(|group| group["rules"].as_array())
            .flatten();
        let health: Vec<_> = rules.map(|rule| rule["health"].clone()).collect();
        health.len() > alerts().len() && health.iter().all(|health| health == "ok")
    });
    // A third of the calls fails.
    let firing = r#"ALERTS{alertname="ErrorBudgetBurns", alertstate="firing"}"#;
    until("the budget burns", || values(prometheus, firing) == [1.0]);
}

fn buckets_have_exemplars(prometheus: &Prometheus) {
    let query = Prometheus::encoded("http_server_request_duration_seconds_bucket");
    let path = format!("query_exemplars?query={query}&start=0&end=4102444800");
    let trace = "ab".repeat(16);
    until("exemplars are there", || {
        let data = prometheus.data(&path).unwrap_or_default();
        data[0]["exemplars"][0]["labels"]["trace_id"] == trace.as_str()
    });
}
