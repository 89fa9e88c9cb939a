use std::{
    convert::Infallible,
    future::{Ready, ready},
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderValue, Method, Request, Response, StatusCode,
    header::{ACCEPT, ALLOW, CONTENT_LENGTH, CONTENT_TYPE, VARY},
};
use http_body::{Body, Frame, SizeHint};
use tower_service::Service;

use crate::{
    Registry,
    negotiation::prefers_open_metrics,
    text_writer::{TextFormat, TextWriter},
};

/// Serves the metrics of a [`Registry`] to Prometheus; returned by [`Registry::service`].
///
/// It answers `GET` and `HEAD` requests on any path. The format is [OpenMetrics 1.0.0][open-metrics] with exemplars if the
/// [`Accept`](ACCEPT) header prefers it, as that of Prometheus does, and otherwise the Prometheus [text format 0.0.4][text-format]. Other
/// methods get [`405 Method Not Allowed`](StatusCode::METHOD_NOT_ALLOWED).
///
/// The text is written on demand in pieces of about 32 KiB, so a scrape of any size occupies a thread only for one piece at a time, and no
/// more memory than one piece. The request fixes the list of series; the value of each is read when it is written. The counts of one
/// histogram agree with each other, while the values of two series may be some milliseconds apart.
///
/// [open-metrics]: https://github.com/prometheus/OpenMetrics/blob/main/specification/OpenMetrics.md
/// [text-format]: https://prometheus.io/docs/instrumenting/exposition_formats/
#[derive(Debug, Clone)]
pub struct ScrapeService(Registry);

impl Registry {
    /// Creates a service that shows this registry to Prometheus.
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use towerkit_http::HttpExt;
    /// use towerkit_metrics::{MetricsLayer, Registry};
    ///
    /// let app: Router = Router::new()
    ///     .route("/hello/{name}", get(|| async { "hello" }))
    ///     .layer(MetricsLayer::new().axum())
    ///     .route_service("/metrics", Registry::global().service());
    /// ```
    #[must_use]
    pub fn service(&self) -> ScrapeService {
        ScrapeService(self.clone())
    }
}

impl<B> Service<Request<B>> for ScrapeService {
    type Response = Response<ScrapeBody>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let accept = request.headers().get_all(ACCEPT).into_iter();
        let mut accept = accept.filter_map(|value| value.to_str().ok());
        let format = if prefers_open_metrics(&mut accept) {
            TextFormat::OpenMetrics
        } else {
            TextFormat::Prometheus
        };
        ready(Ok(match *request.method() {
            Method::GET => respond(ScrapeBody::new(self.0.text_writer(format)), format),
            Method::HEAD => {
                without_body(respond(ScrapeBody::new(self.0.text_writer(format)), format))
            }
            _ => not_allowed(),
        }))
    }
}

/// The [`Body`] of a [`ScrapeService`], written piece by piece as it is read.
#[derive(Debug, Default)]
pub struct ScrapeBody {
    /// The next piece; empty only at the end.
    piece: String,
    /// The writer of the remaining pieces.
    rest: Option<TextWriter>,
    /// True for the response to a `HEAD`, whose length is that of another response.
    is_head: bool,
}

impl ScrapeBody {
    /// The size of a piece, which ends with the series that exceeds it.
    const PIECE: usize = 32 * 1024;

    fn new(text: TextWriter) -> Self {
        let mut body = Self {
            piece: String::new(),
            rest: Some(text),
            is_head: false,
        };
        body.advance();
        body
    }

    /// Writes the next piece.
    fn advance(&mut self) {
        if let Some(text) = &mut self.rest {
            self.piece.reserve(Self::PIECE);
            if !text.write(&mut self.piece, Self::PIECE) {
                self.rest = None;
            }
        }
    }
}

impl Body for ScrapeBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.piece.is_empty() {
            self.advance();
        }
        let piece = mem::take(&mut self.piece);
        Poll::Ready((!piece.is_empty()).then(|| Ok(Frame::data(piece.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.rest.is_none()
    }

    /// Returns an exact size once everything is written, which a short text is from the start.
    fn size_hint(&self) -> SizeHint {
        let written = self.piece.len() as u64;
        let mut hint = SizeHint::with_exact(written);
        if self.rest.is_some() || self.is_head {
            hint = SizeHint::new();
            hint.set_lower(written);
        }
        hint
    }
}

const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

fn respond(metrics: ScrapeBody, format: TextFormat) -> Response<ScrapeBody> {
    let mut response = Response::new(metrics);
    let headers = response.headers_mut();
    let content_type = match format {
        TextFormat::Prometheus => TEXT,
        TextFormat::OpenMetrics => OPEN_METRICS,
    };
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(VARY, ACCEPT.into());
    response
}

/// Returns the response to a `HEAD`: without a body, which would be a stream error over HTTP/2, but with the length if it is known.
fn without_body(mut response: Response<ScrapeBody>) -> Response<ScrapeBody> {
    let head = ScrapeBody {
        is_head: true,
        ..ScrapeBody::default()
    };
    let body = mem::replace(response.body_mut(), head);
    if let Some(length) = body.size_hint().exact() {
        let length = HeaderValue::from(length);
        response.headers_mut().insert(CONTENT_LENGTH, length);
    }
    response
}

fn not_allowed() -> Response<ScrapeBody> {
    let mut response = Response::new(ScrapeBody::default());
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    let methods = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(ALLOW, methods);
    response
}
