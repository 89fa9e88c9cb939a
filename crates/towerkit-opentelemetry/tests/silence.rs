//! What is sent is not itself something to send: under a subscriber of the whole process, which sees all threads.

mod receiver;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use http::StatusCode;
use receiver::{anywhere, grpc_spans, posts};
use towerkit_opentelemetry::{
    SpanPipeline,
    opentelemetry::trace::{Span, Tracer},
};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    Layer,
    layer::{Context, SubscriberExt},
};

/// Notes the threads of the pipelines on which something is traced or logged.
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

#[test]
fn what_is_sent_is_neither_traced_nor_logged() {
    const LONG: Duration = Duration::from_secs(20);
    let receivers = (grpc_spans(anywhere()), posts(anywhere(), StatusCode::OK));
    let first = SpanPipeline::new("shop")
        .otlp_grpc(&receivers.0.endpoint())
        .unwrap();
    let second = SpanPipeline::new("shop")
        .otlp_http(&receivers.1.endpoint())
        .unwrap();
    let heard = Heard::default();
    let subscriber = tracing_subscriber::registry()
        .with(heard.clone())
        .with(first.layer());
    tracing::subscriber::set_global_default(subscriber).unwrap();
    for _ in 0..3 {
        tracing::info_span!("work").in_scope(|| ());
        second.tracer().start("work").end();
        first.flush(LONG).unwrap();
        second.flush(LONG).unwrap();
    }
    assert_eq!(*heard.0.lock().unwrap(), <[String; 0]>::default());
    first.shutdown(LONG).unwrap();
    second.shutdown(LONG).unwrap();
    // The receivers are of this process as well, and theirs are recorded.
    assert!(first.report().sent() >= 3 && second.report().sent() >= 3);
}
