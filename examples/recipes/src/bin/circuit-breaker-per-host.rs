//! A client with a circuit breaker for each upstream host: one that fails does not affect calls to the others.
//!
//! ```toml
//! bytes = "1"
//! http = "1"
//! http-body-util = "0.1"
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! tower = { version = "0.5", features = ["util"] }
//! towerkit = { git = "URL of this repository", features = ["circuitbreaker", "client"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin circuit-breaker-per-host -- http://127.0.0.1:1/ http://127.0.0.1:3000/   # like: curl URL URL
//! ```

use std::env;

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tower::{Service, ServiceBuilder, ServiceExt};
use towerkit::{
    circuitbreaker::{ByText, KeyedCircuitBreakerLayer, OpenWhen},
    core::{BoxError, Call},
    http::HttpExt,
};

type Get = Request<Full<Bytes>>;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let by_host = ByText::new(|call: &Call<'_, Get>| {
        call.request
            .uri()
            .authority()
            .map(http::uri::Authority::as_str)
    });
    let breakers = KeyedCircuitBreakerLayer::new(1_000, by_host)?
        .open_when(OpenWhen::consecutive_failures(2)?)
        .http_client();
    let mut client = ServiceBuilder::new()
        .layer(breakers)
        .service(towerkit::http::client());
    // The third call to a failing host gets 503 from its breaker, without a connection.
    for url in env::args().skip(1) {
        for _ in 0..3 {
            let request = Request::get(&url).body(Full::default())?;
            match client.ready().await?.call(request).await {
                Ok(response) => println!("{url} {}", response.status().as_u16()),
                Err(error) => println!("{url} {error}"),
            }
        }
    }
    Ok(())
}
