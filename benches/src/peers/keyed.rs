use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock, QuantaClock},
};
use pin_project::pin_project;
use tower::{BoxError, Layer, Service, layer::layer_fn};

/// A service behind governor's limit for each key, which the request itself is.
#[derive(Debug, Clone)]
pub struct KeyGoverned<S> {
    inner: S,
    limiter: Arc<DefaultKeyedRateLimiter<u64>>,
    clock: QuantaClock,
}

impl<S> KeyGoverned<S> {
    /// Returns how many keys it remembers.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.limiter.len()
    }
}

/// Makes governor's limit for each key, of a billion calls a second.
///
/// # Panics
///
/// Never: the quota is valid.
#[must_use]
pub fn governor_keyed<S>() -> impl Layer<S, Service = KeyGoverned<S>> {
    let quota = Quota::per_second(1_000_000_000.try_into().expect("not zero"));
    let limiter = Arc::new(RateLimiter::keyed(quota));
    layer_fn(move |inner| KeyGoverned {
        inner,
        limiter: limiter.clone(),
        clock: QuantaClock::default(),
    })
}

impl<S: Service<u64, Error = BoxError>> Service<u64> for KeyGoverned<S> {
    type Response = S::Response;
    type Error = BoxError;
    type Future = KeyGovernedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, key: u64) -> Self::Future {
        match self.limiter.check_key(&key) {
            Ok(()) => KeyGovernedFuture::Admitted(self.inner.call(key)),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now());
                KeyGovernedFuture::Rejected(Some(format!("wait for {wait:?}").into()))
            }
        }
    }
}

/// The future of a [`KeyGoverned`].
#[derive(Debug)]
#[pin_project(project = Projection)]
pub enum KeyGovernedFuture<F> {
    /// The call goes ahead.
    Admitted(#[pin] F),
    /// The call is rejected.
    Rejected(Option<BoxError>),
}

impl<F: Future<Output = Result<T, BoxError>>, T> Future for KeyGovernedFuture<F> {
    type Output = Result<T, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            Projection::Admitted(inner) => inner.poll(cx),
            Projection::Rejected(error) => {
                Poll::Ready(Err(error.take().expect("not polled after completion")))
            }
        }
    }
}
