use std::{
    error::Error,
    fmt,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use towerkit_core::{ConfigError, Event, EventQueue, EventSink, Name};

use crate::{Instance, LeaseStatus, Pacer, Registry, RegistryError};

/// The time that a registration has to end if it is dropped without [`stop`](Registration::stop).
const DROP_GRACE: Duration = Duration::from_secs(5);
/// The maximum time for one request.
const MAX_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// The minimum time for one request, for a registry with a TTL near zero.
const MIN_REQUEST_TIMEOUT: Duration = Duration::from_millis(100);
/// How much earlier than the heartbeat a renewal may be sent, as a share of it.
const HEARTBEAT_JITTER: f64 = 0.1;
/// Longer than any process runs.
const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Keeps an instance registered in a [`Registry`].
///
/// ```
/// use std::time::Duration;
/// use towerkit_discovery::{Instance, MemoryRegistry, Registrar, RegistrationStatus};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
/// let registry = MemoryRegistry::new();
/// let instance = Instance::new("10.0.0.7:80".parse()?);
/// let registration = Registrar::new(registry.service("addsvc"), instance).name("addsvc").spawn();
/// registration.registered().await;
/// assert_eq!(registry.instances("addsvc").len(), 1);
///
/// // Before the server stops: first out of the registry, then drain.
/// registration.stop(Duration::from_secs(5)).await;
/// assert_eq!(registry.instances("addsvc").len(), 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "a registrar does nothing before `spawn`"]
pub struct Registrar<R> {
    registry: R,
    instance: Instance,
    name: Name,
    events: EventQueue,
    heartbeat: Option<Duration>,
}

impl<R: Registry> Registrar<R> {
    /// Makes a registrar of an instance in a registry.
    pub fn new(registry: R, instance: Instance) -> Self {
        Self {
            registry,
            instance,
            name: Name::new("registration"),
            events: EventQueue::default(),
            heartbeat: None,
        }
    }

    /// Sets the name for events. Default: `registration`.
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = name.into();
        self
    }

    /// Sets the receiver of events: one at each change of the state, which is how errors of the registry are reported.
    pub fn events(mut self, sink: impl EventSink + 'static) -> Self {
        self.events = EventQueue::new(Some(Arc::new(sink)));
        self
    }

    /// Sets the time between two renewals. Default: a third of the TTL of the registry. There are at most two a second.
    ///
    /// # Errors
    ///
    /// Returns an error if `heartbeat` is zero or longer than 365 days.
    pub fn heartbeat(mut self, heartbeat: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("heartbeat", heartbeat)?;
        self.heartbeat = Some(heartbeat);
        Ok(self)
    }

    /// Registers the instance in a task of the current runtime, and keeps it registered.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn spawn(self) -> Registration {
        let ttl = self.registry.ttl();
        let (stop, stop_receiver) = watch::channel(None);
        let (status_sender, status) = watch::channel(RegistrationStatus::Pending);
        let run = Run {
            heartbeat: self.heartbeat.unwrap_or(ttl / 3),
            request_timeout: (ttl / 3).clamp(MIN_REQUEST_TIMEOUT, MAX_REQUEST_TIMEOUT),
            registry: self.registry,
            instance: self.instance,
            name: self.name,
            events: self.events,
            status: status_sender,
            stop: Stop(stop_receiver),
        };
        tokio::spawn(run.run());
        Registration(Arc::new(Handle { stop, status }))
    }
}

/// A running registration, made by [`Registrar::spawn`]. A clone is a handle of the same registration.
///
/// When the last clone is dropped, the instance is deregistered in the background, if that takes at most 5 seconds and the runtime
/// goes on for so long. [`stop`](Self::stop) waits for it.
#[derive(Clone)]
#[must_use = "the instance is deregistered when the registration is dropped"]
pub struct Registration(Arc<Handle>);

struct Handle {
    /// When the grace is over; the task also stops if the sender is dropped.
    stop: watch::Sender<Option<Instant>>,
    status: watch::Receiver<RegistrationStatus>,
}

