//! Authenticates callers over HTTP and gRPC on one port, and admits them to operations by their roles.
//!
//! ```toml
//! axum = { version = "0.8", features = ["http2"] }
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }
//! tonic = { version = "0.14", features = ["router"] }
//! towerkit = { git = "URL of this repository", features = ["auth-basic", "axum"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin roles-by-operation
//! curl -i http://127.0.0.1:3000/healthz                                # public
//! curl -i http://127.0.0.1:3000/orders                                 # 401, with a challenge
//! curl -i -u 'ann:open sesame' http://127.0.0.1:3000/orders            # 200: ann is a clerk
//! curl -i -u 'ann:open sesame' -X DELETE http://127.0.0.1:3000/orders  # 403: only admins delete
//! grpcurl -plaintext -import-path examples/tonic-app/proto -proto greeter.proto \
//!     -H 'authorization: Basic YW5uOm9wZW4gc2VzYW1l' -d '{"name": "Ann"}' 127.0.0.1:3000 greeter.Greeter/Hello
//! ```

use std::env;

use axum::{Extension, routing::get};
use tokio::net::TcpListener;
use tonic::{Request, Response, Status, service::Routes};
use tonic_app::{
    HelloReply, HelloRequest,
    greeter_server::{Greeter, GreeterServer},
};
use towerkit::{
    auth::{AuthError, AuthLayer, BasicAuth, PasswordFile, Principal},
    core::{BoxError, CallView, OperationSet},
    http::HttpExt,
};

/// As `htpasswd -B` writes them, with a role each. Both passwords are `open sesame`.
const USERS: &str = "\
ann:$2y$04$TgmBEcadOYsBtrFY93.fD.2pgbe2ZGeFlx0aXqibjpW.lEd1bWOTm:clerk
bob:$2y$04$TgmBEcadOYsBtrFY93.fD.2pgbe2ZGeFlx0aXqibjpW.lEd1bWOTm:admin
";

/// Admits clerks to all but deletions, and admins to everything.
fn authorize(caller: &Principal, call: CallView<'_>) -> Result<(), AuthError> {
    match call.method() {
        _ if caller.has_role("admin") => Ok(()),
        Some("DELETE") => Err(AuthError::forbidden("only admins delete")),
        _ if caller.has_role("clerk") => Ok(()),
        _ => Err(AuthError::forbidden("the caller has no role")),
    }
}

struct Hello;

#[tonic::async_trait]
impl Greeter for Hello {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let caller = request.extensions().get::<Principal>();
        let caller = caller.ok_or_else(|| Status::internal("no principal"))?;
        let text = format!("hello, {}", caller.subject());
        Ok(Response::new(HelloReply { text }))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let users = PasswordFile::parse(USERS)?;
    let auth = AuthLayer::new(BasicAuth::new("orders", users)?)
        .public(OperationSet::exact("/healthz"))
        .authorize(authorize);
    let hello =
        async |Extension(caller): Extension<Principal>| format!("hello, {}\n", caller.subject());
    let app = Routes::new(GreeterServer::new(Hello))
        .into_axum_router()
        .route("/healthz", get(async || "ok\n"))
        .route("/orders", get(hello).delete(async || "deleted\n"))
        .layer(auth.axum());
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
