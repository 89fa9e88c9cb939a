use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::{FutureExt, TryFutureExt, future::BoxFuture};
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
    /// How many connections were begun: each has a number, so that an error of an old one does not discard a new one.
    begun: u64,
    connection: Option<Numbered>,
    connecting: Option<Attempt>,
}

type Numbered = (u64, Connection);

struct Attempt {
    begun_at: Instant,
    connected: Common<Result<Numbered, Failure>>,
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
    async fn connect(&self) -> Result<Numbered, Failure> {
        let connected = {
            let state = &mut *self.state();
            if let Some(connection) = &state.connection {
                return Ok(connection.clone());
            }
            state
                .connecting
                .take_if(|attempt| attempt.begun_at.elapsed() >= CONNECT);
            let attempt = state.connecting.get_or_insert_with(|| {
                state.begun += 1;
                let number = state.begun;
                let connected = self.redis.connect().map_ok(move |made| (number, made));
                Attempt {
                    begun_at: Instant::now(),
                    connected: Common::new(connected.boxed()),
                }
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
            state.connection = ended.ok();
            state.connecting = None;
        }
        connected
    }

    fn forget(&self, number: u64) {
        self.state()
            .connection
            .take_if(|(current, _)| *current == number);
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
