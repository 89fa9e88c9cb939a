use std::time::Duration;

use axum::{
    Router,
    http::StatusCode,
    routing::{get, get_service},
};
use tokio::{net::TcpListener, time::sleep};
use towerkit::{
    concurrency::ConcurrencyLimitLayer,
    core::{BoxError, LayerExt, OperationSet, stack},
    http::HttpExt,
    metrics::{MetricsLayer, Registry},
};

use crate::Serve;

/// Serves `/work` within the limit, and `/healthz` and `/metrics` whatever the load.
///
/// # Errors
///
/// If the address cannot be listened on, or the limit makes no sense.
pub async fn serve(args: &Serve) -> Result<(), BoxError> {
    let app = app(args)?;
    let listener = TcpListener::bind(args.addr).await?;
    println!("listening on {}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

pub(crate) fn app(args: &Serve) -> Result<Router, BoxError> {
    let registry = Registry::new();
    // One policy stack for all routes, whose limit looks after one of them.
    let policies = stack((
        MetricsLayer::new().registry(registry.clone()),
        ConcurrencyLimitLayer::new(args.slots)?.only(OperationSet::exact("/work")),
    ));
    let work = args.work;
    Ok(Router::new()
        .route("/work", get(move || done(work)))
        .route("/healthz", get(async || "ok\n"))
        .route("/metrics", get_service(registry.service()))
        .layer(policies.axum()))
}

/// Work that takes its time and nothing of the processor's.
async fn done(time: Duration) -> StatusCode {
    sleep(time).await;
    StatusCode::OK
}
