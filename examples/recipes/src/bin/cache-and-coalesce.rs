//! Computes an expensive response once: concurrent requests share one call, later ones get the stored response for a minute.
//!
//! ```toml
//! axum = "0.8"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "time"] }
//! tower = "0.5"
//! towerkit = { git = "URL of this repository", features = ["axum", "cache", "coalesce"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin cache-and-coalesce
//! for i in 1 2 3; do curl http://127.0.0.1:3000/report; done   # "report 1" three times, the first after a second
//! ```

use std::{
    env,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use axum::{Router, body::Body, routing::get};
use tokio::{net::TcpListener, time::sleep};
use tower::ServiceBuilder;
use towerkit::{
    cache::{CacheLayer, Capacity, Lifetime},
    coalesce::CoalesceLayer,
    core::BoxError,
    http::{HttpExt, RequestKey},
};

async fn report() -> String {
    static COMPUTED: AtomicU32 = AtomicU32::new(0);
    sleep(Duration::from_secs(1)).await;
    format!("report {}\n", COMPUTED.fetch_add(1, Ordering::Relaxed) + 1)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let lifetime = Lifetime::new(Duration::from_secs(60))?;
    let capacity = Capacity::bytes(10_000_000)?;
    // The cache is outside, so that only requests without a stored response are coalesced.
    let layers = ServiceBuilder::new()
        .layer(CacheLayer::new(lifetime, capacity, RequestKey::of::<Body>).http())
        .layer(CoalesceLayer::new(RequestKey::of::<Body>).http());
    let app = Router::new().route("/report", get(report)).layer(layers);
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
