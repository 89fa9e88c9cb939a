//! The files under `docs/observability`, and what stands in them.

use std::path::PathBuf;

use serde_json::Value;

pub(crate) const DASHBOARD: &str =
    include_str!("../../../../../docs/observability/grafana-dashboard.json");
pub(crate) const ALERTS: &str = include_str!("../../../../../docs/observability/alerts.yml");
pub(crate) const TESTS: &str = include_str!("../../../../../docs/observability/alerts.test.yml");
/// The guide that speaks of them.
pub(crate) const GUIDE: &str = include_str!("../../../../../docs/guides/observability.md");

/// Returns where the files are.
pub(crate) fn folder() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/observability"
    ))
}

pub(crate) fn dashboard() -> Value {
    serde_json::from_str(DASHBOARD).expect("the dashboard is JSON")
}

/// Returns the panels, also those of collapsed rows, without the rows themselves.
pub(crate) fn panels() -> Vec<Value> {
    let all = dashboard()["panels"].as_array().unwrap().clone();
    let inside = all.iter().filter_map(|panel| panel["panels"].as_array());
    let inside: Vec<_> = inside.flatten().cloned().collect();
    let panels = all.into_iter().chain(inside);
    panels.filter(|panel| panel["type"] != "row").collect()
}

/// Returns each query of the panels, with the title of its panel.
pub(crate) fn queries() -> Vec<(String, String)> {
    let mut queries = Vec::new();
    for panel in panels() {
        for target in panel["targets"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            queries.push((text(&panel["title"]), text(&target["expr"])));
        }
    }
    queries
}

/// Returns the query as Grafana would send it, where everything is chosen.
pub(crate) fn filled_in(query: &str) -> String {
    let query = query.replace("$__rate_interval", "1m");
    ["$job", "$instance", "$route"]
        .iter()
        .fold(query, |query, variable| query.replace(variable, ".*"))
}

/// Returns the names of the alerts.
pub(crate) fn alerts() -> Vec<&'static str> {
    let lines = ALERTS.lines();
    lines
        .filter_map(|line| line.trim().strip_prefix("- alert: "))
        .collect()
}

/// Returns the words that may be names of metrics.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
}
