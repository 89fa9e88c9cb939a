//! Metrics as real receivers get them, over real sockets.

use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode};
use opentelemetry_proto::tonic::{
    collector::metrics::v1::ExportMetricsServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    metrics::v1::{
        Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum, metric::Data,
        number_data_point,
    },
};
use prost::Message;
use tower::{ServiceBuilder, ServiceExt};
use towerkit_core::{BoxError, LayerExt};
use towerkit_http::Http;
use towerkit_metrics::{Buckets, MetricsLayer, Provider};
use towerkit_opentelemetry::{MetricExporterHandle, MetricPipeline, OtelMeter};

use crate::receiver::{anywhere, eventually, grpc_metrics, posts};

const LONG: Duration = Duration::from_secs(20);

/// Serves a call over HTTP that succeeds, one that fails, and a plain one.
fn serve(meter: &OtelMeter) {
    let layer = MetricsLayer::new().registry(meter.clone());
    let layer = layer.buckets(Buckets::new([0.1, 1.0]).unwrap());
    let http = ServiceBuilder::new()
        .layer(
            layer
                .clone()
                .protocol(Http::new().operation(|_| "/orders/{id}")),
        )
        .service_fn(async |request: Request<String>| {
            let mut response = Response::new(String::from("hello"));
            if request.method() == "FOO" {
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            }
            Ok::<_, BoxError>(response)
        });
    let plain = ServiceBuilder::new()
        .layer(layer.plain("uppercase"))
        .service_fn(async |()| Ok::<_, BoxError>(()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        for method in ["GET", "FOO"] {
            let request = Request::builder()
                .method(method)
                .body(String::new())
                .unwrap();
            let response = http.clone().oneshot(request).await.unwrap();
            http_body_util::BodyExt::collect(response.into_body())
                .await
                .unwrap();
        }
        plain.oneshot(()).await.unwrap();
    });
}

fn metric<'a>(request: &'a ExportMetricsServiceRequest, name: &str) -> &'a Metric {
    let [resource] = &request.resource_metrics[..] else {
        panic!("{request:#?}")
    };
    let about = &resource.resource.as_ref().unwrap().attributes;
    assert_eq!(attribute(about, "service.name").unwrap(), text("shop"));
    let mut metrics = resource
        .scope_metrics
        .iter()
        .flat_map(|scope| &scope.metrics);
    metrics
        .find(|metric| metric.name == name)
        .unwrap_or_else(|| panic!("{name}: {request:#?}"))
}

fn attribute(pairs: &[KeyValue], name: &str) -> Option<Value> {
    let found = pairs.iter().find(|pair| pair.key == name)?;
    found.value.as_ref()?.value.clone()
}

fn text(text: &str) -> Value {
    Value::StringValue(text.to_owned())
}

fn histogram(metric: &Metric) -> &Histogram {
    match metric.data.as_ref().unwrap() {
        Data::Histogram(histogram) => histogram,
        other => panic!("{other:?}"),
    }
}

fn sum(metric: &Metric) -> &Sum {
    match metric.data.as_ref().unwrap() {
        Data::Sum(sum) => sum,
        other => panic!("{other:?}"),
    }
}

/// Checks what [`serve`] records.
fn check(request: &ExportMetricsServiceRequest) {
    let duration = metric(request, "http.server.request.duration");
    assert_eq!(duration.unit, "s");
    assert!(!duration.description.is_empty());
    let points = &histogram(duration).data_points;
    assert_eq!(points.len(), 2);
    let of = |method: &str| -> &HistogramDataPoint {
        let is_it = |point: &&HistogramDataPoint| {
            attribute(&point.attributes, "http.request.method") == Some(text(method))
        };
        points.iter().find(is_it).unwrap()
    };
    let (good, bad) = (of("GET"), of("_OTHER"));
    assert_eq!(
        (good.count, &good.explicit_bounds[..]),
        (1, &[0.1, 1.0][..])
    );
    assert_eq!(
        attribute(&good.attributes, "http.route"),
        Some(text("/orders/{id}"))
    );
    assert_eq!(
        attribute(&good.attributes, "http.response.status_code"),
        Some(Value::IntValue(200))
    );
    assert_eq!(attribute(&good.attributes, "error.type"), None);
    assert_eq!(attribute(&bad.attributes, "error.type"), Some(text("500")));
    assert_eq!(
        attribute(&bad.attributes, "towerkit.outcome"),
        Some(text("failure"))
    );

    let active = metric(request, "http.server.active_requests");
    assert_eq!(active.unit, "{request}");
    assert!(!sum(active).is_monotonic);
    let is_none = |point: &NumberDataPoint| point.value == Some(number_data_point::Value::AsInt(0));
    assert!(sum(active).data_points.iter().all(is_none));

    let plain = histogram(metric(request, "towerkit.call.duration"));
    assert_eq!(
        attribute(&plain.data_points[0].attributes, "towerkit.operation"),
        Some(text("uppercase"))
    );
}

/// MT-07
#[test]
fn metrics_arrive_by_otlp_over_grpc_with_the_names_of_the_conventions() {
    let receiver = grpc_metrics(anywhere());
    let meters = MetricPipeline::new("shop")
        .otlp_grpc(&receiver.endpoint())
        .unwrap();
    serve(&meters.meter());
    meters.flush().unwrap();
    check(&receiver.received()[0]);
    meters.shutdown(LONG).unwrap();
    assert!(meters.shutdown(LONG).is_err());
    assert_eq!(meters.failures(), 0);
}

