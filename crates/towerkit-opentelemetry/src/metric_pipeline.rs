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
    MetricExporterHandle, PipelineError, config,
    runtime::{ExportRuntime, suppressed},
};

/// The options of an exporter of metrics. `otlp_grpc`, `otlp_http` or [`exporter`](Self::exporter) starts it.
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
    /// Creates the options for a service; its name becomes the resource attribute `service.name`.
    ///
    /// Further attributes of the process are read from the variable [`OTEL_RESOURCE_ATTRIBUTES`].
    ///
    /// [`OTEL_RESOURCE_ATTRIBUTES`]: https://opentelemetry.io/docs/specs/otel/resource/sdk/
    #[must_use]
    pub fn new(service: impl Into<String>) -> Self {
        Self {
            service: service.into(),
            attributes: Vec::new(),
            interval: Duration::from_secs(60),
            timeout: Duration::from_secs(10),
        }
    }

    /// Adds an attribute of the process, such as `deployment.environment.name`, to the resource of all metrics.
    #[must_use]
    pub fn attribute(mut self, attribute: KeyValue) -> Self {
        self.attributes.push(attribute);
        self
    }

    /// Sends the metrics at this interval, from 1 ms to 24 h; the default is 60 s.
    #[must_use]
    pub fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Limits the time of an export including its retries, from 1 ms to 24 h; the default is 10 s. The next export includes the metrics
    /// of one that timed out.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Starts to send metrics with any [`PushMetricExporter`]. It runs in a tokio runtime, with I/O and time enabled.
    ///
    /// # Errors
    ///
    /// Returns a [`PipelineError`] if a setting is invalid, or if the thread cannot start.
    pub fn exporter(
        self,
        exporter: impl PushMetricExporter,
    ) -> Result<MetricExporterHandle, PipelineError> {
        self.start(|_| Ok(exporter))
    }

    pub(crate) fn start<E: PushMetricExporter>(
        self,
        create: impl FnOnce(Duration) -> Result<E, PipelineError>,
    ) -> Result<MetricExporterHandle, PipelineError> {
        config::validate("interval", self.interval)?;
        config::validate("timeout", self.timeout)?;
        let runtime = ExportRuntime::new()?;
        let handle = runtime.handle();
        let exporter = {
            let _entered = handle.enter();
            suppressed(|| create(self.timeout))?
        };
        let (deadline, shutdown) = watch::channel(None);
        let (alive, mut exporter_dropped) = watch::channel(());
        let failures = Arc::new(AtomicU64::new(0));
        runtime.start(async move { while exporter_dropped.changed().await.is_ok() {} })?;
        let exporter = TimeLimited {
            exporter,
            handle,
            timeout: self.timeout,
            shutdown,
            failures: failures.clone(),
            _alive: alive,
        };
        let reader = PeriodicReader::builder(exporter)
            .with_interval(self.interval)
            .build();
        let provider = SdkMeterProvider::builder()
            .with_reader(reader)
            .with_resource(config::resource(self.service, self.attributes))
            .build();
        Ok(MetricExporterHandle::new(provider, deadline, failures))
    }
}

/// Runs an exporter inside a runtime and within time limits; the thread of the SDK that polls it has neither.
struct TimeLimited<E> {
    exporter: E,
    handle: Handle,
    timeout: Duration,
    /// The deadline of the shutdown, once it has begun.
    shutdown: watch::Receiver<Option<Instant>>,
    failures: Arc<AtomicU64>,
    /// Keeps the runtime running until it is dropped.
    _alive: watch::Sender<()>,
}

impl<E: PushMetricExporter> TimeLimited<E> {
    async fn send(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let late = Err(OTelSdkError::Timeout(self.timeout));
        select! {
            biased;
            sent = timeout(self.timeout, self.exporter.export(metrics)) => sent.unwrap_or(late),
            () = config::wait_for_deadline(self.shutdown.clone()) => late,
        }
    }
}

impl<E: PushMetricExporter> PushMetricExporter for TimeLimited<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        // The future is created, polled and dropped inside the runtime, and under suppression.
        let mut sending = Box::pin(async { self.send(metrics).await });
        let sent = std::future::poll_fn(|cx| {
            let _entered = self.handle.enter();
            suppressed(|| sending.as_mut().poll(cx))
        })
        .await;
        suppressed(|| drop(sending));
        if sent.is_err() {
            // Relaxed: the number guards no data.
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
