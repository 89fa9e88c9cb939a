//! An export creates no spans and no events.
//!
//! In a process of its own: it has a subscriber of the whole process, which sees all threads.

#[path = "it/protocols.rs"]
#[allow(dead_code, reason = "the other binary uses the rest")]
mod protocols;
#[path = "it/receiver.rs"]
mod receiver;

use std::{
    future::pending,
    sync::{Arc, Mutex, mpsc::Sender, mpsc::channel},
    time::Duration,
};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use protocols::POSTS;
use receiver::{anywhere, posts};
use towerkit_opentelemetry::{
    SpanExporterHandle, SpanPipeline,
    opentelemetry::trace::{Span, Tracer},
    opentelemetry_sdk::{
        error::OTelSdkResult,
        trace::{SpanData, SpanExporter},
    },
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// Notes all that is traced or logged on the threads of pipelines.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn note(&self, what: &str) {
        let thread = std::thread::current();
        if thread.name() == Some("towerkit-otel") {
            self.0.lock().unwrap().push(what.to_owned());
        }
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_new_span(
        &self,
        attributes: &tracing::span::Attributes<'_>,
        _id: &tracing::Id,
        _context: Context<'_, S>,
    ) {
        self.note(attributes.metadata().name());
    }

    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        self.note(event.metadata().name());
    }
}

/// Traces and logs when it is dropped, as connections do, and says that it is.
#[derive(Debug)]
struct Noise(Sender<&'static str>, &'static str);

impl Drop for Noise {
    fn drop(&mut self) {
        tracing::info_span!("dropped").in_scope(|| tracing::info!("dropped"));
        let _ = self.0.send(self.1);
    }
}

/// An exporter that leaves a task to its runtime, and has work done on another thread.
#[derive(Debug)]
struct Noisy(Noise);

impl SpanExporter for Noisy {
    async fn export(&self, _batch: Vec<SpanData>) -> OTelSdkResult {
        let noise = |what| Noise(self.0.0.clone(), what);
        let (task, work) = (noise("the task"), noise("the work"));
        tokio::spawn(async move {
            let _task = task;
            pending::<()>().await;
        });
        tokio::task::spawn_blocking(move || drop(work))
            .await
            .unwrap();
        Ok(())
    }
}

/// A receiver over gRPC and a pipeline to it, where that is compiled in.
#[derive(Default)]
struct OverGrpc {
    spans: Option<SpanExporterHandle>,
    _receiver: Option<receiver::Receiver<ExportTraceServiceRequest>>,
}

#[cfg(feature = "otlp-grpc")]
fn over_grpc() -> OverGrpc {
    let receiver = receiver::grpc_spans(anywhere());
    let spans = SpanPipeline::new("shop").otlp_grpc(&receiver.endpoint());
    OverGrpc {
        spans: Some(spans.unwrap()),
        _receiver: Some(receiver),
    }
}

#[cfg(not(feature = "otlp-grpc"))]
fn over_grpc() -> OverGrpc {
    OverGrpc::default()
}

#[test]
fn an_export_is_neither_traced_nor_logged() {
    const LONG: Duration = Duration::from_secs(20);
    let (noise, noises) = channel();
    let noisy = SpanPipeline::new("shop")
        .exporter(Noisy(Noise(noise, "the exporter")))
        .unwrap();
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry()
        .with(heard.clone())
        .with(noisy.layer());
    tracing::subscriber::set_global_default(subscriber).unwrap();

    tracing::info_span!("work").in_scope(|| ());
    noisy.shutdown(LONG).unwrap();
    let mut said: Vec<_> = (0..3).map(|_| noises.recv_timeout(LONG).unwrap()).collect();
    said.sort_unstable();
    assert_eq!(said, ["the exporter", "the task", "the work"]);
    let report = noisy.snapshot();
    assert_eq!((report.sent(), report.lost()), (1, 0), "{report:?}");

    // Installed only now, because the receivers are in this process, too, and their spans would be recorded.
    let receiver = posts(anywhere(), http::StatusCode::OK);
    let posting = POSTS
        .iter()
        .map(|start| start(SpanPipeline::new("shop"), &receiver.endpoint()));
    let grpc = over_grpc();
    for spans in posting.map(Result::unwrap).chain(grpc.spans.clone()) {
        for _ in 0..3 {
            spans.tracer().start("work").end();
            spans.flush(LONG).unwrap();
        }
        spans.shutdown(LONG).unwrap();
        let report = spans.snapshot();
        assert_eq!((report.sent(), report.lost()), (3, 0), "{report:?}");
    }
    assert_eq!(*heard.0.lock().unwrap(), <[String; 0]>::default());
}