/// The state of a registration.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum RegistrationStatus {
    /// The registry has not answered yet, or has lost the registration, which is made again.
    #[default]
    Pending,
    /// The registry has confirmed the registration.
    Registered,
    /// The registry does not answer, or refuses: the request is repeated.
    Failing {
        /// The first error since it answered.
        error: Arc<dyn Error + Send + Sync>,
    },
    /// The registration was stopped.
    Stopped,
}

impl RegistrationStatus {
    /// Returns the status as a word for logs and metrics: `pending`, `registered`, `failing` or `stopped`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Registered => "registered",
            Self::Failing { .. } => "failing",
            Self::Stopped => "stopped",
        }
    }
}

impl Registration {
    /// Returns the state.
    #[must_use]
    pub fn status(&self) -> RegistrationStatus {
        self.0.status.borrow().clone()
    }

    /// Resolves when the instance is registered, or the registration stopped, and returns the state.
    pub async fn registered(&self) -> RegistrationStatus {
        let is_decided = |status: &RegistrationStatus| {
            matches!(
                status,
                RegistrationStatus::Registered | RegistrationStatus::Stopped
            )
        };
        self.wait_for(is_decided).await
    }

    /// Deregisters the instance and ends the task, and resolves when that is done or `grace` is over.
    ///
    /// A request to register that is under way is awaited within the grace, so that the instance is not registered afterwards. Further
    /// calls wait for the same end; one with a shorter grace shortens it.
    ///
    /// # Cancellation
    ///
    /// The registration is stopped even if the future is dropped after its first poll.
    pub async fn stop(&self, grace: Duration) {
        let now = Instant::now();
        let deadline = now
            .checked_add(grace)
            .map_or_else(|| now + FOREVER, |at| at.min(now + FOREVER));
        self.0.stop.send_modify(|stop| {
            *stop = Some(stop.map_or(deadline, |stop| stop.min(deadline)));
        });
        let is_stopped =
            |status: &RegistrationStatus| matches!(status, RegistrationStatus::Stopped);
        let _ = timeout_at(deadline, self.wait_for(is_stopped)).await;
    }

    async fn wait_for(
        &self,
        condition: impl FnMut(&RegistrationStatus) -> bool,
    ) -> RegistrationStatus {
        let mut status = self.0.status.clone();
        match status.wait_for(condition).await {
            Ok(status) => status.clone(),
            // The task is gone, with its runtime.
            Err(_) => RegistrationStatus::Stopped,
        }
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registration").field(&self.status()).finish()
    }
}

/// The task of a registration.
struct Run<R> {
    registry: R,
    instance: Instance,
    name: Name,
    events: EventQueue,
    heartbeat: Duration,
    request_timeout: Duration,
    status: watch::Sender<RegistrationStatus>,
    stop: Stop,
}

impl<R: Registry> Run<R> {
    async fn run(self) {
        let mut lease = None;
        // A request to register that failed may have reached the registry all the same.
        let mut is_unknown = false;
        let mut pacer = Pacer::new();
        let mut next = Instant::now();
        loop {
            let mut stop = self.stop.clone();
            tokio::select! {
                biased;
                () = stop.requested() => break,
                () = async { sleep_until(next).await; pacer.wait().await } => {}
            }
            let timeout = Instant::now() + self.request_timeout;
            next = Instant::now();
            let result = match &mut lease {
                None => match self.register(timeout).await {
                    Ok(registered) => {
                        lease = Some(registered);
                        is_unknown = false;
                        Ok(LeaseStatus::Renewed)
                    }
                    Err(error) => {
                        is_unknown = true;
                        Err(error)
                    }
                },
                Some(lease) => {
                    let renew = self.limit(timeout, async { self.registry.renew(lease).await });
                    tokio::select! {
                        biased;
                        () = stop.requested() => break,
                        result = renew => result,
                    }
                }
            };
            match result {
                Ok(LeaseStatus::Renewed) => {
                    pacer.succeeded();
                    next += self
                        .heartbeat
                        .mul_f64(1.0 - HEARTBEAT_JITTER * fastrand::f64());
                    self.set_status(RegistrationStatus::Registered);
                }
                Ok(LeaseStatus::Lost) => {
                    pacer.succeeded();
                    lease = None;
                    self.set_status(RegistrationStatus::Pending);
                }
                Err(error) => {
                    pacer.failed();
                    let error = Arc::from(error);
                    self.set_status(RegistrationStatus::Failing { error });
                }
            }
        }
        self.deregister(lease, is_unknown).await;
    }

