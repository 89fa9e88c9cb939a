use std::{
    collections::BTreeSet,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{
    Stream, StreamExt,
    stream::{BoxStream, unfold},
};
use tokio::sync::watch;
use tonic::{Request, Response, Status, async_trait};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_server::{Health as HealthRpc, HealthServer},
};

use crate::health::{Health, State};

impl Health {
    /// Returns the [health service of gRPC] for the whole server and for these services, such as `pb.Add`.
    ///
    /// All have the status `SERVING` while the server [is ready](Self::is_ready), and `NOT_SERVING` otherwise. Streams of `Watch` end
    /// when the server drains. Add the service to the routes of tonic or axum:
    ///
    /// ```
    /// use axum::Router;
    /// use towerkit_server::Health;
    ///
    /// let health = Health::new();
    /// let grpc = health.grpc_service(["pb.Add"]);
    /// let app: Router = Router::new().route_service("/grpc.health.v1.Health/{*method}", grpc);
    /// ```
    ///
    /// [health service of gRPC]: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
    #[must_use]
    pub fn grpc_service<N: Into<String>>(
        &self,
        services: impl IntoIterator<Item = N>,
    ) -> HealthServer<GrpcHealth> {
        HealthServer::new(GrpcHealth {
            health: self.clone(),
            services: services.into_iter().map(Into::into).collect(),
        })
    }
}

/// Answers `grpc.health.v1.Health`; made by [`Health::grpc_service`].
#[derive(Debug, Clone)]
pub struct GrpcHealth {
    health: Health,
    services: BTreeSet<String>,
}

impl GrpcHealth {
    /// Returns true for a registered service; the empty name is the whole server.
    fn has(&self, service: &str) -> bool {
        service.is_empty() || self.services.contains(service)
    }
}

#[async_trait]
impl HealthRpc for GrpcHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        if !self.has(&request.get_ref().service) {
            return Err(Status::not_found("the service is not registered"));
        }
        Ok(Response::new(response(status(self.health.state()))))
    }

    type WatchStream = GrpcHealthStream;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<GrpcHealthStream>, Status> {
        let watch = Watch {
            states: self.health.subscribe(),
            is_known: self.has(&request.get_ref().service),
            sent: None,
        };
        let statuses = unfold(watch, |mut watch| async move {
            let status = watch.next().await?;
            Some((Ok(response(status)), watch))
        });
        Ok(Response::new(GrpcHealthStream(statuses.boxed())))
    }
}

/// One call of `Watch`.
struct Watch {
    states: watch::Receiver<State>,
    is_known: bool,
    sent: Option<ServingStatus>,
}

impl Watch {
    /// Waits for another status than the last. There is no further status once the server stops.
    async fn next(&mut self) -> Option<ServingStatus> {
        loop {
            let state = *self.states.borrow_and_update();
            let status = match self.is_known {
                true => status(state),
                // The specification keeps the stream open, for services that are registered later.
                false => ServingStatus::ServiceUnknown,
            };
            if self.sent.replace(status) != Some(status) {
                return Some(status);
            }
            if state.is_stopping() {
                return None;
            }
            self.states.changed().await.ok()?;
        }
    }
}

fn status(state: State) -> ServingStatus {
    match state.is_ready() {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse {
        status: status.into(),
    }
}

/// The statuses of a call of `Watch`.
pub struct GrpcHealthStream(BoxStream<'static, Result<HealthCheckResponse, Status>>);

impl Stream for GrpcHealthStream {
    type Item = Result<HealthCheckResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for GrpcHealthStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcHealthStream").finish_non_exhaustive()
    }
}
