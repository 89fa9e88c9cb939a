use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{self as sdk, Sampler, SdkTracerProvider, SpanData, SpanProcessor},
};
use pin_project::pin_project;
use tower::Service;
use tracing::{Dispatch, Span, field::Empty};
use tracing_subscriber::layer::SubscriberExt;

use crate::HttpRequest;

/// Takes the spans that are over, and drops them.
#[derive(Debug)]
pub struct Nowhere;

impl SpanProcessor for Nowhere {
    fn on_start(&self, _span: &mut sdk::Span, _context: &opentelemetry::Context) {}

    fn on_end(&self, _span: SpanData) {}

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Makes a subscriber that records spans with the OpenTelemetry SDK.
#[must_use]
pub fn opentelemetry() -> Dispatch {
    subscriber(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
}

/// The same, whose SDK records nothing that begins here.
#[must_use]
pub fn opentelemetry_not_sampling() -> Dispatch {
    subscriber(Sampler::ParentBased(Box::new(Sampler::AlwaysOff)))
}

fn subscriber(sampler: Sampler) -> Dispatch {
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Nowhere)
        .with_sampler(sampler)
        .build();
    let layer = towerkit_trace::otel_layer(provider.tracer("benches"));
    Dispatch::new(tracing_subscriber::registry().with(layer))
}

/// A span of tracing around each call, to the end of its head, written by hand.
#[derive(Debug, Clone)]
pub struct Spanned<S> {
    inner: S,
}

/// Puts a span with the fields of towerkit's around the calls of a service.
pub fn spanned<S>(inner: S) -> Spanned<S> {
    Spanned { inner }
}

/// The call inside of its span.
#[pin_project]
#[derive(Debug)]
pub struct SpannedFuture<F> {
    #[pin]
    call: F,
    span: Span,
}

impl<S, B> Service<HttpRequest> for Spanned<S>
where
    S: Service<HttpRequest, Response = Response<B>>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = SpannedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let span = tracing::info_span!(
            "call",
            otel.name = request.method().as_str(),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = request.method().as_str(),
            http.request.method_original = Empty,
            http.request.resend_count = Empty,
            http.route = Empty,
            url.template = Empty,
            http.response.status_code = Empty,
            http.response.body.size = Empty,
            error.type = Empty,
        );
        let call = span.in_scope(|| self.inner.call(request));
        SpannedFuture { call, span }
    }
}

impl<F, B, E> Future for SpannedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let call = this.call;
        let answer = ready!(this.span.in_scope(|| call.poll(cx)));
        if let Ok(response) = &answer {
            this.span
                .record("http.response.status_code", response.status().as_u16());
            this.span.record("http.response.body.size", 0_u64);
        }
        Poll::Ready(answer)
    }
}
