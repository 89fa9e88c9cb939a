use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_sdk::{
    error::{OTelSdkError, OTelSdkResult},
    metrics::{
        PeriodicReader, SdkMeterProvider, Temporality, data::ResourceMetrics,
        exporter::PushMetricExporter,
    },
};
use tokio::{
    runtime::Handle,
    select,
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    MetricExporterHandle, PipelineError,
    engine::{Engine, silently},
    settings,
};

/// What there is to say of how metrics are sent; `otlp_grpc`, `otlp_http` and [`exporter`](Self::exporter) begin to send.
///
/// ```
/// use towerkit_metrics::MetricsLayer;
/// use towerkit_opentelemetry::MetricPipeline;
///
/// # #[cfg(feature = "otlp-grpc")] {
/// let meters = MetricPipeline::new("shop").otlp_grpc("http://127.0.0.1:4317")?;
/// let layer = MetricsLayer::new().registry(meters.meter());
/// # }
/// # Ok::<_, towerkit_opentelemetry::PipelineError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MetricPipeline {
    service: String,
    attributes: Vec<KeyValue>,
    interval: Duration,
    timeout: Duration,
}

impl MetricPipeline {
    /// Makes the pipeline of the service of this name, which becomes `service.name`.
    ///
    /// Other attributes of the process are read from the variable `OTEL_RESOURCE_ATTRIBUTES`.
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            attributes: Vec::new(),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
        }
    }

    /// Says something of the process with all of its metrics, such as `deployment.environment.name`.
    #[must_use]
    pub fn attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Sends the metrics every so often, from 1 ms to a day; every 60 s by default.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Gives up on an export after this time, from 1 ms to a day, with all that the exporter tries again; 10 s by default. What was to be
    /// sent is in the next export.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sends metrics by an exporter of the program's own. It runs in a tokio runtime, with I/O and time.
    ///
    /// # Errors
    ///
    /// A [`PipelineError`] if a setting makes no sense, or the thread that sends cannot start.
    pub fn exporter(
        self,
        exporter: impl PushMetricExporter,
    ) -> Result<MetricExporterHandle, PipelineError> {
        self.start(|_| Ok(exporter))
    }

    pub(crate) fn start<E: PushMetricExporter>(
        self,
        make: impl FnOnce(Duration) -> Result<E, PipelineError>,
    ) -> Result<MetricExporterHandle, PipelineError> {
        settings::checked("the interval", self.interval)?;
        settings::checked("the timeout", self.timeout)?;
        let engine = Engine::new()?;
        let handle = engine.handle();
        let exporter = {
            let _inside = handle.enter();
            silently(|| make(self.timeout))?
        };
        let (closing, closed) = watch::channel(None);
        let (alive, mut gone) = watch::channel(());
        let failures = Arc::new(AtomicU64::new(0));
        engine.start(async move { while gone.changed().await.is_ok() {} })?;
        let exporter = Limited {
            exporter,
            handle,
            timeout: self.timeout,
            closed,
            failures: failures.clone(),
            _alive: alive,
        };
        let reader = PeriodicReader::builder(exporter)
            .with_interval(self.interval)
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(settings::resource(self.service, self.attributes))
            .build();
        Ok(MetricExporterHandle::new(provider, closing, failures))
    }
}

/// An exporter inside of a runtime, and within limits of time: the thread of the SDK that polls it has neither.
struct Limited<E> {
    exporter: E,
    handle: Handle,
    timeout: Duration,
    /// By when the last export has to be over, once there is a shutdown.
    closed: watch::Receiver<Option<Instant>>,
    failures: Arc<AtomicU64>,
    /// The runtime runs as long as this is there.
    _alive: watch::Sender<()>,
}

impl<E: PushMetricExporter> Limited<E> {
    async fn send(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let late = Err(OTelSdkError::Timeout(self.timeout));
        select! {
            biased;
            sent = timeout(self.timeout, self.exporter.export(metrics)) => sent.unwrap_or(late),
            () = settings::closed(self.closed.clone()) => late,
        }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Limited<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // Made inside of the runtime as well.
        let mut sending = Box::pin(async { self.send(metrics).await });
        let sent = std::future::poll_fn(|cx| {
            let _inside = self.handle.enter();
            silently(|| sending.as_mut().poll(cx))
        })
        .await;
        // What is given up is dropped in silence, too.
        silently(|| drop(sending));
        if sent.is_err() {
            // Relaxed: the number guards nothing.
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        sent
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
