use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use tokio::sync::watch;
use tower_service::Service;
use towerkit_http::Problem;

/// Whether the process is alive and ready for calls. Clones share one state.
///
/// A [`Server`](crate::Server) with this health makes it ready once its listeners accept, and not ready before it stops accepting.
/// [`service`](Self::service) answers the probes of orchestrators and load balancers.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// use towerkit_server::{Health, Server};
///
/// let health = Health::new();
/// assert!(health.is_live() && !health.is_ready());
/// let server = Server::new().health(health.clone());
///
/// let check = health.clone();
/// server.run(async move { assert!(check.is_ready()) }).await;
/// assert!(!health.is_ready());
/// # });
/// ```
#[derive(Debug, Clone)]
pub struct Health(Arc<watch::Sender<State>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    live: bool,
    /// The answer of the application.
    ready: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Starting,
    Serving,
    Stopping,
}

impl State {
    pub(crate) fn is_ready(self) -> bool {
        self.ready && self.stage == Stage::Serving
    }

    #[cfg(feature = "grpc-health")]
    pub(crate) fn is_stopping(self) -> bool {
        self.stage == Stage::Stopping
    }
}

impl Health {
    /// Makes a health that is live, and ready once a server serves with it.
    #[must_use]
    pub fn new() -> Self {
        let state = State {
            live: true,
            ready: true,
            stage: Stage::Starting,
        };
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// Returns true unless the process should be restarted.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.state().live
    }

    /// Returns true if new calls should be sent to this process.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state().is_ready()
    }

    /// Sets whether the process is alive; it is by default.
    pub fn set_live(&self, live: bool) {
        self.0.send_modify(|state| state.live = live);
    }

    /// Sets whether the application takes calls; it does by default.
    ///
    /// [`is_ready`](Self::is_ready) also needs a server that accepts connections.
    pub fn set_ready(&self, ready: bool) {
        self.0.send_modify(|state| state.ready = ready);
    }

    /// Waits until the server begins to drain; handlers of event streams end their streams then.
    pub async fn stopping(&self) {
        let mut states = self.0.subscribe();
        // The sender lives in `self`.
        let _ = states
            .wait_for(|state| state.stage == Stage::Stopping)
            .await;
    }

    /// Returns a service that answers `GET` and `HEAD` of `/livez` and `/readyz` with 200 or 503.
    ///
    /// Serve it on an admin port, or route the two paths to it:
    ///
    /// ```
    /// use axum::{Router, routing::get};
    /// use towerkit_server::Health;
    ///
    /// let health = Health::new();
    /// let app: Router = Router::new()
    ///     .route("/", get(async || "hello"))
    ///     .route_service("/livez", health.service())
    ///     .route_service("/readyz", health.service());
    /// ```
    #[must_use]
    pub fn service(&self) -> HealthService {
        HealthService(self.clone())
    }

    pub(crate) fn set_serving(&self) {
        self.0.send_modify(|state| state.stage = Stage::Serving);
    }

    pub(crate) fn set_stopping(&self) {
        self.0.send_modify(|state| state.stage = Stage::Stopping);
    }

    pub(crate) fn state(&self) -> State {
        *self.0.borrow()
    }

    #[cfg(feature = "grpc-health")]
    pub(crate) fn subscribe(&self) -> watch::Receiver<State> {
        self.0.subscribe()
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::new()
    }
}

/// Answers liveness and readiness probes over HTTP; made by [`Health::service`].
#[derive(Debug, Clone)]
pub struct HealthService(Health);

impl HealthService {
    fn respond<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let is_well = match request.uri().path() {
            "/livez" => self.0.is_live(),
            "/readyz" => self.0.is_ready(),
            _ => return Problem::new(StatusCode::NOT_FOUND).respond_to(request.method()),
        };
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut response = Problem::new(StatusCode::METHOD_NOT_ALLOWED).respond();
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allowed);
            return response;
        }
        let mut response = if is_well {
            // hyper sends no body in response to a HEAD.
            Response::new(Full::from("ok\n"))
        } else {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE).respond_to(request.method())
        };
        let no_store = HeaderValue::from_static("no-store");
        response
            .headers_mut()
            .insert(header::CACHE_CONTROL, no_store);
        response
    }
}

impl<B> Service<Request<B>> for HealthService {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Full<Bytes>>, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ready(Ok(self.respond(&request)))
    }
}
