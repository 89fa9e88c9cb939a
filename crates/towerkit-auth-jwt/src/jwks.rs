use std::{error::Error, fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use tower::Service;
use towerkit_core::{
    BoxError, Clock, ConfigError, Event, EventQueue, EventSink, Name,
    sync::{AtomicU64, Ordering},
};

use crate::{
    Algorithm, JwksSource,
    fetch::Fetch,
    jwks_source::{self, Source},
    key_set::{Document, KeySet},
    load_schedule::Reason,
    loader::{Loader, Waiter, describe},
};

/// The keys of an issuer, which change: a JSON Web Key Set ([RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)) from a URL or a file.
///
/// - The keys are loaded with the first token, or by [`load`](Self::load) when the program starts; those of a file when this is made.
/// - They are loaded again after [`refresh_interval`](Self::refresh_interval), in the background, and when a token names an unknown
///   key, at most once in [`unknown_key_interval`](Self::unknown_key_interval). One load runs at a time, for all callers.
/// - A key that is gone from the set is refused from then on, also for tokens that were verified before.
/// - If a load fails, the keys are kept, and further attempts follow after 1 s, 2 s, 4 s, up to 60 s.
///
/// The set may have 256 KiB and 100 keys. Keys that are of no use are skipped: for another algorithm, for encryption, malformed, or
/// private.
///
/// Clones share the keys.
#[derive(Clone)]
pub struct Jwks(Arc<Shared>);

struct Shared {
    config: Config,
    loaded: ArcSwap<Loaded>,
    /// That of `loaded`, for a look that costs less.
    generation: AtomicU64,
    loader: Arc<Loader>,
}

#[derive(Clone)]
struct Config {
    source: Source,
    algorithms: Vec<Algorithm>,
    refresh_interval: u64,
    unknown_key_interval: u64,
    fetch: Fetch,
    clock: Clock,
    name: Name,
    events: EventQueue,
}

/// The keys, and a number that changes with them. Before the first load it is 0.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    pub(crate) keys: KeySet,
    pub(crate) generation: u64,
}

/// A key set could not be loaded.
#[derive(Debug, Clone)]
pub struct JwksError(Arc<str>);

impl Jwks {
    /// Takes the keys from `source`, for tokens of these algorithms.
    ///
    /// A key without `alg` is used for the algorithm that fits its type. With several algorithms of RSA it is skipped.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the URL is not one of `https` and the source is not for
    /// [development](JwksSource::development), if a file cannot be read or has no usable key, or if there is no algorithm or one of an
    /// HMAC: a secret is never in a key set.
    pub fn new(
        source: JwksSource,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, ConfigError> {
        let algorithms: Vec<_> = algorithms.into_iter().collect();
        if algorithms.is_empty() || algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            let expected = "at least one algorithm, and only those with public keys";
            return Err(ConfigError::new("algorithms", algorithms, expected));
        }
        let config = Config {
            source: source.check()?,
            algorithms,
            refresh_interval: 600 * 1_000_000_000,
            unknown_key_interval: 300 * 1_000_000_000,
            fetch: Fetch::new(),
            clock: Clock::default(),
            name: Name::new("jwks"),
            events: EventQueue::default(),
        };
        let mut loaded = Loaded::default();
        if let Source::File(path) = &config.source {
            let error = |error: String| {
                ConfigError::new("key set", path, format!("a file of keys: {error}"))
            };
            let json = jwks_source::read(path).map_err(|cause| error(cause.to_string()))?;
            let document = KeySet::parse(&json, &config.algorithms);
            let document = document.map_err(|cause| error(cause.to_string()))?;
            loaded = Loaded {
                keys: document.keys,
                generation: 1,
            };
        }
        Ok(Self::from_config(config, Arc::new(loaded)))
    }

    /// Sets the time after which the keys are loaded again; 10 minutes by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the time is 0 or longer than 365 days.
    pub fn refresh_interval(self, interval: Duration) -> Result<Self, ConfigError> {
        let interval = ConfigError::check_duration("refresh interval", interval)?;
        Ok(self.with(|config| config.refresh_interval = interval))
    }

    /// Sets the time in which unknown keys cause at most one load; 5 minutes by default.
    ///
    /// A token with an unknown key waits for this load. Within the rest of the time such a token is refused at once: anyone can
    /// send one. Issuers therefore publish a key some time before they sign with it.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the time is 0 or longer than 365 days.
    pub fn unknown_key_interval(self, interval: Duration) -> Result<Self, ConfigError> {
        let interval = ConfigError::check_duration("unknown key interval", interval)?;
        Ok(self.with(|config| config.unknown_key_interval = interval))
    }

