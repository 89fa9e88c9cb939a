use std::sync::OnceLock;

use axum_prometheus::{PrometheusMetricLayer, metrics_exporter_prometheus::PrometheusHandle};

/// Makes axum-prometheus as its README does. It installs the process's recorder, once, and needs a tokio runtime.
#[must_use]
pub fn axum_prometheus() -> PrometheusMetricLayer<'static> {
    static PAIR: OnceLock<(PrometheusMetricLayer<'static>, PrometheusHandle)> = OnceLock::new();
    PAIR.get_or_init(PrometheusMetricLayer::pair).0.clone()
}
