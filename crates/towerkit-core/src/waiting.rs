use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::{pin_project, pinned_drop};
use tower_service::Service;

use crate::{
    Admission, Answer, Armed, Bypass, Call, End, Follow, Protocol, Shape, Shared,
    backpressure::Readiness,
    role::Begun,
    role::needs_end_if_it_follows,
    row::{Pace, RowFuture},
    waiting_role::WaitingRole,
};

/// The pace of a row in which an [`AsyncGuard`](crate::AsyncGuard) takes part.
#[derive(Debug)]
pub enum Waiting {}

impl Pace for Waiting {
    type With<B: Pace> = Self;
    type Service<S, R: Shape, P> = WaitingRow<S, R, P>;

    fn service<S, R: Shape, P>(inner: S, roles: Shared<R>, protocol: P) -> WaitingRow<S, R, P> {
        const { needs_end_if_it_follows::<R>() };
        WaitingRow {
            inner,
            roles,
            protocol,
            readiness: Readiness::new(),
        }
    }
}

/// The middleware that runs a row of roles of which one may have to wait.
///
/// # Readiness
///
/// As for [`Row`](crate::Row). A call that waits gives the readiness of the inner service back first, and gets its own once it is
/// admitted, from a clone.
pub struct WaitingRow<S, R: Shape, P> {
    inner: S,
    roles: Shared<R>,
    protocol: P,
    readiness: Readiness<R::Refusal>,
}

impl<S: Clone, R: Shape, P: Clone> Clone for WaitingRow<S, R, P> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            roles: self.roles.clone(),
            protocol: self.protocol.clone(),
            readiness: Readiness::new(),
        }
    }
}

impl<S: fmt::Debug, R: Shape, P> fmt::Debug for WaitingRow<S, R, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingRow")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S, R, P, Req> Service<Req> for WaitingRow<S, R, P>
where
    S: Service<Req> + Clone,
    R: WaitingRole<Req>,
    P: Protocol<Req> + Clone,
    P::Exchange: Answer<S::Response, S::Error, R::Refusal>,
{
    type Response = <P::Exchange as Follow<S::Response, S::Error>>::Response<R>;
    type Error = S::Error;
    type Future = WaitingFuture<S, R, P, Req>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let roles = &*self.roles;
        let asked = self
            .readiness
            .poll(cx, || roles.backpressure(), || roles.shut());
        if ready!(asked) {
            return Poll::Ready(Ok(()));
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Req) -> Self::Future {
        let mut call = Call::new(&mut request, &self.protocol);
        let exchange = self.protocol.open(call.request, call.protocol());
        let state = match self.roles.begin(&mut call) {
            Err(refusal) => State::Running(RowFuture::refused(Box::new(refusal), exchange)),
            Ok(Admission::Later(wait)) => State::Waiting(Wait {
                wait,
                roles: Some(self.roles.clone()),
                parked: Some(self.park(request, exchange)),
            }),
            Ok(Admission::Now(held)) => {
                if let Some(shut) = self.readiness.take_refusal() {
                    // As in `Row`: the inner service was not polled ready. A call that waits gets readiness of its own.
                    let shut = Begun::new(&*self.roles, held).turn_away(shut, &call);
                    State::Running(RowFuture::refused(Box::new(shut), exchange))
                } else {
                    let armed = Armed::new(&self.roles, held);
                    State::Running(RowFuture::run(armed, exchange, || self.inner.call(request)))
                }
            }
        };
        WaitingFuture { state }
    }
}

