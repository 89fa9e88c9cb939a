//! The names of metrics and labels in OpenTelemetry, with the semantic conventions 1.45.

use std::borrow::Cow;

use towerkit_metrics::{MetricDescriptor, MetricSource};

/// The name of an instrument, and its unit in the notation of [UCUM](https://ucum.org/ucum).
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InstrumentName<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) unit: &'static str,
}

/// Labels that are attributes of the conventions, on any metric.
const CONVENTIONS: [(&str, &str); 8] = [
    ("error_type", "error.type"),
    ("http_request_method", "http.request.method"),
    ("http_response_status_code", "http.response.status_code"),
    ("http_route", "http.route"),
    ("rpc_method", "rpc.method"),
    ("rpc_status_code", "rpc.status_code"),
    ("rpc_system_name", "rpc.system.name"),
    ("url_template", "url.template"),
];

/// Labels of the metrics of calls that the conventions do not define.
const CALL_LABELS: [(&str, &str); 3] = [
    ("operation", "towerkit.operation"),
    ("outcome", "towerkit.outcome"),
    ("reason", "towerkit.reason"),
];

/// Units at the end of a Prometheus name.
const UNITS: [(&str, &str); 4] = [
    ("_seconds", "s"),
    ("_bytes", "By"),
    ("_ratio", "1"),
    ("_percent", "%"),
];

/// Returns the OpenTelemetry name of a metric.
///
/// Metrics of towerkit are listed in [`MetricDescriptor::all`]. Another metric keeps its name without the unit and without `_total`,
/// both of which Prometheus adds again; a prefix `towerkit_` becomes the namespace `towerkit.`.
pub(crate) fn metric(name: &str) -> InstrumentName<'_> {
    if let Some(known) = MetricDescriptor::find(name) {
        let name = known.otel_name.into();
        let unit = known.unit;
        return InstrumentName { name, unit };
    }
    let name = strip(name, "_total");
    let unit = UNITS.iter().find(|(suffix, _)| strip(name, suffix) != name);
    let (suffix, unit) = unit.copied().unwrap_or_default();
    let name = strip(name, suffix);
    let name = match name.strip_prefix("towerkit_") {
        Some(rest) => format!("towerkit.{rest}").into(),
        None => name.into(),
    };
    InstrumentName { name, unit }
}

/// Strips a suffix, unless it is the whole name.
fn strip<'a>(name: &'a str, suffix: &str) -> &'a str {
    let stripped = name.strip_suffix(suffix);
    stripped.filter(|rest| !rest.is_empty()).unwrap_or(name)
}

/// Returns the attribute for a label of a metric. A label that the tables do not list keeps its name.
pub(crate) fn attribute<'a>(metric: &str, label: &'a str) -> &'a str {
    let known = MetricDescriptor::find(metric);
    let is_of_calls = known.is_some_and(|metric| metric.source == MetricSource::Calls);
    let of_calls = CALL_LABELS.iter().filter(|_| is_of_calls);
    let mut known = CONVENTIONS.iter().chain(of_calls);
    known
        .find(|(name, _)| *name == label)
        .map_or(label, |(_, attribute)| attribute)
}

/// Returns true if OpenTelemetry accepts the name of an instrument
/// ([syntax](https://opentelemetry.io/docs/specs/otel/metrics/api/#instrument-name-syntax)).
pub(crate) fn is_valid_name(name: &str) -> bool {
    name.len() <= 255
        && name.starts_with(|first: char| first.is_ascii_alphabetic())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_.-/".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MT-07
    #[test]
    fn metrics_have_the_names_of_the_conventions() {
        let spelled = |name| {
            let InstrumentName { name, unit } = metric(name);
            format!("{name} {unit}")
        };
        for (name, expected) in [
            (
                "http_server_request_duration_seconds",
                "http.server.request.duration s",
            ),
            (
                "http_client_response_body_size_bytes",
                "http.client.response.body.size By",
            ),
            (
                "http_server_active_requests",
                "http.server.active_requests {request}",
            ),
            (
                "rpc_client_call_duration_seconds",
                "rpc.client.call.duration s",
            ),
            (
                "towerkit_rpc_server_rejected_calls_total",
                "towerkit.rpc.server.rejected_calls {call}",
            ),
            (
                "towerkit_key_table_evicted_keys_total",
                "towerkit.key_table_evicted_keys {key}",
            ),
            ("towerkit_circuits", "towerkit.circuits {circuit}"),
            ("towerkit_spans_total", "towerkit.spans "),
            ("orders_total", "orders "),
            ("sent_bytes_total", "sent By"),
            ("wait_seconds", "wait s"),
            ("_total", "_total "),
            ("_seconds", "_seconds "),
            ("queue_length", "queue_length "),
        ] {
            assert_eq!(spelled(name), expected);
        }
        let calls = "towerkit_calls_rejected_total";
        assert_eq!(attribute(calls, "reason"), "towerkit.reason");
        assert_eq!(attribute("orders_total", "reason"), "reason");
        for metric in [calls, "orders_total"] {
            let code = attribute(metric, "http_response_status_code");
            assert_eq!(code, "http.response.status_code");
            assert_eq!(attribute(metric, "shop_name"), "shop_name");
        }
    }

    #[test]
    fn every_metric_of_the_table_is_a_valid_instrument() {
        for described in MetricDescriptor::all() {
            assert!(is_valid_name(described.otel_name));
            let found = metric(described.name);
            assert_eq!(
                (&*found.name, found.unit),
                (described.otel_name, described.unit)
            );
        }
        for (label, name) in CONVENTIONS.into_iter().chain(CALL_LABELS) {
            assert!(name.replace('.', "_").ends_with(label));
        }
    }
}
