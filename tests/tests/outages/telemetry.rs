//! All that tells others of calls.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use towerkit_core::stack;
use towerkit_http::HttpExt;
use towerkit_log::{Background, Format, Lines, LogGuard, LogLayer, LogQueue};
use towerkit_metrics::{MetricsLayer, Registry, Tee};
use towerkit_metrics_push::{Graphite, Influx, InfluxHttp, Pusher, PusherHandle, Statsd, Target};
use towerkit_opentelemetry::{Meters, MetricPipeline, SpanPipeline, Spans};
use towerkit_trace::TraceLayer;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

use crate::{
    load::runtime,
    receivers::{Kind, Receivers, Sink},
};

const EVERY: Duration = Duration::from_millis(100);

pub(crate) struct Telemetry {
    service: Service,
    spans: Spans,
    meters: Meters,
    log: LogGuard,
    pushers: Vec<PusherHandle>,
}

/// What a service needs to be observed.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) dispatch: Dispatch,
    registry: Registry,
    meters: Meters,
}

impl Service {
    pub(crate) fn observe(&self, app: Router) -> Router {
        let backends = Tee::new()
            .and(self.registry.clone())
            .and(self.meters.meter());
        let observers = (
            TraceLayer::server(),
            LogLayer::new(),
            MetricsLayer::new().registry(backends),
        );
        app.layer(stack(observers).axum())
    }
}

impl Telemetry {
    pub(crate) fn start(receivers: &Receivers) -> Self {
        let [otlp, graphite, influx] = receivers.tcp;
        let endpoint = format!("http://{otlp}");
        let size = |size| NonZeroUsize::new(size).unwrap();
        let spans = SpanPipeline::new("shop")
            .queue(size(1000))
            .batch(size(200))
            .delay(EVERY)
            .timeout(EVERY)
            .otlp_http(&endpoint)
            .unwrap();
        let meters = MetricPipeline::new("shop").interval(EVERY).timeout(EVERY);
        let meters = meters.otlp_http(&endpoint).unwrap();
        let background = Background::new().bytes(size(128 << 10));
        let background = background.patience(Duration::from_millis(200));
        let sink = receivers.sink.lock().unwrap().take().unwrap();
        let (queue, log) = match sink {
            Sink::Pipe(pipe) => background.start(Format::Json, Arc::new(pipe)).unwrap(),
            Sink::File(file) => background.start(Format::Json, Arc::new(file)).unwrap(),
        };
        let subscriber = tracing_subscriber::registry()
            .with(tracing_subscriber::filter::LevelFilter::INFO)
            .with(Lines::new(Format::Json).writer(queue))
            .with(spans.layer());
        let registry = Registry::new();
        let influx = InfluxHttp::v1(&format!("http://{influx}"), "shop").unwrap();
        let targets = [
            Pusher::new(
                registry.clone(),
                Statsd::new(),
                Target::udp(receivers.statsd.to_string()),
            ),
            Pusher::new(
                registry.clone(),
                Graphite::new(),
                Target::tcp(graphite.to_string()),
            ),
            Pusher::new(registry.clone(), Influx::new(), influx),
        ];
        let service = Service {
            dispatch: Dispatch::new(subscriber),
            registry,
            meters: meters.clone(),
        };
        let pushers = targets.map(push).to_vec();
        Self {
            service,
            spans,
            meters,
            log,
            pushers,
        }
    }

    pub(crate) fn service(&self) -> Service {
        self.service.clone()
    }

    /// Checks that what is lost was counted, and what arrived as well.
    pub(crate) fn check(self, kind: Kind) {
        let queue: LogQueue = self.log.queue().clone();
        assert!(queue.dropped() > 0, "{kind:?}: no line was dropped");
        // One that is silent takes what is sent by UDP, and by TCP as much as fits: only InfluxDB has to answer.
        let sure = if kind == Kind::Silent { 2 } else { 0 };
        let is_told = || {
            let mut pushers = self.pushers[sure..].iter();
            pushers.all(|pusher| pusher.report().failures > 0)
        };
        eventually("pushes fail", is_told);
        eventually("exports fail", || self.meters.failures() > 0);
        eventually("spans are lost", || self.spans.report().lost() > 0);
        if kind == Kind::Killed {
            assert!(self.spans.report().sent() > 0);
            assert!(self.pushers.iter().all(|pusher| pusher.report().pushes > 0));
        }
        let start = Instant::now();
        let limit = Duration::from_millis(300);
        // They are still to be told, and nobody is there.
        let _ = self.spans.shutdown(limit);
        let _ = self.meters.shutdown(limit);
        drop(self.log);
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "{kind:?}: {:?}",
            start.elapsed()
        );
        let report = self.spans.report();
        assert_eq!(report.held(), 0, "{report:?}");
    }
}

/// Pushes on a thread of its own, for as long as the process runs.
fn push(pusher: Pusher) -> PusherHandle {
    let mut pusher = pusher.interval(EVERY).unwrap().timeout(EVERY).unwrap();
    let handle = pusher.handle();
    thread::spawn(move || {
        let limit = Duration::from_secs(8);
        runtime().block_on(async { tokio::time::timeout(limit, pusher.run()).await.is_err() })
    });
    handle
}

fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}
