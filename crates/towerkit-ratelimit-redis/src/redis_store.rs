use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use redis::{Cmd, ErrorKind, RedisError, ServerErrorKind, cmd};
use tokio::time::Instant;

use crate::{
    Redis,
    common::Common,
    connection::Connection,
    errors::failure,
    measure::Measure,
    store::{Failure, Grant, Store},
};

const SCRIPT: &str = include_str!("bucket.lua");

/// The digest by which Redis knows the script once it has seen it.
static DIGEST: LazyLock<String> =
    LazyLock::new(|| sha1_smol::Sha1::from(SCRIPT).digest().to_string());

/// How long an attempt to connect may take.
pub(crate) const CONNECT: Duration = Duration::from_secs(1);

/// Buckets on Redis: one script, one connection for all, made when it is needed.
#[derive(Clone)]
pub(crate) struct RedisStore(Arc<Link>);

struct Link {
    redis: Redis,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts connections, so that news of an old one does no harm to a new one.
    number: u64,
    connection: Option<Connection>,
    connecting: Option<Attempt>,
}

struct Attempt {
    begun_at: Instant,
    connected: Common<Result<Connection, Failure>>,
}

impl RedisStore {
    pub(crate) fn new(redis: Redis) -> Self {
        Self(Arc::new(Link {
            redis,
            state: Mutex::default(),
        }))
    }
}

impl Store for RedisStore {
    fn take(
        &self,
        key: String,
        measure: Measure,
        tokens: u32,
    ) -> BoxFuture<'static, Result<Grant, Failure>> {
        let link = self.0.clone();
        async move {
            let (number, mut connection) = link.connect().await?;
            match take(&mut connection, &key, measure, tokens).await {
                Ok(grant) => Ok(grant),
                Err(error) => {
                    if connection.is_spoiled_by(&error) {
                        link.forget(number);
                    }
                    Err(failure(&error))
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

impl Link {
    /// Returns the connection, which all callers share, and its number; makes it if there is none.
    ///
    /// An attempt goes on while any caller waits for it, and a caller that comes a little later takes it up where it stands.
    async fn connect(&self) -> Result<(u64, Connection), Failure> {
        let connected = {
            let mut state = self.state();
            if let Some(connection) = &state.connection {
                return Ok((state.number, connection.clone()));
            }
            state
                .connecting
                .take_if(|attempt| attempt.begun_at.elapsed() >= CONNECT);
            let attempt = state.connecting.get_or_insert_with(|| Attempt {
                begun_at: Instant::now(),
                connected: Common::new(self.redis.connect().boxed()),
            });
            attempt.connected.wait()
        };
        let connected = connected.await;
        let mut state = self.state();
        // Whoever hears of the end of the attempt first puts it away; nobody begins another one before.
        if let Some(ended) = state
            .connecting
            .as_ref()
            .and_then(|attempt| attempt.connected.result())
        {
            state.number += 1;
            state.connection = ended.ok();
            state.connecting = None;
        }
        connected.map(|connection| (state.number, connection))
    }

    fn forget(&self, number: u64) {
        let mut state = self.state();
        if state.number == number {
            state.connection = None;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take(
    connection: &mut Connection,
    key: &str,
    measure: Measure,
    tokens: u32,
) -> Result<Grant, RedisError> {
    let known = command("EVALSHA", &DIGEST, key, measure, tokens);
    let (tokens, micros) = match connection.query(&known).await {
        // A server that was restarted knows no script. Sent whole, it is run and remembered.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
            let whole = command("EVAL", SCRIPT, key, measure, tokens);
            connection.query(&whole).await?
        }
        answer => answer?,
    };
    Ok(Grant {
        tokens,
        wait: Duration::from_micros(micros),
    })
}

fn command(name: &str, script: &str, key: &str, measure: Measure, tokens: u32) -> Cmd {
    let mut command = cmd(name);
    command
        .arg(script)
        .arg(1)
        .arg(key)
        .arg(measure.token)
        .arg(measure.flow)
        .arg(measure.size())
        .arg(measure.fill())
        .arg(tokens);
    command
}
