//! Every metric that this crate records, in one table.

use crate::MetricKind;

/// A metric that towerkit records, with its name in [Prometheus] and in [OpenTelemetry].
///
/// ```
/// use towerkit_metrics::MetricDescriptor;
///
/// let duration = MetricDescriptor::find("http_server_request_duration_seconds").unwrap();
/// assert_eq!(duration.otel_name, "http.server.request.duration");
/// assert_eq!(duration.unit, "s");
/// ```
///
/// [Prometheus]: https://prometheus.io/docs/practices/naming/
/// [OpenTelemetry]: https://opentelemetry.io/docs/specs/semconv/
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MetricDescriptor {
    /// The name in Prometheus, with the unit and `_total`.
    pub name: &'static str,
    /// The help text.
    pub help: &'static str,
    /// The kind of instrument.
    pub kind: MetricKind,
    /// The unit in the notation of [UCUM](https://ucum.org/ucum), such as `s`, `By` or `{request}`.
    pub unit: &'static str,
    /// The name in OpenTelemetry.
    pub otel_name: &'static str,
    /// The source of the recorded values.
    pub source: MetricSource,
}

/// The source of the values of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MetricSource {
    /// The calls that [`MetricsLayer`](crate::MetricsLayer) measures.
    Calls,
    /// The events that [`EventMetrics`](crate::EventMetrics) counts.
    Events,
    /// The limits of this crate: the values that got no series of their own.
    Overflow,
}

impl MetricDescriptor {
    /// Returns all metrics, those of calls first.
    #[must_use]
    pub const fn all() -> &'static [&'static Self] {
        ALL
    }

    /// Returns the metric with this Prometheus name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Self> {
        ALL.iter().copied().find(|metric| metric.name == name)
    }
}

macro_rules! metrics {
    ($($source:ident { $($metric:ident: $kind:ident, $name:literal, $unit:literal, $otel_name:literal, $help:literal;)* })*) => {
        $($(pub(crate) static $metric: MetricDescriptor = MetricDescriptor {
            name: $name,
            help: $help,
            kind: MetricKind::$kind,
            unit: $unit,
            otel_name: $otel_name,
            source: MetricSource::$source,
        };)*)*
        static ALL: &[&MetricDescriptor] = &[$($(&$metric),*),*];
    };
}

