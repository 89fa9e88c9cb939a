use std::{fmt, sync::Arc};

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use towerkit_core::{BoxError, Clock, Event, EventQueue, Name, Rejection, RejectionReason};

use crate::{
    IssuedToken, TokenSource,
    load_schedule::Reason,
    loader::{Loader, Waiter, describe},
};

/// The options of an [`AccessTokenLayer`](crate::AccessTokenLayer).
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) source: Arc<dyn TokenSource>,
    pub(crate) name: Name,
    pub(crate) clock: Clock,
    pub(crate) events: EventQueue,
}

/// The token that all services of a layer share.
pub(crate) struct TokenState {
    pub(crate) config: Config,
    current: ArcSwapOption<Current>,
    loader: Arc<Loader>,
}

struct Current {
    token: IssuedToken,
    expires: u64,
}

impl TokenState {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            loader: Loader::new(config.clock.clone(), 0),
            current: ArcSwapOption::empty(),
            config,
        }
    }

    /// Returns the header with a token that is valid, and has an old token renewed in the background.
    #[inline]
    pub(crate) fn header(self: &Arc<Self>) -> Option<HeaderValue> {
        let now = self.config.clock.now();
        let header = {
            let current = self.current.load();
            let current = current.as_ref().filter(|current| now < current.expires)?;
            current.token.header().clone()
        };
        if self.loader.is_due() {
            drop(self.start());
        }
        Some(header)
    }

    /// Starts to obtain a token, or joins the call that does; `None` if it is too early after a failure.
    pub(crate) fn start(self: &Arc<Self>) -> Option<Waiter> {
        self.loader.start(Reason::Due, || Arc::clone(self).renew())
    }

    /// Obtains a token, and returns the time after which it is renewed.
    async fn renew(self: Arc<Self>) -> Result<u64, BoxError> {
        let clock = &self.config.clock;
        // The lifetime begins no later than the request for the token.
        let began = clock.now();
        match self.config.source.issue().await {
            Ok(token) => {
                let lifetime = token.lifetime();
                let expires = began.saturating_add(lifetime);
                self.current
                    .store(Some(Arc::new(Current { token, expires })));
                // Spread, so that the processes of a service do not renew at the same time.
                let share = 0.75 + 0.05 * fastrand::f64();
                let renewal = began.saturating_add((lifetime as f64 * share) as u64);
                Ok(renewal.saturating_sub(clock.now()))
            }
            Err(error) => {
                self.report(&*error);
                Err(error)
            }
        }
    }

    /// Returns the rejection of a call for which there is no token.
    #[cold]
    pub(crate) fn rejection(&self) -> Rejection {
        let rejection = Rejection::new(RejectionReason::Unavailable, self.config.name.clone());
        match self.loader.retry_after() {
            wait if wait.is_zero() => rejection,
            wait => rejection.with_retry_after(wait),
        }
    }

    fn report(&self, error: &(dyn std::error::Error + 'static)) {
        let events = &self.config.events;
        if events.has_sink() {
            events.push(Event::Other {
                layer: "access_token",
                name: self.config.name.clone(),
                event: "renewal_failed",
                message: describe(error).into(),
            });
            events.deliver();
        }
    }
}

impl fmt::Debug for TokenState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenState")
            .field("name", &self.config.name)
            .finish_non_exhaustive()
    }
}