    async fn register(&self, timeout: Instant) -> Result<R::Lease, RegistryError> {
        let register = async { self.registry.register(&self.instance).await };
        self.limit(timeout, register).await
    }

    /// Removes the registration within the grace.
    async fn deregister(&self, mut lease: Option<R::Lease>, is_unknown: bool) {
        let mut stop = self.stop.clone();
        let deadline = stop.requested_until();
        if lease.is_none() && is_unknown {
            // The one way to remove a registration without its lease is to replace it.
            lease = self.register(deadline).await.ok();
        }
        let result = match lease {
            Some(lease) => {
                let deregister = async { self.registry.deregister(lease).await };
                self.limit(deadline, deregister).await
            }
            None => Ok(()),
        };
        if let Err(error) = result {
            self.push_event("deregistration_failed", || error.to_string());
        }
        self.set_status(RegistrationStatus::Stopped);
    }

    /// Runs a request until `timeout`, or until the grace is over if that comes first. A panic is an error.
    async fn limit<T>(
        &self,
        timeout: Instant,
        request: impl Future<Output = Result<T, RegistryError>>,
    ) -> Result<T, RegistryError> {
        let start = Instant::now();
        let mut request = pin!(request);
        let request = poll_fn(|context| {
            catch_unwind(AssertUnwindSafe(|| request.as_mut().poll(context)))
                .unwrap_or_else(|_| Poll::Ready(Err("the registry panicked".into())))
        });
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            result = request => result,
            () = sleep_until(timeout) => Err(format!("no answer within {:?}", start.elapsed()).into()),
            () = stop.expired() => Err("no answer within the grace".into()),
        }
    }

    /// Sets the state, and reports it if it is another one. The first error stays.
    fn set_status(&self, status: RegistrationStatus) {
        let has_changed = self.status.send_if_modified(|current| {
            let has_changed = status.as_str() != current.as_str();
            if has_changed {
                current.clone_from(&status);
            }
            has_changed
        });
        if has_changed {
            self.push_event("registration_changed", || {
                let address = &self.instance.address;
                match &status {
                    RegistrationStatus::Failing { error } => format!("{address} failing: {error}"),
                    status => format!("{address} {}", status.as_str()),
                }
            });
        }
    }

    fn push_event(&self, event: &'static str, message: impl FnOnce() -> String) {
        if self.events.has_sink() {
            self.events.push(Event::Other {
                layer: "discovery",
                name: self.name.clone(),
                event,
                message: message().into(),
            });
            self.events.deliver();
        }
    }
}

/// The request to stop, as the task sees it.
#[derive(Clone)]
struct Stop(watch::Receiver<Option<Instant>>);

impl Stop {
    /// Resolves when the registration is to stop.
    async fn requested(&mut self) {
        // An error says that the last handle was dropped.
        let _ = self.0.wait_for(Option::is_some).await;
    }

    /// Returns the end of the grace, once the registration is to stop.
    fn requested_until(&mut self) -> Instant {
        let deadline = *self.0.borrow_and_update();
        deadline.unwrap_or_else(|| Instant::now() + DROP_GRACE)
    }

    /// Resolves when the grace is over.
    async fn expired(&mut self) {
        self.requested().await;
        loop {
            let deadline = self.requested_until();
            tokio::select! {
                biased;
                () = sleep_until(deadline) => return,
                changed = self.0.changed() => {
                    if changed.is_err() {
                        return sleep_until(deadline).await;
                    }
                }
            }
        }
    }
}
