use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, cmd};
use tokio::time::Instant;

use crate::{
    connection::{CONNECT_TIMEOUT, Connection, Redis},
    errors::store_error,
    script_quota::ScriptQuota,
    shared_future::SharedFuture,
    store::{Grant, Store, StoreError},
};

const SCRIPT: &str = include_str!("bucket.lua");

/// The digest of the script, for `EVALSHA`.
static DIGEST: LazyLock<String> =
    LazyLock::new(|| sha1_smol::Sha1::from(SCRIPT).digest().to_string());

/// The buckets on Redis: one script, and one connection that all calls share and the first call opens.
#[derive(Clone)]
pub(crate) struct RedisStore(Arc<Pool>);

/// A pool of one multiplexed connection.
struct Pool {
    redis: Redis,
    state: Mutex<PoolState>,
}

#[derive(Default)]
struct PoolState {
    /// The number of connections that were started. An error of an old connection does not close a new one.
    started: u64,
    connection: Option<NumberedConnection>,
    connecting: Option<ConnectAttempt>,
}

type NumberedConnection = (u64, Connection);

struct ConnectAttempt {
    started_at: Instant,
    result: SharedFuture<Result<NumberedConnection, StoreError>>,
}

impl RedisStore {
    pub(crate) fn new(redis: Redis) -> Self {
        Self(Arc::new(Pool {
            redis,
            state: Mutex::default(),
        }))
    }
}

impl Store for RedisStore {
    fn take(
        &self,
        name: String,
        quota: ScriptQuota,
        tokens: u32,
    ) -> BoxFuture<'static, Result<Grant, StoreError>> {
        let pool = self.0.clone();
        async move {
            let (number, mut connection) = pool.connect().await?;
            match take(&mut connection, &name, quota, tokens).await {
                Ok(grant) => Ok(grant),
                Err(error) => {
                    if connection.is_broken_by(&error) {
                        pool.close(number);
                    }
                    Err(store_error(&error))
                }
            }
        }
        .boxed()
    }

    fn reset(&self) {
        self.0.state().connection = None;
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.redis.fmt(f)
    }
}

impl Pool {
    /// Returns the connection and its number; opens it if there is none.
    ///
    /// All callers share one attempt to connect. It continues while any caller waits for it, and a later caller resumes it.
    async fn connect(&self) -> Result<NumberedConnection, StoreError> {
        let connected = {
            let state = &mut *self.state();
            if let Some(connection) = &state.connection {
                return Ok(connection.clone());
            }
            state
                .connecting
                .take_if(|attempt| attempt.started_at.elapsed() >= CONNECT_TIMEOUT);
            let attempt = state.connecting.get_or_insert_with(|| {
                state.started += 1;
                let number = state.started;
                let connected = self.redis.connect();
                let numbered = connected.map_ok(move |connection| (number, connection));
                ConnectAttempt {
                    started_at: Instant::now(),
                    result: SharedFuture::new(numbered.boxed()),
                }
            });
            attempt.result.waiter()
        };
        let connected = connected.await;
        let state = &mut *self.state();
        // The first caller that resumes after the attempt stores its connection; until then no other attempt starts.
        let attempt = state.connecting.as_ref();
        if let Some(result) = attempt.and_then(|attempt| attempt.result.peek()) {
            state.connection = result.ok();
            state.connecting = None;
        }
        connected
    }

    /// Closes the connection with this number, so that the next call opens another.
    fn close(&self, number: u64) {
        self.state()
            .connection
            .take_if(|(current, _)| *current == number);
    }

    fn state(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(
    connection: &mut Connection,
    name: &str,
    quota: ScriptQuota,
    tokens: u32,
) -> Result<Grant, RedisError> {
    let by_digest = command("EVALSHA", &DIGEST, name, quota, tokens);
    let (tokens, micros) = match connection.query(&by_digest).await {
        // A server that was restarted does not know the script. `EVAL` runs and stores it.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            let whole_script = command("EVAL", SCRIPT, name, quota, tokens);
            connection.query(&whole_script).await?
        }
        answer => answer?,
    };
    Ok(Grant {
        tokens,
        wait: Duration::from_micros(micros),
    })
}

fn command(command: &str, script: &str, name: &str, quota: ScriptQuota, tokens: u32) -> Cmd {
    let mut command = cmd(command);
    command
        .arg(script)
        .arg(1)
        .arg(name)
        .arg(quota.token)
        .arg(quota.rate)
        .arg(quota.size())
        .arg(quota.fill_time())
        .arg(tokens);
    command
}
