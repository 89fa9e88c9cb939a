//! Authorization by Casbin as a caller sees it, in the order of the documentation.

use http::{Request, Response, StatusCode};
use tower::{Layer, ServiceExt, service_fn};
use towerkit_auth::{AuthError, AuthLayer, BearerAuth, Principal, Proof};
use towerkit_auth_casbin::{CasbinAuthorizer, CasbinPolicy};
use towerkit_core::LayerExt;
use towerkit_http::Http;

mod decisions;
mod failures;
mod folder;
mod reloads;

use folder::Folder;

const ROLES: &str = "
[request_definition]
r = sub, obj, act
[policy_definition]
p = sub, obj, act
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act
";

/// Returns a model without roles that has this matcher.
fn model(matcher: &str) -> String {
    format!(
        "[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act\n\
         [policy_effect]\ne = some(where (p.eft == allow))\n[matchers]\nm = {matcher}\n"
    )
}

fn authorizer(model: &str, policy: &str) -> CasbinAuthorizer {
    let policy = CasbinPolicy::parse(model, policy).unwrap();
    CasbinAuthorizer::new(policy, |call| call.path(), |call| call.method()).unwrap()
}

/// Admits each caller that names itself in its bearer token.
fn layer(authorizer: CasbinAuthorizer) -> AuthLayer {
    let named = |token: &str| Ok(Principal::new(token, Proof::BearerToken));
    AuthLayer::new(BearerAuth::new("test", named).unwrap()).authorize(authorizer)
}

async fn send(layer: &AuthLayer, subject: &str, method: &str, path: &str) -> StatusCode {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {subject}"))
        .body(())
        .unwrap();
    let ok = service_fn(async |_: Request<()>| Ok::<_, AuthError>(Response::new(String::new())));
    let service = layer.clone().protocol(Http::new()).layer(ok);
    service.oneshot(request).await.unwrap().status()
}
