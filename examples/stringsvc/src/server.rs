use std::{
    io::{self, Write},
    net::SocketAddr,
};

use axum::Router;
use tokio::net::TcpListener;
use towerkit::{
    core::{BoxError, ConfigError},
    log::EventLog,
    server::Server,
};

use crate::Args;

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
    let running = server.listen(listener, app).run_until_signal()?;
    announce(address);
    running.await;
    Ok(())
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
