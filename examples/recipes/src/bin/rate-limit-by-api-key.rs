//! Gives each API key its own rate limit: 2 requests at once, and one more each minute.
//!
//! ```toml
//! axum = "0.8"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }
//! towerkit = { git = "URL of this repository", features = ["axum", "ratelimit"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin rate-limit-by-api-key
//! for i in 1 2 3; do curl -i -H 'x-api-key: ann' http://127.0.0.1:3000/; done   # the third gets 429
//! curl -i -H 'x-api-key: bob' http://127.0.0.1:3000/                            # another key gets 200
//! ```

use std::{env, time::Duration};

use axum::{Router, routing::get};
use tokio::net::TcpListener;
use towerkit::{
    core::BoxError,
    http::HttpExt,
    ratelimit::{ByHeader, KeyedRateLimitLayer, Quota},
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let quota = Quota::new(1, Duration::from_secs(60))?.burst(2)?;
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(KeyedRateLimitLayer::new(quota, ByHeader::new("x-api-key")).axum());
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
