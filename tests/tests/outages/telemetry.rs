//! All that tells others of calls.

use std::{
    num::NonZeroUsize,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use axum::Router;
use tokio::sync::oneshot;
use towerkit_core::stack;
use towerkit_http::HttpExt;
use towerkit_log::{Background, Format, LineFormatter, LogGuard, LogLayer};
use towerkit_metrics::{Fanout, MetricsLayer, Registry};
use towerkit_metrics_push::{
    Destination, Graphite, Influx, InfluxHttp, Pusher, PusherHandle, Statsd,
};
use towerkit_opentelemetry::{
    MetricExporterHandle, MetricPipeline, SpanExporterHandle, SpanPipeline,
};
use towerkit_trace::TraceLayer;
use tracing::Dispatch;
use tracing_subscriber::layer::SubscriberExt;

use crate::{
    load::runtime,
    receivers::{Kind, Receivers, Sink},
};

/// How often they are told.
const EVERY: Duration = Duration::from_millis(100);
/// How long a test waits for what must happen.
const LIMIT: Duration = Duration::from_secs(120);

pub(crate) struct Telemetry {
    service: Service,
    spans: SpanExporterHandle,
    meters: MetricExporterHandle,
    log: LogGuard,
    pushers: Vec<PusherHandle>,
    /// Ends the pushers with this value.
    _pushing: Vec<oneshot::Sender<()>>,
}

/// What a service needs to be observed.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) dispatch: Dispatch,
    registry: Registry,
    meters: MetricExporterHandle,
}

impl Service {
    pub(crate) fn observe(&self, app: Router) -> Router {
        let backends = Fanout::new()
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
    /// Starts to tell `receivers`, each of which is given up that does not answer within `timeout`.
    pub(crate) fn start(receivers: &Receivers, timeout: Duration) -> Self {
        let [otlp, graphite, influx] = receivers.tcp;
        let endpoint = format!("http://{otlp}");
        let size = |size| NonZeroUsize::new(size).unwrap();
        let spans = SpanPipeline::new("shop")
            .queue(size(1000))
            .batch(size(200))
            .delay(EVERY)
            .timeout(timeout)
            .otlp_http(&endpoint)
            .unwrap();
        let meters = MetricPipeline::new("shop").interval(EVERY).timeout(timeout);
        let meters = meters.otlp_http(&endpoint).unwrap();
        let background = Background::new().bytes(size(128 << 10));
        let background = background.shutdown_timeout(Duration::from_millis(200));
        let sink = receivers.sink.lock().unwrap().take().unwrap();
        let (queue, log) = match sink {
            Sink::Pipe(pipe) => background.start(Format::Json, Arc::new(pipe)).unwrap(),
            Sink::File(file) => background.start(Format::Json, Arc::new(file)).unwrap(),
        };
        let subscriber = tracing_subscriber::registry()
            .with(tracing_subscriber::filter::LevelFilter::INFO)
            .with(LineFormatter::new(Format::Json).writer(queue))
            .with(spans.layer());
        let registry = Registry::new();
        let influx = InfluxHttp::v1(&format!("http://{influx}"), "shop").unwrap();
        let targets = [
            Pusher::new(
                registry.clone(),
                Statsd::new(),
                Destination::udp(receivers.statsd.to_string()),
            ),
            Pusher::new(
                registry.clone(),
                Graphite::new(),
                Destination::tcp(graphite.to_string()),
            ),
            Pusher::new(registry.clone(), Influx::new(), influx),
        ];
        let service = Service {
            dispatch: Dispatch::new(subscriber),
            registry,
            meters: meters.clone(),
        };
        let pushers = targets.into_iter().map(|pusher| push(pusher, timeout));
        let (pushers, pushing) = pushers.unzip();
        Self {
            service,
            spans,
            meters,
            log,
            pushers,
            _pushing: pushing,
        }
    }

    pub(crate) fn service(&self) -> Service {
        self.service.clone()
    }

    /// Checks that what is lost was counted, and what arrived as well.
    pub(crate) fn check(self, kind: Kind) {
        eventually("lines are dropped", || self.log.queue().dropped() > 0);
        // One that is silent takes what is sent by UDP, and by TCP as much as fits: only InfluxDB has to answer.
        let sure = if kind == Kind::Silent { 2 } else { 0 };
        let is_told = || {
            let mut pushers = self.pushers[sure..].iter();
            pushers.all(|pusher| pusher.snapshot().failures > 0)
        };
        eventually("pushes fail", is_told);
        eventually("exports fail", || self.meters.failures() > 0);
        eventually("spans are lost", || self.spans.snapshot().lost() > 0);
        self.shut_down();
    }

    /// Whether spans and metrics have arrived everywhere.
    pub(crate) fn has_told_all(&self) -> bool {
        let mut pushers = self.pushers.iter();
        self.spans.snapshot().sent() > 0 && pushers.all(|pusher| pusher.snapshot().pushes > 0)
    }

    pub(crate) fn loses_spans_and_lines(&self) -> bool {
        self.spans.snapshot().lost() > 0 && self.log.queue().dropped() > 0
    }

    /// Ends, although those who are still to be told are not there: in its own time, and not in theirs.
    pub(crate) fn shut_down(self) {
        let (start, limit) = (Instant::now(), Duration::from_millis(300));
        let _ = self.spans.shutdown(limit);
        let _ = self.meters.shutdown(limit);
        drop(self.log);
        assert!(start.elapsed() < LIMIT, "{:?}", start.elapsed());
        let report = self.spans.snapshot();
        assert_eq!(report.held(), 0, "{report:?}");
    }
}

/// Pushes on a thread of its own, until the sender is dropped.
fn push(pusher: Pusher, timeout: Duration) -> (PusherHandle, oneshot::Sender<()>) {
    let mut pusher = pusher.interval(EVERY).unwrap().timeout(timeout).unwrap();
    let handle = pusher.handle();
    let (stop, stopped) = oneshot::channel();
    thread::spawn(move || {
        runtime().block_on(async {
            tokio::select! {
                never = pusher.run() => match never {},
                _ = stopped => {}
            }
        });
    });
    (handle, stop)
}

/// Waits for a condition, but not for ever.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    towerkit_programs::until(what, LIMIT, || is_so().then_some(()));
}
