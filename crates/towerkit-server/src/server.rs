use std::{fmt, io, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tower_service::Service;
use towerkit_core::{BoxError, ConfigError, EventQueue, EventSink, Name};

use crate::{
    accept::accept,
    config::{Config, Events, MAX_HEADER_BYTES, MIN_HEADER_BYTES},
    connection::{Connections, CutOffCalls},
    drained::Drained,
    health::Health,
    listener::Listener,
    phase::{Phase, PhaseFollower},
    request_body::RequestBody,
    shutdown::shutdown_signal,
};

/// An HTTP server for [tower] services.
///
/// It serves HTTP/1.1 and HTTP/2 on each of its listeners, within limits, and shuts down in order. See the [crate docs](crate).
///
/// [tower]: https://docs.rs/tower
#[must_use = "a server does nothing until it runs"]
pub struct Server {
    config: Config,
    health: Health,
    on_stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    listeners: Vec<Box<dyn FnOnce(Shared) -> AcceptLoop + Send>>,
}

type AcceptLoop = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Everything that a server gives to each of its listeners.
struct Shared {
    config: Arc<Config>,
    follower: PhaseFollower,
    cut_off: CutOffCalls,
    slots: Arc<Semaphore>,
}

/// The time that dropped calls have to end; only a call that blocks its thread needs it.
const CUT_OFF_TIME: Duration = Duration::from_secs(1);

impl Server {
    /// Makes a server without listeners, with the defaults that its setters document.
    pub fn new() -> Self {
        Self {
            config: Config::default(),
            health: Health::new(),
            on_stop: Box::pin(async {}),
            listeners: Vec::new(),
        }
    }

    /// Limits the time for the head of a request; 10 seconds by default.
    ///
    /// It runs from the first byte of the head, and for the first head from the accept. A connection over the limit is closed.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for zero or more than 365 days.
    pub fn head_timeout(mut self, limit: Duration) -> Result<Self, ConfigError> {
        self.config.limits.head = ConfigError::check_duration("head timeout", limit)?;
        Ok(self)
    }

    /// Limits the time between calls; 60 seconds by default.
    ///
    /// An idle connection is closed, over HTTP/2 with a `GOAWAY`. A connection with an event stream is not idle.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for zero or more than 365 days.
    pub fn idle_timeout(mut self, limit: Duration) -> Result<Self, ConfigError> {
        self.config.limits.idle = ConfigError::check_duration("idle timeout", limit)?;
        Ok(self)
    }

    /// Limits the time in which a client reads 1 KiB of a response that is ready; 30 seconds by default.
    ///
    /// A connection over the limit is closed. Responses with the content type `text/event-stream` or `application/grpc` have no such
    /// limit.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for zero or more than 365 days.
    pub fn write_timeout(mut self, limit: Duration) -> Result<Self, ConfigError> {
        self.config.limits.write = ConfigError::check_duration("write timeout", limit)?;
        Ok(self)
    }

    /// Limits the time in which a request body brings 1 KiB, or its end; 30 seconds by default.
    ///
    /// The time runs while the service waits for the body. Over the limit, [`RequestBody`] fails, and an error of the service becomes a
    /// [408]. It does not apply to gRPC, whose streams may pause for as long as they like: there a `TimeoutLayer` around the service ends
    /// a call whose only message does not arrive in time.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for zero or more than 365 days.
    ///
    /// [408]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.9
    pub fn body_timeout(mut self, limit: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("body timeout", limit)?;
        self.config.body_timeout = limit;
        Ok(self)
    }

    /// Limits the time of a TLS handshake; 10 seconds by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for zero or more than 365 days.
    pub fn handshake_timeout(mut self, limit: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("handshake timeout", limit)?;
        self.config.handshake_timeout = limit;
        Ok(self)
    }

    /// Limits the wait for a response after the client has closed its sending side; 5 seconds by default.
    ///
    /// Such a client may wait for its response or be gone: both look the same. If no byte was written to it in this time, its calls
    /// are dropped. With zero they are dropped at once, as hyper does.
    pub fn half_close_timeout(mut self, limit: Duration) -> Self {
        self.config.limits.half_close = limit.as_nanos().try_into().unwrap_or(u64::MAX);
        self
    }

    /// Limits the age of connections, and the time that their calls then have; there is no limit by default.
    ///
    /// An old connection takes no new calls and is closed after its calls, over HTTP/2 with a `GOAWAY`. `grace` later it is cut off.
    /// Clients then connect again, perhaps to another instance. Each age is up to a tenth longer or shorter at random, so that the
    /// clients do not return all at once.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if one of the times is zero or more than 365 days.
    pub fn max_connection_age(
        mut self,
        age: Duration,
        grace: Duration,
    ) -> Result<Self, ConfigError> {
        let age = ConfigError::check_duration("max connection age", age)?;
        let grace = ConfigError::check_duration("grace of old connections", grace)?;
        self.config.limits.age = Some((age, grace));
        Ok(self)
    }

    /// Limits the open connections of each listener; 10,000 by default. More connections wait until others are closed.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for 0, or for more than 2<sup>32</sup>.
    pub fn max_connections(mut self, connections: usize) -> Result<Self, ConfigError> {
        // A semaphore has fewer permits than a word has values.
        let range = 1..=usize::try_from(1_u64 << 32).unwrap_or(usize::MAX >> 3);
        self.config.max_connections =
            ConfigError::check_range("max connections", connections, range)?;
        Ok(self)
    }

    /// Limits the headers of a request; 100 by default. A request with more gets a [431].
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for 0, or for more than 10,000.
    ///
    /// [431]: https://www.rfc-editor.org/rfc/rfc6585#section-5
    pub fn max_headers(mut self, headers: usize) -> Result<Self, ConfigError> {
        self.config.head_limits.headers =
            ConfigError::check_range("max headers", headers, 1..=10_000)?;
        Ok(self)
    }

    /// Limits the size of the URI and the headers of a request; 65,536 bytes by default.
    ///
    /// A request with more gets a [431], or a [414] if more than half of the limit is its URI.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for less than 8 KiB or more than 16 MiB.
    ///
    /// [431]: https://www.rfc-editor.org/rfc/rfc6585#section-5
    /// [414]: https://www.rfc-editor.org/rfc/rfc9110#section-15.5.15
    pub fn max_header_bytes(mut self, bytes: usize) -> Result<Self, ConfigError> {
        let range = MIN_HEADER_BYTES..=MAX_HEADER_BYTES;
        self.config.head_limits.bytes = ConfigError::check_range("max header bytes", bytes, range)?;
        Ok(self)
    }

    /// Limits the concurrent calls of an HTTP/2 connection; 200 by default. Clients are told, and wait.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for 0.
    pub fn max_streams(mut self, streams: u32) -> Result<Self, ConfigError> {
        self.config.max_streams = ConfigError::check_range("max streams", streams, 1..=u32::MAX)?;
        Ok(self)
    }

    /// Limits the calls that a client may cancel before their responses; 500 by default.
    ///
    /// An HTTP/2 connection on which so many calls were cancelled, and more than half of all its calls, is closed with a `GOAWAY`, and
    /// cut off a second later ([CVE-2023-44487]).
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for 0.
    ///
    /// [CVE-2023-44487]: https://www.cve.org/CVERecord?id=CVE-2023-44487
    pub fn max_resets(mut self, resets: usize) -> Result<Self, ConfigError> {
        self.config.limits.cancelled =
            ConfigError::check_range("max resets", resets, 1..=usize::MAX)?;
        Ok(self)
    }

    /// Sets how often HTTP/2 clients are pinged, and the time they have to answer; 20 seconds by default.
    ///
    /// A client that does not answer is gone, and its connection is closed.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for zero or more than 365 days.
    pub fn ping_interval(mut self, interval: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("ping interval", interval)?;
        self.config.ping_interval = interval;
        Ok(self)
    }

    /// Limits the time that calls have to end at the shutdown; 30 seconds by default. Then they are cut off.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] for zero or more than 365 days.
    pub fn drain_timeout(mut self, limit: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("drain timeout", limit)?;
        self.config.drain_timeout = limit;
        Ok(self)
    }

    /// Delays the shutdown after [`on_stop`](Self::on_stop), while the server still serves; zero by default.
    ///
    /// Clients and load balancers need this time to learn that the instance is gone.
    pub fn shutdown_delay(mut self, delay: Duration) -> Self {
        self.config.shutdown_delay = delay;
        self
    }

    /// Runs a future first at the shutdown, such as one that deregisters the instance; there is none by default.
    ///
    /// It has [`drain_timeout`](Self::drain_timeout) to end. It is dropped without being polled if the server never shuts down.
    pub fn on_stop(mut self, on_stop: impl Future<Output = ()> + Send + 'static) -> Self {
        self.on_stop = Box::pin(on_stop);
        self
    }

    /// Reports through `health` when the server is ready, and when it no longer is.
    pub fn health(mut self, health: Health) -> Self {
        self.health = health;
        self
    }

    /// Names this server in events; `server` by default.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.config.name = name.into();
        self
    }

    /// Reports to `sink` failed accepts (`accept_failed`) and the shutdown (`draining`, `drained`, `cut_off`); no sink by default.
    ///
    /// The events are [`Event::Other`](towerkit_core::Event::Other) with the layer `server`.
    pub fn events(mut self, sink: impl EventSink + 'static) -> Self {
        self.config.events = Events(Arc::new(EventQueue::new(Some(Arc::new(sink)))));
        self
    }

    /// Adds a listener whose requests `service` answers.
    ///
    /// The service is cloned for each connection and each call. A call waits until its clone is ready. An error of the service becomes
    /// a response with status 500.
    pub fn listen<L, S, B>(mut self, listener: L, service: S) -> Self
    where
        L: Listener,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.listeners.push(Box::new(move |shared: Shared| {
            let connections = Connections {
                config: shared.config,
                service,
                follower: shared.follower,
                cut_off: shared.cut_off,
                slots: shared.slots,
            };
            Box::pin(accept(listener, connections))
        }));
        self
    }

    /// Serves `listener` until `shutdown` resolves, then drains: [`listen`](Self::listen) and [`run`](Self::run).
    pub async fn serve<L, S, B>(
        self,
        listener: L,
        service: S,
        shutdown: impl Future<Output = ()>,
    ) -> Drained
    where
        L: Listener,
        S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
        S::Error: Into<BoxError>,
        S::Future: Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        self.listen(listener, service).run(shutdown).await
    }

    /// Serves all listeners until SIGTERM or SIGINT, as [`run`](Self::run) with [`shutdown_signal`] does. A second signal drops the calls
    /// that are left. The signals are caught from this call on.
    ///
    /// # Errors
    ///
    /// Returns an error if the system rejects the handler of a signal.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime with IO enabled.
    pub fn run_until_signal(self) -> io::Result<impl Future<Output = ()>> {
        let (first, mut second) = (shutdown_signal()?, shutdown_signal()?);
        Ok(async move {
            let second = async {
                (&mut second).await;
                second.await;
            };
            tokio::select! {
                _ = self.run(first) => {}
                () = second => {}
            }
        })
    }

    /// Serves all listeners until `shutdown` resolves, then [shuts down](crate#shutdown).
    ///
    /// Dropping this future cuts off all connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Drained {
        let config = Arc::new(self.config);
        let (phase, phases) = watch::channel(Phase::Serving);
        let mut open = Open {
            phase,
            calls: CutOffCalls::default(),
            slots: Vec::new(),
        };
        let mut accepting = JoinSet::new();
        for listener in self.listeners {
            let slots = Arc::new(Semaphore::new(config.max_connections));
            open.slots.push(slots.clone());
            accepting.spawn(listener(Shared {
                config: config.clone(),
                follower: PhaseFollower::new(phases.clone()),
                cut_off: open.calls.clone(),
                slots,
            }));
        }
        drop(phases);
        let serving = Serving::new(self.health);

        shutdown.await;
        // A future that takes too long is given up: the shutdown must not hang.
        let _ = timeout(config.drain_timeout, self.on_stop).await;
        sleep(config.shutdown_delay).await;
        drop(serving);

        config.emit(
            "draining",
            format!("draining for at most {:?}", config.drain_timeout),
        );
        open.phase.send_replace(Phase::Draining);
        // The listeners are closed when their tasks have ended.
        while accepting.join_next().await.is_some() {}
        let drained = open.drain(&config).await;
        match drained {
            Drained::Complete => config.emit("drained", "drained".to_owned()),
            Drained::CutOff { calls, connections } => {
                config.emit(
                    "cut_off",
                    format!("cut off: {calls} calls, {connections} connections"),
                );
            }
        }
        drained
    }
}

/// Ready until it is dropped, also with the future of the server.
struct Serving(Health);

impl Serving {
    fn new(health: Health) -> Self {
        health.set_serving();
        Self(health)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.set_stopping();
    }
}

/// The connections of all listeners.
struct Open {
    phase: watch::Sender<Phase>,
    calls: CutOffCalls,
    slots: Vec<Arc<Semaphore>>,
}

impl Open {
    /// Waits until all connections are closed, and cuts them off when the time is over.
    async fn drain(&self, config: &Config) -> Drained {
        let closed = timeout(config.drain_timeout, self.phase.closed()).await;
        if closed.is_ok() {
            return Drained::Complete;
        }
        let taken = |slots: &Arc<Semaphore>| config.max_connections - slots.available_permits();
        let connections = self.slots.iter().map(taken).sum();
        self.phase.send_replace(Phase::CutOff);
        let _ = timeout(CUT_OFF_TIME, self.phase.closed()).await;
        Drained::CutOff {
            calls: self.calls.get(),
            connections,
        }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.config)
            .field("listeners", &self.listeners.len())
            .finish_non_exhaustive()
    }
}
