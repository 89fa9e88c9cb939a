use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};

use crate::{
    connection::{Connections, HttpService},
    listener::Listener,
    phase::Phase,
};

/// The first pause after an error that a client did not cause; it doubles up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections and spawns a task for each, until the server drains.
pub(crate) async fn accept<L: Listener, S: HttpService>(listener: L, connections: Connections<S>) {
    let stopped = connections.follower.clone().reached(Phase::Draining);
    tokio::select! {
        biased;
        () = stopped => {}
        () = accept_all(listener, connections) => {}
    }
}

async fn accept_all<L: Listener, S: HttpService>(mut listener: L, connections: Connections<S>) {
    let mut pause = PAUSE;
    loop {
        // Connections over the limit wait in the backlog of the listener.
        let permit = acquire(&connections.slots).await;
        match listener.accept().await {
            Ok(handshake) => {
                pause = PAUSE;
                tokio::spawn(connections.serve(handshake, permit));
            }
            // Out of descriptors or memory: other connections have to end first.
            Err(error) if !is_of_client(&error) => {
                let message = format!("accept failed, next try in {pause:?}: {error}");
                connections.config.emit("accept_failed", message);
                sleep(pause).await;
                pause = LONGEST_PAUSE.min(2 * pause);
            }
            Err(_) => {}
        }
    }
}

async fn acquire(slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = slots.clone().acquire_owned().await;
    permit.expect("no one closes the semaphore")
}

/// Returns true if the client gave up before its connection was accepted.
fn is_of_client(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    let kinds = [
        ConnectionAborted,
        ConnectionRefused,
        ConnectionReset,
        Interrupted,
    ];
    kinds.contains(&error.kind())
}
