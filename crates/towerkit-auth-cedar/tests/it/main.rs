//! Authorization by Cedar as a caller sees it, in the order of the documentation.

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_auth::{AuthError, AuthLayer, BearerAuth, Principal, Proof};
use towerkit_auth_cedar::{CedarAuthorizer, CedarPolicy};
use towerkit_core::LayerExt;
use towerkit_http::Http;

mod decisions;
mod failures;
mod folder;
mod reloads;

use folder::Folder;

fn authorizer(policy: &str) -> CedarAuthorizer {
    let policy = CedarPolicy::parse(policy).unwrap();
    CedarAuthorizer::new(policy, |call| call.method(), |call| call.path())
}

/// Admits each caller by a bearer token of the form `subject+role+role~scope~scope`.
fn layer(authorizer: CedarAuthorizer) -> AuthLayer {
    let named = |token: &str| {
        let mut parts = token.split('~');
        let mut names = parts.next().unwrap().split('+');
        let caller = Principal::new(names.next().unwrap(), Proof::BearerToken);
        Ok(caller.with_roles(names).with_scopes(parts))
    };
    AuthLayer::new(BearerAuth::new("test", named).unwrap()).authorize(authorizer)
}

async fn send(layer: &AuthLayer, token: &str, method: &str, path: &str) -> StatusCode {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {token}"))
        .body(())
        .unwrap();
    let ok = service_fn(async |_: Request<()>| Ok::<_, AuthError>(Response::new(String::new())));
    let service = layer.clone().protocol(Http::new()).layer(ok);
    service.oneshot(request).await.unwrap().status()
}
