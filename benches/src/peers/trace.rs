use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::Response;
use http_body::{Body, Frame};
use opentelemetry::trace::TracerProvider;
use opentelemetry_sdk::{
    error::OTelSdkResult,
    trace::{self as sdk, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanProcessor},
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
    let layer = towerkit_trace::otel_layer(tracer(Sampler::AlwaysOn));
    Dispatch::new(tracing_subscriber::registry().with(layer))
}

/// The same with the layer as tower-otel's README makes it.
#[must_use]
pub fn tracing_opentelemetry(sampler: Sampler) -> Dispatch {
    let layer = tracing_opentelemetry::layer().with_tracer(tracer(sampler));
    Dispatch::new(tracing_subscriber::registry().with(layer))
}

fn tracer(sampler: Sampler) -> SdkTracer {
    let provider = SdkTracerProvider::builder()
        .with_span_processor(Nowhere)
        .with_sampler(sampler)
        .build();
    provider.tracer("benches")
}

/// A span of tracing around each call, to the end of its body, written by hand.
#[derive(Debug, Clone)]
pub struct Spanned<S> {
    inner: S,
}

/// Puts a span with the fields of towerkit's around the calls of a service.
pub fn spanned<S>(inner: S) -> Spanned<S> {
    Spanned { inner }
}

/// The call, and then its body, inside of its span.
#[pin_project]
#[derive(Debug)]
pub struct InSpan<T> {
    #[pin]
    inner: T,
    span: Span,
}

impl<S, B> Service<HttpRequest> for Spanned<S>
where
    S: Service<HttpRequest, Response = Response<B>>,
{
    type Response = Response<InSpan<B>>;
    type Error = S::Error;
    type Future = InSpan<S::Future>;

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
        let inner = span.in_scope(|| self.inner.call(request));
        InSpan { inner, span }
    }
}

impl<F, B, E> Future for InSpan<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<InSpan<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let response = ready!(this.span.in_scope(|| inner.poll(cx)))?;
        this.span.record(
            "http.response.status_code",
            i64::from(response.status().as_u16()),
        );
        let span = mem::replace(this.span, Span::none());
        Poll::Ready(Ok(response.map(|inner| InSpan { inner, span })))
    }
}

impl<B: Body> Body for InSpan<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let inner = this.inner;
        let frame = ready!(this.span.in_scope(|| inner.poll_frame(cx)));
        this.span.record("http.response.body.size", 0_i64);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
