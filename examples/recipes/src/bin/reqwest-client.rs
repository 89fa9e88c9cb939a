//! Layers around a reqwest client: retry and timeout.
//!
//! ```toml
//! http = "1"
//! reqwest = "0.13"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! tower = { version = "0.5", features = ["util"] }
//! towerkit = { git = "URL of this repository", features = ["client", "reqwest", "retry", "timeout"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin reqwest-client -- http://127.0.0.1:3000/   # like: curl --retry 2 URL
//! ```

use std::{env, time::Duration};

use http::Request;
use tower::{ServiceBuilder, ServiceExt};
use towerkit::{
    core::BoxError,
    http::{HttpExt, Reqwest},
    retry::RetryLayer,
    timeout::TimeoutLayer,
};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let url = env::args().nth(1).ok_or("usage: URL")?;
    let client = ServiceBuilder::new()
        .layer(RetryLayer::new().http_client())
        .layer(TimeoutLayer::new(Duration::from_secs(1))?.http_client())
        .service(Reqwest(reqwest::Client::new()));
    let request = Request::get(url).body(reqwest::Body::default())?;
    println!("{}", client.oneshot(request).await?.status());
    Ok(())
}
