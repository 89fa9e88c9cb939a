use std::io;
use std::io::Write;
use std::net::SocketAddr;
use std::pin::pin;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::sleep;

use crate::Args;
use crate::signals::Signals;

/// Serves `app` until a signal, then lets the calls in flight end.
///
/// A second signal, or the time to drain, cuts off what is left.
///
/// # Errors
///
/// If the address cannot be listened on.
pub async fn serve(app: Router, args: &Args) -> io::Result<()> {
    let mut signals = Signals::new()?;
    let listener = listen(args.addr).await?;
    announce(listener.local_addr()?);

    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async {
        // Resolves when `stop` is dropped.
        let _ = stopped.await;
    });
    let mut server = pin!(server.into_future());
    tokio::select! {
        result = &mut server => return result,
        () = signals.next() => drop(stop),
    }
    tracing::info!(deadline = ?args.drain, "draining");
    tokio::select! {
        result = server => result?,
        () = sleep(args.drain) => tracing::warn!("calls in flight are cut off"),
        () = signals.next() => tracing::warn!("calls in flight are cut off"),
    }
    Ok(())
}

async fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(addr).await.map_err(|error| {
        let message = format!("cannot listen on {addr}: {error}");
        io::Error::new(error.kind(), message)
    })
}

fn announce(addr: SocketAddr) {
    let hello = r#"-XPOST -d'{"s":"hello, world"}'"#;
    let lines = format!(
        "listening on {addr}\n  \
         curl {hello} {addr}/uppercase\n  \
         curl {hello} {addr}/count\n  \
         curl {addr}/metrics\n"
    );
    // A service whose output nobody reads serves as well.
    let _ = io::stdout().write_all(lines.as_bytes());
}
