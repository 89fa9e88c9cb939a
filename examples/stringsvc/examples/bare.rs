//! The routes of the string service with nothing around them: what the benchmarks compare it with.
//!
//! axum serves them or, with the argument `towerkit`, `towerkit-server` does, with all its limits.

use std::{env, future::pending, io, sync::Arc};

use stringsvc::Strings;
use tokio::net::TcpListener;
use towerkit::server::Server;

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on {}", listener.local_addr()?);
    let routes = stringsvc::routes(Arc::new(Strings));
    if env::args().any(|argument| argument == "towerkit") {
        Server::new().serve(listener, routes, pending()).await;
        return Ok(());
    }
    axum::serve(listener, routes).await
}