/// MT-07
#[test]
fn metrics_arrive_by_otlp_over_http_with_the_names_of_the_conventions() {
    let receiver = posts(anywhere(), StatusCode::OK);
    let meters = MetricPipeline::new("shop")
        .otlp_http(&receiver.endpoint())
        .unwrap();
    serve(&meters.meter());
    meters.shutdown(LONG).unwrap();
    let received = receiver.received();
    let [(path, kind, body)] = &received[..] else {
        panic!("{received:?}")
    };
    assert_eq!(
        (path.as_str(), kind.as_str()),
        ("/v1/metrics", "application/x-protobuf")
    );
    check(&ExportMetricsServiceRequest::decode(body.clone()).unwrap());
}

#[test]
fn metrics_of_the_application_arrive_every_interval() {
    let receiver = grpc_metrics(anywhere());
    let meters = MetricPipeline::new("shop").interval(Duration::from_millis(20));
    let meters = meters.otlp_grpc(&receiver.endpoint()).unwrap();
    let meter = meters.meter();
    let orders = meter
        .counter("orders_total", "Orders.", &[("kind", "book")])
        .unwrap();
    let length = |labels: &[(&str, &str)]| meter.gauge("queue_length", "Waiting.", labels).unwrap();
    orders.add(3);
    length(&[("a", "1"), ("b", "2")]).add(7);
    length(&[("b", "2"), ("a", "1")]).set(5);
    eventually("three exports", || receiver.received().len() >= 3);
    let received = receiver.received();
    let last = received.last().unwrap();
    let orders = sum(metric(last, "orders"));
    assert!(orders.is_monotonic);
    assert_eq!(
        orders.data_points[0].value,
        Some(number_data_point::Value::AsInt(3))
    );
    let lengths = &sum(metric(last, "queue_length")).data_points;
    assert_eq!(lengths.len(), 1);
    assert_eq!(lengths[0].value, Some(number_data_point::Value::AsInt(5)));
}

#[test]
fn an_invalid_metric_is_rejected() {
    let meters = MetricPipeline::new("shop")
        .otlp_grpc("http://127.0.0.1:1")
        .unwrap();
    let meter = meters.meter();
    assert!(meter.counter("", "", &[]).is_err());
    assert!(meter.counter("1st", "", &[]).is_err());
    assert!(meter.counter("näme", "", &[]).is_err());
    assert!(
        meter
            .counter("orders_total", "", &[("a", "1"), ("a", "2")])
            .is_err()
    );
    meter.counter("orders_total", "", &[]).unwrap();
    assert!(meter.gauge("orders", "", &[]).is_err());
    assert!(
        meter
            .histogram("orders", "", &[], &Buckets::default())
            .is_err()
    );
    for pipeline in [
        MetricPipeline::new("shop").interval(Duration::ZERO),
        MetricPipeline::new("shop").timeout(Duration::MAX),
    ] {
        assert!(pipeline.clone().otlp_grpc("http://127.0.0.1:1").is_err());
        assert!(pipeline.otlp_http("http://127.0.0.1:1").is_err());
    }
    assert!(
        MetricPipeline::new("shop")
            .otlp_grpc("https://collector")
            .is_err()
    );
}

#[test]
fn a_receiver_of_metrics_that_never_answers_delays_no_call() {
    let listener = TcpListener::bind(anywhere()).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let pipeline = || {
        let pipeline = MetricPipeline::new("shop").interval(Duration::from_millis(20));
        pipeline.timeout(Duration::from_millis(100))
    };
    for meters in [
        pipeline().otlp_grpc(&endpoint),
        pipeline().otlp_http(&endpoint),
    ] {
        let meters: MetricExporterHandle = meters.unwrap();
        serve(&meters.meter());
        eventually("two failures", || meters.failures() >= 2);
    }
    let hour = Duration::from_secs(3600);
    let meters = MetricPipeline::new("shop").timeout(hour);
    let meters = meters.otlp_grpc(&endpoint).unwrap();
    serve(&meters.meter());
    let start = Instant::now();
    let limit = Duration::from_millis(300);
    assert!(meters.shutdown(limit).unwrap_err().is_timeout());
    assert!(start.elapsed() < 60 * limit);
}

#[test]
fn a_known_series_allocates_nothing() {
    let meters = MetricPipeline::new("shop")
        .otlp_grpc("http://127.0.0.1:1")
        .unwrap();
    let meter = meters.meter();
    let labels = [
        ("http_route", "/"),
        ("http_response_status_code", "200"),
        ("outcome", "success"),
    ];
    let name = "http_server_request_duration_seconds";
    let duration = meter
        .histogram(name, "", &labels, &Buckets::default())
        .unwrap();
    let active = meter
        .gauge("http_server_active_requests", "", &labels[..1])
        .unwrap();
    let record = || {
        active.add(1);
        duration.observe_nanos(1_000_000);
        active.add(-1);
    };
    record();
    assert_eq!(allocation_counter::measure(record).count_total, 0);
}
