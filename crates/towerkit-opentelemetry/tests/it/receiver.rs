//! Receivers of telemetry, on sockets and runtimes of their own.
#![allow(dead_code, reason = "each feature, and each binary, uses some of it")]

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, extract::Request};
use http::{StatusCode, header};
use http_body_util::BodyExt;
use opentelemetry_proto::tonic::collector::{
    metrics::v1::{
        ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse,
        metrics_service_server::{MetricsService, MetricsServiceServer},
    },
    trace::v1::{
        ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
};
use tonic::{Response, Status, transport::server::TcpIncoming};

/// The received requests, and the runtime of the receiver. A drop closes the receiver and all its connections.
pub(crate) struct Receiver<T> {
    pub(crate) address: SocketAddr,
    received: Received<T>,
    runtime: Option<Runtime>,
}

type Received<T> = Arc<Mutex<Vec<T>>>;

/// A posted request: the path, the content type and the body.
pub(crate) type Post = (String, String, Bytes);

impl<T: Send + 'static> Receiver<T> {
    fn start<F>(address: SocketAddr, serve: impl FnOnce(TcpListener, Received<T>) -> F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let received = Received::default();
        let listener = {
            let _inside = runtime.enter();
            let listener = std::net::TcpListener::bind(address).unwrap();
            listener.set_nonblocking(true).unwrap();
            TcpListener::from_std(listener).unwrap()
        };
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, received.clone()));
        Self {
            address,
            received,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn received(&self) -> MutexGuard<'_, Vec<T>> {
        self.received.lock().unwrap()
    }

    /// Stops to receive; where it did.
    pub(crate) fn kill(mut self) -> SocketAddr {
        self.runtime.take().unwrap().shutdown_background();
        self.address
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

pub(crate) fn anywhere() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

/// Receives posts and answers them with this status.
pub(crate) fn posts(address: SocketAddr, status: StatusCode) -> Receiver<Post> {
    answers(address, status, Bytes::new())
}

/// Receives posts and answers them with this status and this body.
pub(crate) fn answers(address: SocketAddr, status: StatusCode, answer: Bytes) -> Receiver<Post> {
    Receiver::start(address, move |listener, received| {
        let take = async move |request: Request| {
            let path = request.uri().path().to_owned();
            let kind = request.headers()[header::CONTENT_TYPE].to_str().unwrap();
            let kind = kind.to_owned();
            let body = request.into_body().collect().await.unwrap().to_bytes();
            received.lock().unwrap().push((path, kind, body));
            (status, answer)
        };
        async move {
            axum::serve(listener, Router::new().fallback(take))
                .await
                .unwrap();
        }
    })
}

/// Receives spans by OTLP over gRPC.
pub(crate) fn grpc_spans(address: SocketAddr) -> Receiver<ExportTraceServiceRequest> {
    grpc_spans_but(address, 0)
}

/// Receives spans by OTLP over gRPC, and says each time that it rejects so many.
pub(crate) fn grpc_spans_but(
    address: SocketAddr,
    rejects: i64,
) -> Receiver<ExportTraceServiceRequest> {
    Receiver::start(address, move |listener, received| async move {
        tonic::transport::Server::builder()
            .add_service(TraceServiceServer::new(Take { received, rejects }))
            .serve_with_incoming(TcpIncoming::from(listener))
            .await
            .unwrap();
    })
}

/// Receives metrics by OTLP over gRPC.
pub(crate) fn grpc_metrics(address: SocketAddr) -> Receiver<ExportMetricsServiceRequest> {
    grpc_metrics_but(address, 0)
}

/// Receives metrics by OTLP over gRPC, and says each time that it rejects so many points.
pub(crate) fn grpc_metrics_but(
    address: SocketAddr,
    rejects: i64,
) -> Receiver<ExportMetricsServiceRequest> {
    Receiver::start(address, move |listener, received| async move {
        tonic::transport::Server::builder()
            .add_service(MetricsServiceServer::new(Take { received, rejects }))
            .serve_with_incoming(TcpIncoming::from(listener))
            .await
            .unwrap();
    })
}

struct Take<T> {
    received: Received<T>,
    rejects: i64,
}

/// The answer of a receiver that rejects so many spans.
pub(crate) fn spans_but(rejects: i64) -> ExportTraceServiceResponse {
    ExportTraceServiceResponse {
        partial_success: (rejects > 0).then(|| ExportTracePartialSuccess {
            rejected_spans: rejects,
            error_message: "too old".to_owned(),
        }),
    }
}

/// The answer of a receiver that rejects so many points.
pub(crate) fn metrics_but(rejects: i64) -> ExportMetricsServiceResponse {
    ExportMetricsServiceResponse {
        partial_success: (rejects > 0).then(|| ExportMetricsPartialSuccess {
            rejected_data_points: rejects,
            error_message: "too old".to_owned(),
        }),
    }
}

#[tonic::async_trait]
impl TraceService for Take<ExportTraceServiceRequest> {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.received.lock().unwrap().push(request.into_inner());
        Ok(Response::new(spans_but(self.rejects)))
    }
}

#[tonic::async_trait]
impl MetricsService for Take<ExportMetricsServiceRequest> {
    async fn export(
        &self,
        request: tonic::Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.received.lock().unwrap().push(request.into_inner());
        Ok(Response::new(metrics_but(self.rejects)))
    }
}

/// Waits until a condition holds, for at most two minutes.
pub(crate) fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(
            start.elapsed() < Duration::from_secs(120),
            "not in time: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
