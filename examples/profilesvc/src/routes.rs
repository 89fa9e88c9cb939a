use std::time::Duration;

use axum::{
    Router,
    extract::Path,
    routing::{get, get_service, post_service},
};
use http::StatusCode;
use tower::ServiceBuilder;
use towerkit::{
    core::{ConfigError, stack},
    http::{HttpExt, Problem},
    log::LogLayer,
    metrics::{MetricsLayer, Registry},
    timeout::{DeadlineLayer, TimeoutLayer},
    trace::TraceLayer,
    transport_http::{Json, serve},
};

use crate::{
    Address, Endpoints, Profile,
    endpoints::{AddressId, ProfileId, WithId},
};

/// Routes HTTP to the endpoints.
pub fn routes(endpoints: Endpoints) -> Router {
    let with_profile = |Path(id): Path<String>, value: Profile| WithId { id, value };
    let with_address = |Path(id): Path<String>, value: Address| WithId { id, value };
    let profile_id = |Path(id): Path<String>, ()| ProfileId(id);
    let address_id =
        |Path((profile, address)): Path<(String, String)>, ()| AddressId { profile, address };

    let post_profile = serve("post_profile", Json, endpoints.post_profile);
    let get_profile = serve("get_profile", Json, endpoints.get_profile).extract(profile_id);
    let put_profile = serve("put_profile", Json, endpoints.put_profile).extract(with_profile);
    let patch_profile = serve("patch_profile", Json, endpoints.patch_profile).extract(with_profile);
    let delete_profile =
        serve("delete_profile", Json, endpoints.delete_profile).extract(profile_id);
    let get_addresses = serve("get_addresses", Json, endpoints.get_addresses).extract(profile_id);
    let post_address = serve("post_address", Json, endpoints.post_address).extract(with_address);
    let get_address = serve("get_address", Json, endpoints.get_address).extract(address_id);
    let delete_address =
        serve("delete_address", Json, endpoints.delete_address).extract(address_id);

    Router::new()
        .route("/profiles/", post_service(post_profile))
        .route(
            "/profiles/{id}",
            get_service(get_profile)
                .put_service(put_profile)
                .patch_service(patch_profile)
                .delete_service(delete_profile),
        )
        .route(
            "/profiles/{id}/addresses/",
            get_service(get_addresses).post_service(post_address),
        )
        .route(
            "/profiles/{id}/addresses/{address}",
            get_service(get_address).delete_service(delete_address),
        )
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED))
        .fallback(async || problem(StatusCode::NOT_FOUND))
}

/// Puts the layers that see every call around the routes, and adds `/metrics` beside them.
///
/// # Errors
///
/// Returns a [`ConfigError`] if `timeout` is zero or longer than 365 days.
pub fn app(routes: Router, registry: &Registry, timeout: Duration) -> Result<Router, ConfigError> {
    let policies = stack((
        TraceLayer::server(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
        DeadlineLayer::new(timeout)?,
    ));
    let layers = ServiceBuilder::new()
        .layer(policies.axum())
        .layer(TimeoutLayer::new(timeout)?.http());
    let operator = Router::new()
        .route("/metrics", get_service(registry.service()))
        .route("/healthz", get("ok\n"));
    Ok(routes.layer(layers).merge(operator))
}

fn problem(status: StatusCode) -> axum::response::Response {
    Problem::new(status).respond()
}
