//! A client with a timeout for each attempt, and up to three attempts of idempotent requests.
//!
//! ```toml
//! bytes = "1"
//! http = "1"
//! http-body-util = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! tower = { version = "0.5", features = ["util"] }
//! towerkit = { git = "URL of this repository", features = ["client", "retry", "timeout"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin timeout-and-retry-client -- http://127.0.0.1:3000/   # like: curl --retry 2 URL
//! ```

use std::{env, time::Duration};

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt};
use towerkit::{
    core::BoxError,
    http::HttpExt,
    retry::{RetryLayer, RetryReport},
    timeout::TimeoutLayer,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = env::args().nth(1).ok_or("usage: URL")?;
    // The retry is outside, so that the timeout limits each attempt.
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new().http_client())
        .layer(TimeoutLayer::new(Duration::from_secs(1))?.http_client())
        .service(towerkit::http::client());
    let request = Request::get(url).body(Full::<Bytes>::default())?;
    let response = client.oneshot(request).await?;
    let report = response.extensions().get::<RetryReport>();
    let failed = report.map_or(0, |report| report.failed_attempts().len());
    println!("{} after {failed} failed attempts", response.status());
    Ok(())
}
