use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper_util::{
    rt::TokioIo,
    server::conn::auto::{HttpServerConnExec, UpgradeableConnection},
};
use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, Sleep, sleep_until, timeout},
};
use tower_service::Service;
use towerkit_core::BoxError;

use crate::{
    activity::Activity,
    call::{CallFuture, CallService},
    config::Config,
    connection_timer::{ConnectionTimer, Limits, Step},
    listener::Accepted,
    monitored_io::MonitoredIo,
    phase::{CutOffSignal, Phase, PhaseFollower},
    request_body::RequestBody,
    response_body::ResponseBody,
    streams::Streams,
};

/// A service that a server can call.
pub(crate) trait HttpService:
    Service<
        Request<RequestBody>,
        Response = Response<Self::Body>,
        Error: Into<BoxError>,
        Future: Send + 'static,
    > + Clone
    + Send
    + 'static
{
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static;
}

impl<S, B> HttpService for S
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Body = B;
}

/// The number of calls that were cut off.
#[derive(Debug, Clone, Default)]
pub(crate) struct CutOffCalls(Arc<AtomicUsize>);

impl CutOffCalls {
    // Relaxed: the server reads the count after each task has added its calls and dropped its follower.
    pub(crate) fn get(&self) -> usize {
        self.0.load(Relaxed)
    }

    fn add(&self, calls: usize) {
        self.0.fetch_add(calls, Relaxed);
    }
}

/// How the task of a connection ended.
enum Ended {
    /// The connection was closed or upgraded, or exceeded a limit.
    Over,
    /// The time to drain was over.
    CutOff { calls: usize },
}

/// Everything that the connections of one listener share.
pub(crate) struct Connections<S> {
    pub(crate) config: Arc<Config>,
    pub(crate) service: S,
    pub(crate) follower: PhaseFollower,
    pub(crate) cut_off: CutOffCalls,
    /// One permit for each connection, until it is closed.
    pub(crate) slots: Arc<Semaphore>,
}

impl<S: HttpService> Connections<S> {
    /// Serves one connection from its handshake to its end.
    pub(crate) fn serve<Io, F>(
        &self,
        handshake: F,
        permit: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send + use<S, Io, F>
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Future<Output = io::Result<Accepted<Io>>> + Send + 'static,
    {
        let (config, service) = (self.config.clone(), self.service.clone());
        let (follower, cut_off) = (self.follower.clone(), self.cut_off.clone());
        async move {
            let handshake = timeout(config.handshake_timeout, handshake);
            let accepted = tokio::select! {
                accepted = handshake => accepted,
                () = follower.clone().reached(Phase::Draining) => return,
            };
            // A handshake that fails or takes too long is the client's business.
            let Ok(Ok(accepted)) = accepted else { return };
            let activity = Arc::new(Activity::default());
            let io = MonitoredIo::new(
                accepted.io,
                activity.clone(),
                CutOffSignal::new(follower.clone()),
                !config.limits.half_close.is_zero(),
                permit,
            );
            let service = CallService {
                inner: service,
                activity: activity.clone(),
                extensions: accepted.extensions,
                head_limits: config.head_limits,
                body_timeout: config.body_timeout,
            };
            let streams = Streams::default();
            let connection = config
                .http(streams.clone())
                .serve_connection_with_upgrades(TokioIo::new(io), service)
                .into_owned();
            let timer = ConnectionTimer::new(with_jitter(config.limits));
            if let Ended::CutOff { calls } = run(connection, timer, &activity, follower).await {
                cut_off.add(calls);
            }
            streams.shut_down().await;
        }
    }
}

/// Runs a connection until it is closed, upgraded, or over one of its limits; then drops it.
async fn run<Io, S, E>(
    connection: UpgradeableConnection<'static, TokioIo<Io>, CallService<S>, E>,
    mut timer: ConnectionTimer,
    activity: &Activity,
    follower: PhaseFollower,
) -> Ended
where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService,
    E: HttpServerConnExec<CallFuture<S>, ResponseBody<S::Body>>,
{
    let mut connection = pin!(connection);
    let mut draining = pin!(follower.clone().reached(Phase::Draining));
    let mut cut_off = pin!(follower.reached(Phase::CutOff));
    let mut alarm = pin!(Alarm::new());
    let mut is_draining = false;
    poll_fn(|cx| {
        if !is_draining && draining.as_mut().poll(cx).is_ready() {
            is_draining = true;
            connection.as_mut().graceful_shutdown();
        }
        if is_draining && cut_off.as_mut().poll(cx).is_ready() {
            let calls = activity.snapshot().in_flight;
            return Poll::Ready(Ended::CutOff { calls });
        }
        loop {
            // An error of a connection is the client's business: a reset, or a violation of the protocol.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ended::Over);
            }
            match timer.update(alarm.now(), activity.snapshot()) {
                Step::Wait(until) if alarm.as_mut().poll_until(until, cx).is_pending() => {
                    return Poll::Pending;
                }
                Step::Wait(_) => {}
                Step::Close => connection.as_mut().graceful_shutdown(),
                Step::Cut => return Poll::Ready(Ended::Over),
            }
        }
    })
    .await
}

/// The timer of a connection. Later times do not reset it, so that calls rarely do.
#[pin_project]
struct Alarm {
    start: Instant,
    /// The time for which `sleep` is set, since the start.
    at: Duration,
    #[pin]
    sleep: Sleep,
}

impl Alarm {
    /// The longest sleep: no time overflows.
    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn new() -> Self {
        let start = Instant::now();
        Self {
            start,
            at: Self::DAY,
            sleep: sleep_until(start + Self::DAY),
        }
    }

    /// Returns the time since the start.
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Is ready once `until` is reached, or a day is over.
    fn poll_until(self: Pin<&mut Self>, until: Duration, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        if until < *this.at {
            *this.at = until;
            this.sleep.as_mut().reset(*this.start + until);
        }
        while this.sleep.as_mut().poll(cx).is_ready() {
            let now = this.start.elapsed();
            if now >= until {
                // The next time may be earlier or later, and is set anew.
                *this.at = Duration::MAX;
                return Poll::Ready(());
            }
            *this.at = until.min(now + Self::DAY);
            this.sleep.as_mut().reset(*this.start + *this.at);
        }
        Poll::Pending
    }
}

/// Changes the age by up to a tenth at random, so that connections that began together do not end together.
fn with_jitter(mut limits: Limits) -> Limits {
    if let Some((age, _)) = &mut limits.age {
        let tenth = age.as_nanos() as u64 / 10;
        *age =
            *age - Duration::from_nanos(tenth) + Duration::from_nanos(fastrand::u64(0..=2 * tenth));
    }
    limits
}
