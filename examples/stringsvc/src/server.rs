use std::{
    io::{self, Write},
    net::SocketAddr,
    time::Duration,
};

use axum::Router;
use tokio::net::TcpListener;
use towerkit::{
    core::{BoxError, ConfigError},
    discovery::{Instance, Registration},
    log::EventLog,
    server::Server,
};

use crate::Args;

/// The time that callers have to learn from the registry that the instance is gone, before it stops to serve.
const PROPAGATION: Duration = Duration::from_secs(1);

/// Makes the server.
///
/// # Errors
///
/// Returns a [`ConfigError`] if the time to drain is zero or more than 365 days.
pub fn server(args: &Args) -> Result<Server, ConfigError> {
    let server = Server::new().name("stringsvc").events(EventLog::new());
    server.drain_timeout(args.drain)
}

/// Serves `app` until SIGTERM or SIGINT, then lets the calls in flight end.
///
/// A second signal, or the end of the time to drain, cuts off the remaining calls.
///
/// # Errors
///
/// Returns an error if the address cannot be listened on.
pub async fn serve(server: Server, app: Router, args: &Args) -> Result<(), BoxError> {
    let listener = listen(&args.addr).await?;
    let address = listener.local_addr()?;
    let server = match register(address, args)? {
        Some(registration) => server
            .shutdown_delay(PROPAGATION)
            .on_stop(async move { registration.stop(PROPAGATION).await }),
        None => server,
    };
    let running = server.listen(listener, app).run_until_signal()?;
    announce(address);
    running.await;
    Ok(())
}

/// Registers the instance that listens on this address, if the flags name a registry.
fn register(address: SocketAddr, args: &Args) -> Result<Option<Registration>, BoxError> {
    let Some(registry) = &args.register else {
        return Ok(None);
    };
    let advertised = match &args.advertise {
        Some(advertised) => advertised.clone(),
        None if address.ip().is_unspecified() => {
            return Err(
                format!("--register needs --advertise, because it listens on {address}").into(),
            );
        }
        None => address.into(),
    };
    Ok(Some(registry.register(Instance::new(advertised))?))
}

async fn listen(address: &str) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|error| {
        let message = format!("cannot listen on {address}: {error}");
        io::Error::new(error.kind(), message)
    })
}

fn announce(address: SocketAddr) {
    let hello = r#"-XPOST -d'{"s":"hello, world"}'"#;
    let lines = format!(
        "listening on {address}\n  \
         curl {hello} {address}/uppercase\n  \
         curl {hello} {address}/count\n  \
         curl {address}/metrics\n"
    );
    // A service serves as well if its output is closed.
    let _ = io::stdout().write_all(lines.as_bytes());
}
