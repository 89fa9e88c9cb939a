//! A hyper server, before and after one layer of towerkit.
//!
//! It asks a warehouse that is down. As it was, every call bothers the warehouse; with a circuit breaker only the first three do.
//!
//! ```text
//! cargo run -p hyper-app
//! for i in $(seq 5); do curl -i http://127.0.0.1:3001/; done
//! ```
//!
//! `cargo run -p hyper-app -- --before` serves the application as it was.

use std::{
    convert::Infallible,
    env, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Body, Bytes, Incoming};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
    service::TowerToHyperService,
};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, service_fn};
use towerkit_circuitbreaker::{CircuitBreakerLayer, OpenWhen};
use towerkit_core::BoxError;
use towerkit_http::HttpExt;

/// Serves the application as it was.
async fn serve(listener: TcpListener, warehouse: Arc<Warehouse>) -> io::Result<()> {
    let app = service_fn(move |_| stock(warehouse.clone()));
    accept(listener, app).await
}

/// Serves the application with a circuit breaker: while it is open, 503 and `Retry-After`, and the warehouse is left in peace.
async fn serve_protected(
    listener: TcpListener,
    warehouse: Arc<Warehouse>,
    open_when: OpenWhen,
) -> io::Result<()> {
    let app = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::new().open_when(open_when).http())
        .service_fn(move |_| stock(warehouse.clone()));
    accept(listener, app).await
}

async fn stock(warehouse: Arc<Warehouse>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, body) = match warehouse.count() {
        Some(count) => (StatusCode::OK, format!("{count} in stock")),
        None => (StatusCode::BAD_GATEWAY, "the warehouse is down".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    Ok(response)
}

/// A warehouse that is down.
#[derive(Default)]
struct Warehouse {
    asked: AtomicU32,
}

impl Warehouse {
    fn count(&self) -> Option<u32> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// hyper's accept loop.
async fn accept<S, B>(listener: TcpListener, app: S) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    loop {
        let (stream, _) = listener.accept().await?;
        let app = TowerToHyperService::new(app.clone());
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            let served = connection.serve_connection(TokioIo::new(stream), app).await;
            if let Err(error) = served {
                eprintln!("connection: {error}");
            }
        });
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let open_when = OpenWhen::consecutive_failures(3)?;
    let listener = TcpListener::bind("127.0.0.1:3001").await?;
    println!("listening on http://{}", listener.local_addr()?);
    match env::args().nth(1).as_deref() {
        Some("--before") => serve(listener, Arc::default()).await?,
        _ => serve_protected(listener, Arc::default(), open_when).await?,
    }
    Ok(())
}

#[cfg(test)]
mod tests;
