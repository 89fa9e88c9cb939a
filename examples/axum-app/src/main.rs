//! An axum application, before and after one layer of towerkit.
//!
//! ```text
//! cargo run -p axum-app
//! for i in $(seq 9); do curl -i http://127.0.0.1:3000/hello/Ann; done
//! ```
//!
//! `cargo run -p axum-app -- --before` serves the application as it was.

use std::env;

use axum::{Router, extract::Path, routing::get};
use tokio::net::TcpListener;
use towerkit_core::BoxError;
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};

/// The application as it was.
fn app() -> Router {
    Router::new().route("/hello/{name}", get(hello))
}

/// The application with a rate limit: 429 and `Retry-After` for whoever comes too soon.
fn protected_app(quota: Quota) -> Router {
    app().layer(RateLimitLayer::new(quota).http())
}

async fn hello(Path(name): Path<String>) -> String {
    format!("hello, {name}")
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let quota = Quota::per_second(1)?.burst(5)?;
    let app = match env::args().nth(1).as_deref() {
        Some("--before") => app(),
        _ => protected_app(quota),
    };
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}

#[cfg(test)]
mod tests;
