//! Stops on Ctrl-C or SIGTERM: takes no new connections, serves the requests in flight, and gives up after 10 seconds.
//!
//! ```toml
//! axum = "0.8"
//! tokio = { version = "1", features = ["macros", "net", "rt-multi-thread", "signal", "time"] }
//! towerkit = { git = "URL of this repository", features = ["axum", "concurrency"] }
//! ```
//!
//! ```sh
//! cargo run -p recipes --bin graceful-shutdown   # press Ctrl-C while the request runs: it is served
//! curl http://127.0.0.1:3000/
//! ```

use std::{env, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::oneshot,
    time::{sleep, timeout},
};
use towerkit::{concurrency::ConcurrencyLimitLayer, core::BoxError, http::HttpExt};

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let limit = ConcurrencyLimitLayer::new(100)?;
    let handle = limit.handle();
    let slow = async || {
        sleep(Duration::from_secs(1)).await;
        "done\n"
    };
    let app = Router::new().route("/", get(slow)).layer(limit.axum());

    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let address = env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:3000");
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        // Resolves when the sender is dropped.
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    println!("requests in flight: {}", handle.snapshot().in_flight);
    drop(stop);
    match timeout(Duration::from_secs(10), server).await {
        Ok(result) => result??,
        Err(_) => println!("cut off: {}", handle.snapshot().in_flight),
    }
    Ok(())
}
