//! A guard of your own: rejects all calls during maintenance, which `POST /maintenance` starts and ends.
//!
//! ```toml
//! axum = "0.8"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }
//! towerkit = { git = "URL of this repository", features = ["axum"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin custom-guard
//! curl -X POST http://127.0.0.1:3000/maintenance
//! curl -i http://127.0.0.1:3000/   # 503 with problem details and Retry-After: 60
//! ```

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    routing::{get, post},
};
use tokio::net::TcpListener;
use towerkit::{
    core::{BoxError, Call, CallEnd, Guard, Policy, Rejection, RejectionReason, guard},
    http::HttpExt,
};

/// Rejects calls while the flag is set.
struct Maintenance(Arc<AtomicBool>);

impl Policy for Maintenance {
    type CallState = ();
    const NEEDS_END: bool = false;

    fn finish(&self, _state: (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for Maintenance {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        if !self.0.load(Ordering::Relaxed) {
            return Ok(());
        }
        let rejection = Rejection::new(RejectionReason::Unavailable, "maintenance");
        Err(rejection.with_retry_after(Duration::from_secs(60)))
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let flag = Arc::new(AtomicBool::new(false));
    let layer = guard(Maintenance(flag.clone())).axum();
    let toggle = async move || {
        flag.fetch_not(Ordering::Relaxed);
    };
    let app = Router::new()
        .route("/", get(async || "hello\n"))
        .layer(layer)
        .route("/maintenance", post(toggle));
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    Ok(axum::serve(listener, app).await?)
}
