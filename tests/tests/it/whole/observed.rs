//! What a subscriber of logs and spans keeps.

use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use towerkit_log::{Format, LineFormatter, Targets};
use towerkit_tests::Page;
use towerkit_trace::otel_layer;
use tracing::{Level, subscriber::DefaultGuard};
use tracing_subscriber::{Layer, layer::SubscriberExt};

/// Everything that this thread observes, for as long as it is there.
pub(crate) struct Observed {
    page: Page,
    exporter: InMemorySpanExporter,
    _provider: SdkTracerProvider,
    _default: DefaultGuard,
}

/// What tonic and hyper have to say of themselves is left out.
fn ours() -> Targets {
    Targets::new()
        .with_target("towerkit", Level::TRACE)
        .with_target("it", Level::TRACE)
}

impl Observed {
    pub(crate) fn start(format: Format) -> Self {
        let (page, exporter) = (Page::default(), InMemorySpanExporter::default());
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .build();
        let writer = page.clone();
        let lines = LineFormatter::new(format)
            .writer(move || writer.clone())
            .spans();
        let subscriber = tracing_subscriber::registry()
            .with(lines.with_filter(ours()))
            .with(otel_layer(provider.tracer("test")).with_filter(ours()));
        Self {
            page,
            exporter,
            _provider: provider,
            _default: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Takes the text that was logged.
    pub(crate) fn text(&self) -> String {
        self.page.take()
    }

    /// Takes the lines of calls; the format is JSON.
    pub(crate) fn calls(&self) -> Vec<Value> {
        let lines = self.text();
        let lines = lines
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        lines
            .filter(|line: &Value| line["target"] == "towerkit::call")
            .collect()
    }

    /// Takes the spans that have ended.
    pub(crate) fn spans(&self) -> Vec<SpanData> {
        let spans = self.exporter.get_finished_spans().unwrap();
        self.exporter.reset();
        spans
    }

    /// Waits until so many spans have ended, and a little longer, in which no more may.
    pub(crate) async fn spans_of(&self, count: usize) -> Vec<SpanData> {
        eventually("spans end", || {
            self.exporter.get_finished_spans().unwrap().len() >= count
        })
        .await;
        sleep(Duration::from_millis(20)).await;
        let spans = self.spans();
        assert_eq!(spans.len(), count, "{spans:#?}");
        spans
    }
}

/// Waits for a condition, but not for ever.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let waits = async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    let limit = Duration::from_secs(120);
    timeout(limit, waits)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

/// The value of an attribute as text; an empty one if there is none.
pub(crate) fn attribute(span: &SpanData, name: &str) -> String {
    let mut values = span
        .attributes
        .iter()
        .filter(|pair| pair.key.as_str() == name);
    values
        .next()
        .map(|pair| pair.value.to_string())
        .unwrap_or_default()
}