// Calls have the names of the semantic conventions 1.45 where these define one, and else are in the namespace `towerkit`.
metrics! {
    Calls {
        HTTP_SERVER_DURATION: Histogram, "http_server_request_duration_seconds", "s", "http.server.request.duration",
            "Duration of HTTP server requests.";
        HTTP_SERVER_ACTIVE: Gauge, "http_server_active_requests", "{request}", "http.server.active_requests",
            "HTTP server requests in flight.";
        HTTP_SERVER_REJECTED: Counter, "towerkit_http_server_rejected_requests_total", "{request}", "towerkit.http.server.rejected_requests",
            "HTTP server requests that were rejected.";
        HTTP_SERVER_TIME_TO_HEAD: Histogram, "towerkit_http_server_time_to_head_seconds", "s", "towerkit.http.server.time_to_head",
            "Time from the start of HTTP server requests to the head of the response.";
        HTTP_SERVER_REQUEST_SIZE: Histogram, "http_server_request_body_size_bytes", "By", "http.server.request.body.size",
            "Size of HTTP server request bodies.";
        HTTP_SERVER_RESPONSE_SIZE: Histogram, "http_server_response_body_size_bytes", "By", "http.server.response.body.size",
            "Size of HTTP server response bodies.";
        HTTP_CLIENT_DURATION: Histogram, "http_client_request_duration_seconds", "s", "http.client.request.duration",
            "Duration of HTTP client requests.";
        HTTP_CLIENT_ACTIVE: Gauge, "http_client_active_requests", "{request}", "http.client.active_requests",
            "HTTP client requests in flight.";
        HTTP_CLIENT_REJECTED: Counter, "towerkit_http_client_rejected_requests_total", "{request}", "towerkit.http.client.rejected_requests",
            "HTTP client requests that were rejected.";
        HTTP_CLIENT_TIME_TO_HEAD: Histogram, "towerkit_http_client_time_to_head_seconds", "s", "towerkit.http.client.time_to_head",
            "Time from the start of HTTP client requests to the head of the response.";
        HTTP_CLIENT_REQUEST_SIZE: Histogram, "http_client_request_body_size_bytes", "By", "http.client.request.body.size",
            "Size of HTTP client request bodies.";
        HTTP_CLIENT_RESPONSE_SIZE: Histogram, "http_client_response_body_size_bytes", "By", "http.client.response.body.size",
            "Size of HTTP client response bodies.";
        RPC_SERVER_DURATION: Histogram, "rpc_server_call_duration_seconds", "s", "rpc.server.call.duration",
            "Duration of incoming remote procedure calls.";
        RPC_SERVER_ACTIVE: Gauge, "towerkit_rpc_server_active_calls", "{call}", "towerkit.rpc.server.active_calls",
            "Incoming remote procedure calls in flight.";
        RPC_SERVER_REJECTED: Counter, "towerkit_rpc_server_rejected_calls_total", "{call}", "towerkit.rpc.server.rejected_calls",
            "Incoming remote procedure calls that were rejected.";
        RPC_SERVER_TIME_TO_HEAD: Histogram, "towerkit_rpc_server_time_to_head_seconds", "s", "towerkit.rpc.server.time_to_head",
            "Time from the start of incoming remote procedure calls to the head of the response.";
        RPC_SERVER_RESPONSE_SIZE: Histogram, "towerkit_rpc_server_response_size_bytes", "By", "towerkit.rpc.server.response.size",
            "Size of RPC responses.";
        RPC_CLIENT_DURATION: Histogram, "rpc_client_call_duration_seconds", "s", "rpc.client.call.duration",
            "Duration of outgoing remote procedure calls.";
        RPC_CLIENT_ACTIVE: Gauge, "towerkit_rpc_client_active_calls", "{call}", "towerkit.rpc.client.active_calls",
            "Outgoing remote procedure calls in flight.";
        RPC_CLIENT_REJECTED: Counter, "towerkit_rpc_client_rejected_calls_total", "{call}", "towerkit.rpc.client.rejected_calls",
            "Outgoing remote procedure calls that were rejected.";
        RPC_CLIENT_TIME_TO_HEAD: Histogram, "towerkit_rpc_client_time_to_head_seconds", "s", "towerkit.rpc.client.time_to_head",
            "Time from the start of outgoing remote procedure calls to the head of the response.";
        RPC_CLIENT_RESPONSE_SIZE: Histogram, "towerkit_rpc_client_response_size_bytes", "By", "towerkit.rpc.client.response.size",
            "Size of RPC responses.";
        CALL_DURATION: Histogram, "towerkit_call_duration_seconds", "s", "towerkit.call.duration",
            "Duration of calls.";
        CALLS_ACTIVE: Gauge, "towerkit_calls_active", "{call}", "towerkit.calls.active",
            "Calls in flight.";
        CALLS_REJECTED: Counter, "towerkit_calls_rejected_total", "{call}", "towerkit.calls.rejected",
            "Calls that were rejected.";
    }
    Events {
        CIRCUIT_TRANSITIONS: Counter, "towerkit_circuit_transitions_total", "{transition}", "towerkit.circuit_transitions",
            "Times that a circuit breaker went from one state to another.";
        CIRCUITS: Gauge, "towerkit_circuits", "{circuit}", "towerkit.circuits",
            "Circuit breakers in a state other than closed.";
        RETRIES: Counter, "towerkit_retries_total", "{retry}", "towerkit.retries",
            "Retries, by the outcome of the attempt before.";
        RETRY_GIVEN_UP: Counter, "towerkit_retry_given_up_total", "{call}", "towerkit.retry_given_up",
            "Retryable failures that were not retried.";
        HEDGES: Counter, "towerkit_hedges_total", "{hedge}", "towerkit.hedges",
            "Hedged attempts, sent before the first response arrived.";
        FALLBACKS: Counter, "towerkit_fallbacks_total", "{call}", "towerkit.fallbacks",
            "Failed calls that a fallback answered, by the outcomes of the call and of the fallback.";
        KEY_TABLE_FULL: Counter, "towerkit_key_table_full_calls_total", "{call}", "towerkit.key_table_full_calls",
            "Calls whose key was not in a full key table.";
        KEY_TABLE_EVICTED: Counter, "towerkit_key_table_evicted_keys_total", "{key}", "towerkit.key_table_evicted_keys",
            "Idle keys that were evicted from a key table.";
        CLIENT_ADDRESS_MISSING: Counter, "towerkit_rate_limit_client_address_missing_total", "{call}",
            "towerkit.rate_limit_client_address_missing",
            "Calls that a rate limit rejected because the server did not report the client address.";
        STORE_REACHABLE: Gauge, "towerkit_store_reachable", "1", "towerkit.store_reachable",
            "1 if the store that a layer shares with other processes answers, otherwise 0.";
        CONCURRENCY_LIMIT: Gauge, "towerkit_concurrency_limit", "{call}", "towerkit.concurrency_limit",
            "The last reported concurrency limit.";
        CONCURRENCY_LIMIT_REJECTED: Counter, "towerkit_concurrency_limit_rejected_total", "{call}", "towerkit.concurrency_limit_rejected",
            "Calls that a concurrency limit rejected.";
        OTHER_EVENTS: Counter, "towerkit_events_total", "{event}", "towerkit.events",
            "Events of layers that are not part of towerkit.";
    }
    Overflow {
        DROPPED: Counter, "towerkit_metrics_dropped_total", "{series}", "towerkit.metrics_dropped",
            "Times that a metric had too many series for one more, so that _OTHER was used.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn both_names_of_a_metric_agree_and_no_metric_is_listed_twice() {
        let mut names = BTreeSet::new();
        for metric in MetricDescriptor::all() {
            let suffix = match metric.unit {
                "s" => "_seconds",
                "By" => "_bytes",
                _ if metric.kind == MetricKind::Counter => "_total",
                _ => "",
            };
            let spelled = format!("{}{suffix}", metric.otel_name.replace('.', "_"));
            assert_eq!(spelled, metric.name);
            assert!(names.insert(metric.name), "{}", metric.name);
            assert!(metric.help.ends_with('.'), "{}", metric.help);
            assert_eq!(MetricDescriptor::find(metric.name), Some(*metric));
        }
        assert_eq!(MetricDescriptor::find("orders_total"), None);
    }
}
