//! A receiver that accepts some spans and rejects the others: the partial success of OTLP.
#![cfg(any(feature = "otlp-grpc", feature = "otlp-http"))]

use std::time::Duration;

use towerkit_opentelemetry::{
    SpanExporterHandle, SpanPipeline,
    opentelemetry::trace::{Span, Tracer},
};

const LONG: Duration = Duration::from_secs(20);

/// Sends ten spans, of which three are rejected.
fn check(spans: &SpanExporterHandle) {
    for _ in 0..10 {
        spans.tracer().start("work").end();
    }
    let error = spans.flush(LONG).unwrap_err();
    assert!(!error.is_timeout());
    let report = spans.snapshot();
    let counts = (report.held(), report.sent(), report.failed());
    assert_eq!(counts, (0, 7, 3), "{report:?}");
    let why = report.last_error().unwrap();
    assert!(why.contains("rejected 3 spans: too old"), "{why}");
}

#[cfg(feature = "otlp-grpc")]
#[test]
fn spans_that_a_receiver_rejects_over_grpc_are_not_sent() {
    let receiver = crate::receiver::grpc_spans_but(crate::receiver::anywhere(), 3);
    check(
        &SpanPipeline::new("shop")
            .otlp_grpc(&receiver.endpoint())
            .unwrap(),
    );
}

#[cfg(feature = "otlp-http")]
#[test]
fn spans_that_a_receiver_rejects_over_http_are_not_sent() {
    use prost::Message;

    let answer = crate::receiver::spans_but(3).encode_to_vec().into();
    let anywhere = crate::receiver::anywhere();
    let receiver = crate::receiver::answers(anywhere, http::StatusCode::OK, answer);
    check(
        &SpanPipeline::new("shop")
            .otlp_http(&receiver.endpoint())
            .unwrap(),
    );
}

#[cfg(feature = "metrics")]
mod metrics {
    use towerkit_metrics::Provider;
    use towerkit_opentelemetry::{MetricExporterHandle, MetricPipeline};

    use crate::receiver::{anywhere, metrics_but};

    fn check(meters: &MetricExporterHandle) {
        meters
            .meter()
            .counter("orders_total", "", &[])
            .unwrap()
            .add(1);
        assert!(meters.flush().is_err());
        assert_eq!(meters.failures(), 1);
    }

    #[cfg(feature = "otlp-grpc")]
    #[test]
    fn an_export_with_rejected_points_over_grpc_has_failed() {
        let receiver = crate::receiver::grpc_metrics_but(anywhere(), 1);
        check(
            &MetricPipeline::new("shop")
                .otlp_grpc(&receiver.endpoint())
                .unwrap(),
        );
    }

    #[cfg(feature = "otlp-http")]
    #[test]
    fn an_export_with_rejected_points_over_http_has_failed() {
        use prost::Message;

        let answer = metrics_but(1).encode_to_vec().into();
        let receiver = crate::receiver::answers(anywhere(), http::StatusCode::OK, answer);
        check(
            &MetricPipeline::new("shop")
                .otlp_http(&receiver.endpoint())
                .unwrap(),
        );
    }
}