impl<S, R, P, Req> Bypass<Req> for WaitingRow<S, R, P>
where
    S: Service<Req> + Clone,
    R: WaitingRole<Req>,
    P: Protocol<Req> + Clone,
    P::Exchange: Answer<S::Response, S::Error, R::Refusal>,
{
    fn poll_ready_for_bypass(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn bypass(&mut self, request: Req) -> Self::Future {
        let exchange = self.protocol.open(&request, self.protocol.kind(&request));
        let run = RowFuture::run(Armed::none(), exchange, || self.inner.call(request));
        WaitingFuture {
            state: State::Running(run),
        }
    }
}

impl<S: Clone, R: Shape, P: Clone> WaitingRow<S, R, P> {
    /// Puts a call aside. The readied instance is dropped here, so that a call that waits holds nothing of the inner service.
    fn park<Req>(&mut self, request: Req, exchange: P::Exchange) -> Parked<S, P, Req>
    where
        P: Protocol<Req>,
    {
        let fresh = self.inner.clone();
        Parked {
            inner: mem::replace(&mut self.inner, fresh).clone(),
            request,
            exchange,
            protocol: self.protocol.clone(),
        }
    }
}

/// What stays behind while a call waits.
struct Parked<S, P: Protocol<Req>, Req> {
    inner: S,
    request: Req,
    exchange: P::Exchange,
    protocol: P,
}

/// The future of a [`WaitingRow`].
///
/// Dropping it cancels the call: what waits is dropped, and the roles that had begun are finished as cancelled.
#[pin_project]
pub struct WaitingFuture<S, R, P, Req>
where
    S: Service<Req>,
    R: WaitingRole<Req>,
    P: Protocol<Req>,
{
    #[pin]
    state: State<S, R, P, Req>,
}

#[pin_project(project = StateProj)]
enum State<S, R, P, Req>
where
    S: Service<Req>,
    R: WaitingRole<Req>,
    P: Protocol<Req>,
{
    Waiting(#[pin] Wait<S, R, P, Req>),
    /// The inner service comes first, since it is dropped before the roles are finished.
    Readying(Option<(Parked<S, P, Req>, Armed<R>)>),
    Running(#[pin] RowFuture<S::Future, R, P::Exchange>),
}

#[pin_project(PinnedDrop)]
struct Wait<S, R: WaitingRole<Req>, P: Protocol<Req>, Req> {
    #[pin]
    wait: R::Wait,
    roles: Option<Shared<R>>,
    parked: Option<Parked<S, P, Req>>,
}

#[pinned_drop]
impl<S, R: WaitingRole<Req>, P: Protocol<Req>, Req> PinnedDrop for Wait<S, R, P, Req> {
    fn drop(self: Pin<&mut Self>) {
        let me = self.project();
        if let Some(roles) = me.roles.take() {
            drop(me.parked.take());
            roles.abandon(me.wait, &End::cancelled());
        }
    }
}

type Decided<S, R, P, Req> = (Result<Armed<R>, <R as Shape>::Refusal>, Parked<S, P, Req>);

impl<S, R: WaitingRole<Req>, P: Protocol<Req>, Req> Wait<S, R, P, Req> {
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Decided<S, R, P, Req>> {
        let mut me = self.project();
        let parked = me.parked.as_mut().expect("parked while it waits");
        let mut call = Call::new(&mut parked.request, &parked.protocol);
        // A panic leaves `roles` empty, so that the drop that follows does not finish them a second time.
        let roles = me.roles.take().expect("shared while it waits");
        let mut fuse = Fuse {
            roles: &roles,
            wait: me.wait.as_mut(),
            lit: true,
        };
        let polled = roles.poll_wait(fuse.wait.as_mut(), cx, &mut call);
        fuse.lit = false;
        drop(fuse);
        let Poll::Ready(begun) = polled else {
            *me.roles = Some(roles);
            return Poll::Pending;
        };
        let begun = begun.map(|held| Armed::new(&roles, held));
        let parked = me.parked.take().expect("parked while it waits");
        Poll::Ready((begun, parked))
    }
}

/// Finishes the roles that had begun if what they wait for panics.
struct Fuse<'a, R: WaitingRole<Req>, Req> {
    roles: &'a Shared<R>,
    wait: Pin<&'a mut R::Wait>,
    lit: bool,
}

impl<R: WaitingRole<Req>, Req> Drop for Fuse<'_, R, Req> {
    fn drop(&mut self) {
        if self.lit {
            self.roles.abandon(self.wait.as_mut(), &End::in_panic());
        }
    }
}

impl<S, R, P, Req> Future for WaitingFuture<S, R, P, Req>
where
    S: Service<Req>,
    R: WaitingRole<Req>,
    P: Protocol<Req>,
    P::Exchange: Answer<S::Response, S::Error, R::Refusal>,
{
    type Output = Result<<P::Exchange as Follow<S::Response, S::Error>>::Response<R>, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            match state.as_mut().project() {
                StateProj::Waiting(wait) => {
                    let (begun, parked) = ready!(wait.poll(cx));
                    match begun {
                        Ok(armed) => state.set(State::Readying(Some((parked, armed)))),
                        Err(refusal) => {
                            return Poll::Ready(parked.exchange.answer(refusal));
                        }
                    }
                }
                StateProj::Readying(ready) => {
                    let (parked, armed) = ready.as_mut().expect("there until called");
                    let polled = ready!(armed.watch(|| parked.inner.poll_ready(cx)));
                    let (parked, mut armed) = ready.take().expect("there until called");
                    let Parked {
                        mut inner,
                        request,
                        exchange,
                        ..
                    } = parked;
                    if let Err(error) = polled {
                        armed.watch(|| drop((inner, request)));
                        let result = Err(error);
                        let answer = armed.guarded(|armed| exchange.conclude(result, armed));
                        return Poll::Ready(answer);
                    }
                    // The readied instance is dropped with the closure, inside the roles.
                    let run = RowFuture::run(armed, exchange, move || inner.call(request));
                    state.set(State::Running(run));
                }
                StateProj::Running(run) => return run.poll(cx),
            }
        }
    }
}

impl<S, R, P, Req> fmt::Debug for WaitingFuture<S, R, P, Req>
where
    S: Service<Req>,
    R: WaitingRole<Req>,
    P: Protocol<Req>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WaitingFuture").finish_non_exhaustive()
    }
}
