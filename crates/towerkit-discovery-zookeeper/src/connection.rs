use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{sync::Mutex, time::timeout};
use towerkit_discovery::{Address, Pacer};
use zookeeper_client::{
    Acl, Acls, Client, CreateMode, CreateOptions, Error as ClientError, Permission, SessionState,
};

use crate::error::{Kind, RequestError};

/// The time that ZooKeeper has to answer a request, and the library to take up a session that was disconnected.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest time without an answer after which a connection counts as lost.
const MAX_CONNECTION_TIMEOUT: Duration = Duration::from_secs(3);

/// The rights on the nodes of a client with a user.
static OWNED: [Acl; 2] = [
    Acl::new_const(Permission::ALL, "auth", ""),
    Acl::new_const(Permission::READ, "world", "anyone"),
];

/// What the setters of the client fill.
#[derive(Clone)]
pub(crate) struct Options {
    pub(crate) servers: Arc<[Address]>,
    pub(crate) session_timeout: Duration,
    /// The user and the password, with a colon between them.
    pub(crate) digest: Option<Arc<str>>,
}

/// The session of a client, which is made when it is used, and again after it was lost.
pub(crate) struct Connection {
    options: Options,
    state: Mutex<State>,
    /// The number of attempts to connect that failed.
    failures: AtomicU64,
}

struct State {
    client: Option<Client>,
    /// The number of sessions so far.
    generation: u64,
    pacer: Pacer,
    last_error: String,
}

/// A session, and its number.
#[derive(Clone)]
pub(crate) struct Connected {
    pub(crate) client: Client,
    generation: u64,
}

impl Connection {
    pub(crate) fn new(options: Options) -> Self {
        Self {
            options,
            state: Mutex::new(State {
                client: None,
                generation: 0,
                pacer: Pacer::new(),
                last_error: String::new(),
            }),
            failures: AtomicU64::new(0),
        }
    }

    pub(crate) fn session_timeout(&self) -> Duration {
        self.options.session_timeout
    }

    /// Returns how nodes are made: who may change them.
    pub(crate) fn create_options(&self, mode: CreateMode) -> CreateOptions<'static> {
        mode.with_acls(match self.options.digest {
            Some(_) => Acls::new(&OWNED),
            None => Acls::anyone_all(),
        })
    }

    /// Returns the session, which is made if there is none.
    ///
    /// One caller connects, at most twice a second, and the others wait for it and get its error.
    pub(crate) async fn session(&self) -> Result<Connected, RequestError> {
        let failures = self.failures.load(Relaxed);
        let mut state = self.state.lock().await;
        state
            .client
            .take_if(|client| client.state().is_terminated());
        if state.client.is_none() {
            if self.failures.load(Relaxed) != failures {
                let message = state.last_error.clone();
                return Err(RequestError::new("connection", Kind::Shared(message)));
            }
            state.pacer.wait().await;
            match self.connect().await {
                Ok(client) => {
                    state.pacer.succeeded();
                    state.generation += 1;
                    state.client = Some(client);
                }
                Err(error) => {
                    state.pacer.failed();
                    state.last_error = error.to_string();
                    self.failures.fetch_add(1, Relaxed);
                    return Err(error);
                }
            }
        }
        let client = state.client.clone().expect("it was connected above");
        Ok(Connected {
            client,
            generation: state.generation,
        })
    }

    /// Gives up a session: the next caller makes another one.
    pub(crate) async fn give_up(&self, connected: &Connected) {
        let mut state = self.state.lock().await;
        if state.generation == connected.generation {
            state.client = None;
        }
    }

    async fn connect(&self) -> Result<Client, RequestError> {
        let Options {
            servers,
            session_timeout,
            digest,
        } = &self.options;
        let mut connector = Client::connector()
            .with_session_timeout(*session_timeout)
            .with_connection_timeout((*session_timeout * 2 / 5).min(MAX_CONNECTION_TIMEOUT))
            .with_fail_eagerly();
        if let Some(digest) = digest {
            connector = connector.with_auth("digest", digest.as_bytes());
        }
        let servers: Vec<_> = servers.iter().map(Address::to_string).collect();
        limit("connection", connector.connect(&servers.join(","))).await
    }
}

impl Connected {
    /// Waits until the library has taken up the session again, if it was disconnected.
    pub(crate) async fn reconnected(&self) -> Result<(), RequestError> {
        let mut states = self.client.state_watcher();
        let reconnected = async {
            let mut state = states.peek_state();
            loop {
                match state {
                    SessionState::SyncConnected => return Ok(()),
                    SessionState::Disconnected => state = states.changed().await,
                    SessionState::AuthFailed => return Err(Kind::Client(ClientError::AuthFailed)),
                    _ => return Err(Kind::Client(ClientError::SessionExpired)),
                }
            }
        };
        let result = timeout(TIMEOUT, reconnected).await;
        let result = result.unwrap_or(Err(Kind::Disconnected));
        result.map_err(|kind| RequestError::new("session", kind))
    }
}

/// Limits the time of a request.
pub(crate) async fn limit<T, E>(
    name: &'static str,
    request: impl Future<Output = Result<T, E>>,
) -> Result<T, RequestError>
where
    ClientError: From<E>,
{
    match timeout(TIMEOUT, request).await {
        Ok(result) => result.map_err(|error| RequestError::new(name, Kind::Client(error.into()))),
        Err(_) => Err(RequestError::new(name, Kind::TimedOut(TIMEOUT))),
    }
}

/// The identity `world:anyone` and that of the session are what the rights above name.
#[cfg(test)]
mod tests {
    use zookeeper_client::AuthId;

    use super::*;

    #[test]
    fn the_rights_are_those_of_the_user_and_of_all_readers() {
        assert_eq!(OWNED[0].auth_id(), &AuthId::authed());
        assert_eq!(OWNED[1].auth_id(), &AuthId::anyone());
    }
}
