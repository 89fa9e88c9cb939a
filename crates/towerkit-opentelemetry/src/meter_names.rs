//! What Prometheus spells with underscores, as OpenTelemetry spells it: semantic conventions 1.45.

use std::borrow::Cow;

/// A metric: its name and its unit, in the notation of UCUM.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub(crate) name: Cow<'a, str>,
    pub(crate) unit: &'static str,
}

/// The metrics of calls of `towerkit-metrics`, whose dots cannot be told from their underscores.
const METRICS: [(&str, &str, &str); 25] = [
    (
        "http_client_active_requests",
        "http.client.active_requests",
        "{request}",
    ),
    (
        "http_client_request_body_size_bytes",
        "http.client.request.body.size",
        "By",
    ),
    (
        "http_client_request_duration_seconds",
        "http.client.request.duration",
        "s",
    ),
    (
        "http_client_response_body_size_bytes",
        "http.client.response.body.size",
        "By",
    ),
    (
        "http_server_active_requests",
        "http.server.active_requests",
        "{request}",
    ),
    (
        "http_server_request_body_size_bytes",
        "http.server.request.body.size",
        "By",
    ),
    (
        "http_server_request_duration_seconds",
        "http.server.request.duration",
        "s",
    ),
    (
        "http_server_response_body_size_bytes",
        "http.server.response.body.size",
        "By",
    ),
    (
        "rpc_client_call_duration_seconds",
        "rpc.client.call.duration",
        "s",
    ),
    (
        "rpc_server_call_duration_seconds",
        "rpc.server.call.duration",
        "s",
    ),
    (
        "towerkit_call_duration_seconds",
        "towerkit.call.duration",
        "s",
    ),
    ("towerkit_calls_active", "towerkit.calls.active", "{call}"),
    (
        "towerkit_calls_rejected_total",
        "towerkit.calls.rejected",
        "{call}",
    ),
    (
        "towerkit_http_client_rejected_requests_total",
        "towerkit.http.client.rejected_requests",
        "{request}",
    ),
    (
        "towerkit_http_client_time_to_head_seconds",
        "towerkit.http.client.time_to_head",
        "s",
    ),
    (
        "towerkit_http_server_rejected_requests_total",
        "towerkit.http.server.rejected_requests",
        "{request}",
    ),
    (
        "towerkit_http_server_time_to_head_seconds",
        "towerkit.http.server.time_to_head",
        "s",
    ),
    (
        "towerkit_rpc_client_active_calls",
        "towerkit.rpc.client.active_calls",
        "{call}",
    ),
    (
        "towerkit_rpc_client_rejected_calls_total",
        "towerkit.rpc.client.rejected_calls",
        "{call}",
    ),
    (
        "towerkit_rpc_client_response_size_bytes",
        "towerkit.rpc.client.response.size",
        "By",
    ),
    (
        "towerkit_rpc_client_time_to_head_seconds",
        "towerkit.rpc.client.time_to_head",
        "s",
    ),
    (
        "towerkit_rpc_server_active_calls",
        "towerkit.rpc.server.active_calls",
        "{call}",
    ),
    (
        "towerkit_rpc_server_rejected_calls_total",
        "towerkit.rpc.server.rejected_calls",
        "{call}",
    ),
    (
        "towerkit_rpc_server_response_size_bytes",
        "towerkit.rpc.server.response.size",
        "By",
    ),
    (
        "towerkit_rpc_server_time_to_head_seconds",
        "towerkit.rpc.server.time_to_head",
        "s",
    ),
];

/// Labels that are attributes of the conventions, on whatever metric.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("error_type", "error.type"),
    ("http_request_method", "http.request.method"),
    ("http_response_status_code", "http.response.status_code"),
    ("http_route", "http.route"),
    ("rpc_method", "rpc.method"),
    ("rpc_status_code", "rpc.status_code"),
    ("rpc_system_name", "rpc.system.name"),
    ("url_template", "url.template"),
];

/// Labels of the metrics of calls that the conventions do not have.
const OWN: [(&str, &str); 3] = [
    ("operation", "towerkit.operation"),
    ("outcome", "towerkit.outcome"),
    ("reason", "towerkit.reason"),
];

/// Units that Prometheus has at the end of a name.
const UNITS: [(&str, &str); 4] = [
    ("_seconds", "s"),
    ("_bytes", "By"),
    ("_ratio", "1"),
    ("_percent", "%"),
];

/// A metric of the program's own keeps its name, without the unit and without `_total`, which Prometheus adds again; others of
/// towerkit have a dot after that.
pub(crate) fn metric(name: &str) -> Name<'_> {
    if let Ok(at) = METRICS.binary_search_by_key(&name, |(name, ..)| name) {
        let (_, name, unit) = METRICS[at];
        let name = name.into();
        return Name { name, unit };
    }
    let name = strip(name, "_total");
    let unit = UNITS.iter().find(|(end, _)| strip(name, end) != name);
    let (end, unit) = unit.copied().unwrap_or_default();
    let name = strip(name, end);
    let name = match name.strip_prefix("towerkit_") {
        Some(rest) => format!("towerkit.{rest}").into(),
        None => name.into(),
    };
    Name { name, unit }
}

/// Takes an end off, unless nothing would be left.
fn strip<'a>(name: &'a str, end: &str) -> &'a str {
    let left = name.strip_suffix(end).filter(|left| !left.is_empty());
    left.unwrap_or(name)
}

/// Returns the attribute of a label of this metric. One of the program's own keeps its name.
pub(crate) fn attribute<'a>(metric: &str, label: &'a str) -> &'a str {
    let of_calls = METRICS
        .binary_search_by_key(&metric, |(name, ..)| name)
        .is_ok();
    let own = OWN.iter().filter(|_| of_calls);
    let mut known = ATTRIBUTES.iter().chain(own);
    known
        .find(|(name, _)| *name == label)
        .map_or(label, |(_, attribute)| attribute)
}

/// The rules of OpenTelemetry for the name of an instrument.
pub(crate) fn is_name(name: &str) -> bool {
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
    fn names_are_those_of_the_conventions() {
        let spelled = |name| {
            let Name { name, unit } = metric(name);
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
                "towerkit.key_table_evicted_keys ",
            ),
            ("towerkit_circuits", "towerkit.circuits "),
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
    fn the_tables_are_in_order_and_spell_what_they_replace() {
        assert!(METRICS.is_sorted_by(|one, next| one.0 < next.0));
        for (prometheus, name, unit) in METRICS {
            assert!(is_name(name));
            let end = match unit {
                "s" => "_seconds",
                "By" => "_bytes",
                _ if prometheus.ends_with("_total") => "_total",
                _ => "",
            };
            assert_eq!(format!("{}{end}", name.replace('.', "_")), prometheus);
        }
        for (label, name) in ATTRIBUTES.into_iter().chain(OWN) {
            assert!(name.replace('.', "_").ends_with(label));
        }
    }
}
