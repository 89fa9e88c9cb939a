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
    rt::{TokioExecutor, TokioIo},
    server::conn::auto::UpgradeableConnection,
};
use pin_project::pin_project;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::unconstrained,
    time::{Instant, Sleep, sleep, sleep_until, timeout},
};
use tower_service::Service;
use towerkit_core::BoxError;

use crate::{
    activity::Activity,
    call::CallService,
    config::Config,
    connection_timer::{ConnectionTimer, Limits, Nanos, Step},
    listener::Accepted,
    monitored_io::MonitoredIo,
    phase::{CutOffSignal, Phase, PhaseFollower},
    request_body::RequestBody,
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

/// How often to look for the end of calls that were cut off.
const CUT_OFF_POLL: Duration = Duration::from_millis(1);

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
                config.limits.half_close > 0,
                permit,
            );
            let service = CallService {
                inner: service,
                activity: activity.clone(),
                extensions: accepted.extensions,
                head_limits: config.head_limits,
                body_timeout: config.body_timeout,
            };
            let connection = config
                .http()
                .serve_connection_with_upgrades(TokioIo::new(io), service)
                .into_owned();
            let timer = ConnectionTimer::new(with_jitter(config.limits));
            if let Ended::CutOff { calls } = run(connection, timer, &activity, follower).await {
                cut_off.add(calls);
                // Calls over HTTP/2 are tasks, which end once they see that their connection is gone.
                while activity.has_calls() {
                    sleep(CUT_OFF_POLL).await;
                }
            }
        }
    }
}

/// Runs a connection until it is closed, upgraded, or over one of its limits; then drops it.
async fn run<Io, S>(
    connection: UpgradeableConnection<'static, TokioIo<Io>, CallService<S>, TokioExecutor>,
    mut timer: ConnectionTimer,
    activity: &Activity,
    follower: PhaseFollower,
) -> Ended
where
    Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: HttpService,
{
    let mut connection = pin!(connection);
    // Without a budget, so that a poll that is pending has registered the task. That is the same in each poll.
    let mut draining = pin!(unconstrained(follower.clone().reached(Phase::Draining)));
    let mut cut_off = pin!(follower.clone().reached(Phase::CutOff));
    let mut alarm = pin!(Alarm::new());
    let (mut is_registered, mut is_draining) = (false, false);
    poll_fn(|cx| {
        loop {
            // An error of a connection is the client's business: a reset, or a violation of the protocol.
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ended::Over);
            }
            // After the poll, so that a request that has arrived is served.
            let may_drain = !is_registered || !follower.is_serving();
            if !is_draining && may_drain {
                is_registered = true;
                if draining.as_mut().poll(cx).is_ready() {
                    is_draining = true;
                    connection.as_mut().graceful_shutdown();
                    timer.close(alarm.now());
                    continue;
                }
            }
            if is_draining && cut_off.as_mut().poll(cx).is_ready() {
                let calls = activity.snapshot().in_flight;
                return Poll::Ready(Ended::CutOff { calls });
            }
            let now = alarm.now();
            match timer.update(now, activity.snapshot()) {
                Step::Wait(until) => {
                    if alarm.as_mut().poll_until(until, now, cx).is_pending() {
                        return Poll::Pending;
                    }
                }
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
    /// The time for which `sleep` is set.
    at: Nanos,
    /// Whether `sleep` wakes the task, which is always the same one.
    is_armed: bool,
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
            at: Nanos::MAX,
            is_armed: false,
            sleep: sleep_until(start + Self::DAY),
        }
    }

    /// Returns the time since the start.
    fn now(&self) -> Nanos {
        self.start.elapsed().as_nanos() as Nanos
    }

    /// Is ready once `until` is reached, or a day is over.
    fn poll_until(
        self: Pin<&mut Self>,
        until: Nanos,
        now: Nanos,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let mut this = self.project();
        if until < *this.at || *this.at <= now {
            *this.at = until.min(now + Self::DAY.as_nanos() as Nanos);
            let at = *this.start + Duration::from_nanos(*this.at);
            this.sleep.as_mut().reset(at);
            *this.is_armed = false;
        }
        if !*this.is_armed {
            // Without a budget, so that it is armed if it is pending.
            let sleep = pin!(unconstrained(this.sleep.as_mut()));
            *this.is_armed = sleep.poll(cx).is_pending();
        }
        match *this.is_armed {
            true => Poll::Pending,
            // It elapsed in the meantime.
            false => Poll::Ready(()),
        }
    }
}

/// Changes the age by up to a tenth at random, so that connections that began together do not end together.
fn with_jitter(mut limits: Limits) -> Limits {
    if let Some((age, _)) = &mut limits.age {
        let tenth = *age / 10;
        *age = *age - tenth + fastrand::u64(0..=2 * tenth);
    }
    limits
}
