use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use etcd_client::{Client, ConnectOptions, Error as ClientError};
use tokio::{sync::Mutex, time::timeout};
use towerkit_discovery::Pacer;

use crate::error::{Kind, RequestError};

/// The time that etcd has to answer a request.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// The connection to a cluster, which is made when it is used, and again after it broke.
pub(crate) struct Connection {
    endpoints: Arc<[String]>,
    options: ConnectOptions,
    state: Mutex<State>,
    /// The number of attempts to connect that failed.
    failures: AtomicU64,
}

struct State {
    client: Option<Client>,
    /// The endpoint that is used next: one at a time, so that a member that is down is passed by once, and not at random.
    next_endpoint: usize,
    /// The number of clients so far.
    generation: u64,
    pacer: Pacer,
    last_error: String,
}

/// A client, and the generation of the connection that it uses.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    generation: u64,
}

impl Connection {
    pub(crate) fn new(endpoints: Arc<[String]>, options: ConnectOptions) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                client: None,
                next_endpoint: fastrand::usize(..endpoints.len()),
                generation: 0,
                pacer: Pacer::new(),
                last_error: String::new(),
            }),
            endpoints,
            failures: AtomicU64::new(0),
        }
    }

    /// Returns the client, which is connected if it was not.
    ///
    /// One caller connects, at most twice a second, and the others wait for it and get its error.
    pub(crate) async fn client(&self) -> Result<Connected, RequestError> {
        let failures = self.failures.load(Relaxed);
        let mut state = self.state.lock().await;
        if state.client.is_none() {
            if self.failures.load(Relaxed) != failures {
                let message = state.last_error.clone();
                return Err(RequestError::new("connection", Kind::Shared(message)));
            }
            if let Err(error) = self.connect(&mut state).await {
                state.pacer.failed();
                state.last_error = error.to_string();
                self.failures.fetch_add(1, Relaxed);
                return Err(error);
            }
        }
        let client = state.client.clone().expect("it was connected above");
        Ok(Connected {
            client,
            generation: state.generation,
        })
    }

    /// Drops the connection if it is the one that broke.
    pub(crate) async fn broken(&self, connected: &Connected) {
        let mut state = self.state.lock().await;
        if state.generation == connected.generation {
            state.client = None;
        }
    }

    /// Sends a request, and drops the connection if it broke.
    pub(crate) async fn request<T, F>(
        &self,
        name: &'static str,
        request: impl FnOnce(Client) -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, ClientError>>,
    {
        let connected = self.client().await?;
        let result = limit(name, request(connected.client.clone())).await;
        if let Err(error) = &result
            && error.is_of_connection()
        {
            self.broken(&connected).await;
        }
        result
    }

    /// Connects to one of the endpoints, which are tried one after the other.
    async fn connect(&self, state: &mut State) -> Result<(), RequestError> {
        let mut attempts = self.endpoints.len();
        loop {
            state.pacer.wait().await;
            // Before the request: one that is dropped is no reason to use this endpoint again.
            let endpoint = state.next_endpoint;
            state.next_endpoint = (endpoint + 1) % self.endpoints.len();
            attempts -= 1;
            match limit("connection", self.connect_to(&self.endpoints[endpoint])).await {
                Ok(client) => {
                    state.pacer.succeeded();
                    state.generation += 1;
                    state.client = Some(client);
                    return Ok(());
                }
                Err(error) if attempts == 0 => return Err(error),
                Err(_) => {}
            }
        }
    }

    /// Connects, logs in, and sends a request that any user may send, because the library connects by the first request.
    async fn connect_to(&self, endpoint: &str) -> Result<Client, ClientError> {
        let client = Client::connect([endpoint], Some(self.options.clone())).await?;
        client.maintenance_client().status().await?;
        Ok(client)
    }
}

/// Limits the time of a request.
pub(crate) async fn limit<T>(
    name: &'static str,
    request: impl Future<Output = Result<T, ClientError>>,
) -> Result<T, RequestError> {
    match timeout(TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| RequestError::new(name, Kind::Client(error))),
        Err(_) => Err(RequestError::new(name, Kind::TimedOut(TIMEOUT))),
    }
}
