use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, routing::any};
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    time::sleep,
};
use towerkit::{core::BoxError, discovery::Registration};

use crate::Registry;

/// How long a call takes.
pub(crate) const DELAY: Duration = Duration::from_millis(5);

/// An instance of the service, on a runtime of its own, so that it ends as a killed process does: connections are closed at once, and
/// its registration stays until it runs out.
#[derive(Debug)]
pub(crate) struct Instance {
    address: SocketAddr,
    load: Arc<Load>,
    running: Option<(Runtime, Registration)>,
}

#[derive(Debug)]
struct Load {
    calls: AtomicU64,
    delay_ms: AtomicU64,
}

impl Instance {
    /// Starts an instance on a free port, and registers it.
    ///
    /// # Errors
    ///
    /// If no port is free, or the registry cannot be used.
    pub(crate) async fn start(registry: &Registry) -> Result<Self, BoxError> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut instance = Self {
            address: listener.local_addr()?,
            load: Arc::new(Load {
                calls: AtomicU64::new(0),
                delay_ms: AtomicU64::new(DELAY.as_millis() as u64),
            }),
            running: None,
        };
        drop(listener);
        instance.restart(registry).await?;
        Ok(instance)
    }

    /// Starts the instance again on the same port.
    ///
    /// # Errors
    ///
    /// If the port is not free, or the registry cannot be used.
    pub(crate) async fn restart(&mut self, registry: &Registry) -> Result<(), BoxError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()?;
        let (address, load, registry) = (self.address, self.load.clone(), registry.clone());
        let start = async move {
            serve(address, load).await?;
            let registration = registry.register(address.into())?;
            registration.registered().await;
            Ok::<_, BoxError>(registration)
        };
        match runtime.spawn(start).await? {
            Ok(registration) => {
                self.running = Some((runtime, registration));
                Ok(())
            }
            Err(error) => {
                // A runtime must not be dropped in an asynchronous function.
                runtime.shutdown_background();
                Err(error)
            }
        }
    }

    /// Ends the instance without a word to its callers or to the registry.
    pub(crate) fn kill(&mut self) {
        if let Some((runtime, registration)) = self.running.take() {
            runtime.shutdown_background();
            drop(registration);
        }
    }

    /// Sets the time that each call takes.
    pub(crate) fn set_delay(&self, delay: Duration) {
        let millis = delay.as_millis() as u64;
        self.load.delay_ms.store(millis, Ordering::Relaxed);
    }

    /// Returns the number of calls that arrived so far.
    pub(crate) fn calls(&self) -> u64 {
        self.load.calls.load(Ordering::Relaxed)
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

async fn serve(address: SocketAddr, load: Arc<Load>) -> io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    let app = Router::new().fallback(any(respond)).with_state(load);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(())
}

async fn respond(State(load): State<Arc<Load>>) -> &'static str {
    load.calls.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_millis(load.delay_ms.load(Ordering::Relaxed))).await;
    "hello\n"
}