    /// Sets the HTTP client; by default [`towerkit_http::client`] with three attempts of 5 seconds.
    ///
    /// A client of your own is needed for private authorities and proxies, and brings its own retries. It should not follow redirects.
    /// A load ends after 15 seconds for each document.
    #[must_use]
    pub fn client<C, B>(self, client: C) -> Self
    where
        C: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
        C::Error: Into<BoxError>,
        C::Future: Send + 'static,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.with(|config| config.fetch = Fetch::by(client))
    }

    /// Names the keys in events; `jwks` by default.
    #[must_use]
    pub fn name(self, name: impl Into<Name>) -> Self {
        self.with(|config| config.name = name.into())
    }

    /// Measures the intervals by `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|config| config.clock = clock)
    }

    /// Reports changes of the keys and failed loads to `sink`; to no sink by default.
    ///
    /// Each is an [`Other`](Event::Other) of the kind `keys_changed` or `load_failed`.
    #[must_use]
    pub fn events(self, sink: impl EventSink + 'static) -> Self {
        let events = EventQueue::new(Some(Arc::new(sink)));
        self.with(|config| config.events = events)
    }

    /// Loads the keys now, so that a program does not start with a wrong address.
    ///
    /// # Errors
    ///
    /// Returns the reason if the keys cannot be loaded, or if there is no tokio runtime.
    pub async fn load(&self) -> Result<(), JwksError> {
        let waiter = self.start(Reason::Requested);
        let waiter = waiter.ok_or_else(|| JwksError("too many callers wait".into()))?;
        waiter.wait().await.map_err(JwksError)
    }

    /// Returns the issuer, if the keys are those of an OpenID provider.
    pub(crate) fn issuer(&self) -> Option<&str> {
        self.0.config.source.issuer()
    }

    /// Returns the generation of the keys, and has old keys loaded in the background.
    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        // Acquire: a caller that sees the number of new keys does not read old ones.
        let generation = self.0.generation.load(Ordering::Acquire);
        if generation != 0 && self.0.loader.is_due() {
            drop(self.start(Reason::Due));
        }
        generation
    }

    pub(crate) fn loaded(&self) -> Arc<Loaded> {
        self.0.loaded.load_full()
    }

    pub(crate) fn start(&self, reason: Reason) -> Option<Waiter> {
        let shared = &self.0;
        shared.loader.start(reason, || Arc::clone(shared).load())
    }

    pub(crate) fn retry_after(&self) -> Duration {
        self.0.loader.retry_after()
    }

    fn from_config(config: Config, loaded: Arc<Loaded>) -> Self {
        let loader = Loader::new(config.clock.clone(), config.unknown_key_interval);
        if loaded.generation != 0 {
            loader.loaded(config.refresh_interval);
        }
        Self(Arc::new(Shared {
            generation: AtomicU64::new(loaded.generation),
            loaded: ArcSwap::new(loaded),
            loader,
            config,
        }))
    }

    fn with(self, set: impl FnOnce(&mut Config)) -> Self {
        let mut config = self.0.config.clone();
        set(&mut config);
        Self::from_config(config, self.loaded())
    }
}

impl Shared {
    /// Loads the keys, and returns the time for which they are good.
    async fn load(self: Arc<Self>) -> Result<u64, BoxError> {
        let config = &self.config;
        let json = config.source.load(&config.fetch).await;
        let document = json.and_then(|json| Ok(KeySet::parse(&json, &config.algorithms)?));
        match document {
            Ok(document) => {
                self.replace(document);
                Ok(config.refresh_interval)
            }
            Err(error) => {
                self.report("load_failed", || describe(&*error));
                Err(error)
            }
        }
    }

    /// Replaces the keys if they have changed. One load at a time calls it.
    fn replace(&self, document: Document) {
        let before = self.loaded.load();
        if before.generation != 0 && document.keys.is_same(&before.keys) {
            return;
        }
        let generation = before.generation + 1;
        let message = document.to_string();
        self.loaded.store(Arc::new(Loaded {
            keys: document.keys,
            generation,
        }));
        // Release: see `generation`. From here on tokens that were verified by the keys before are not found.
        self.generation.store(generation, Ordering::Release);
        self.report("keys_changed", || message);
    }

    fn report(&self, event: &'static str, message: impl FnOnce() -> String) {
        let events = &self.config.events;
        if events.has_sink() {
            events.push(Event::Other {
                layer: "jwks",
                name: self.config.name.clone(),
                event,
                message: message().into(),
            });
            events.deliver();
        }
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks")
            .field("name", &self.0.config.name)
            .field("source", &self.0.config.source)
            .field("loaded", &self.0.loaded)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for JwksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the keys could not be loaded: {}", self.0)
    }
}

impl Error for JwksError {}
