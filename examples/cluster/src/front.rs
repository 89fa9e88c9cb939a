use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::Body,
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, ServiceExt};
use towerkit::{
    balance::{BalanceLayer, OutlierEjection, P2c},
    circuitbreaker::CircuitBreakerLayer,
    core::BoxError,
    discovery::{Discovery, InstanceService},
    http::{HttpExt, OriginLayer, client},
    retry::RetryLayer,
    timeout::TimeoutLayer,
};

/// How long an instance that has failed gets no calls; a second, so that the demo shows it come back.
const EJECTION: Duration = Duration::from_secs(1);

/// Serves `GET /` on a free port: each call becomes a call of one of the instances.
///
/// # Errors
///
/// If no port is free.
pub(crate) async fn front(discovery: &Discovery) -> Result<SocketAddr, BoxError> {
    let timeout = TimeoutLayer::new(Duration::from_secs(1))?;
    let http = client::<Body>();
    let endpoints = discovery.endpoints(move |instance| {
        let origin =
            OriginLayer::new(instance.address.to_string()).expect("an address is an origin");
        let service = ServiceBuilder::new()
            .layer(timeout.clone().http_client())
            .layer(origin)
            .service(http.clone());
        let breaker = CircuitBreakerLayer::new().open_for(EJECTION);
        InstanceService::new(service).guards(breaker.expect("a second is valid"))
    });
    let ejection = OutlierEjection::new().time(EJECTION, EJECTION)?;
    let balance = BalanceLayer::new(P2c::new()).outlier_ejection(ejection);
    let upstream = ServiceBuilder::new()
        .layer(RetryLayer::new().http_client())
        .layer(balance.http_client())
        .service(endpoints);
    let respond = async move || -> Response {
        let request = Request::get("/").body(Body::empty());
        let request = request.expect("the request is valid");
        match upstream.oneshot(request).await {
            Ok(response) => response.map(Body::new),
            Err(_) => StatusCode::BAD_GATEWAY.into_response(),
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let app = Router::new().route("/", get(respond));
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(address)
}
