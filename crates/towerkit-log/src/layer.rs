use std::{borrow::Cow, sync::Arc};

use towerkit_core::{
    AsObserver, CallEnd, CallView, Clock, LayerState, NoProtocol, PolicyLayer, PolicyService,
    StateHandle,
};
use tracing::{Level, level_filters::LevelFilter};

use crate::{LogObserver, Sampling, level::Threshold, own_field::OwnField, sampling::Sampler};

/// A layer that logs each call once, at its end.
///
/// Say the protocol with `.http()`, `.grpc()` or `.plain("operation")`, or put the layer into a policy stack. See the [crate docs](crate) for the
/// fields and an example.
#[derive(Debug, Clone)]
pub struct LogLayer<P = NoProtocol> {
    policies: PolicyLayer<AsObserver<LogObserver>, P>,
    chosen: LayerState<Arc<Chosen>>,
}

/// A service behind a [`LogLayer`].
pub type Log<S, P = NoProtocol> = PolicyService<S, AsObserver<LogObserver>, P>;

impl LogLayer {
    /// Logs calls through `tracing`, with the target `towerkit::call`.
    #[must_use]
    pub fn new() -> Self {
        let log = LogObserver::new();
        Self {
            chosen: LayerState::new(log.chosen.clone()),
            policies: PolicyLayer::new(AsObserver::new(log), NoProtocol::default()),
        }
    }
}

impl<P> LogLayer<P> {
    /// Sets the message of the events, which tells several layers apart; `call` by default.
    #[must_use]
    pub fn name(mut self, name: &'static str) -> Self {
        self.log().name = name;
        self
    }

    /// Asks a function for the level of every call, at its end; [`level_of`](crate::level_of) by default.
    ///
    /// If it panics, the level is the default one.
    ///
    /// ```
    /// use towerkit_core::Outcome;
    /// use towerkit_log::{LogLayer, level_of};
    /// use tracing::Level;
    ///
    /// let quiet = LogLayer::new().level(|end| match end.outcome() {
    ///     Outcome::Success => Level::DEBUG,
    ///     _ => level_of(end),
    /// });
    /// # let _ = quiet;
    /// ```
    #[must_use]
    pub fn level(mut self, level: impl Fn(&CallEnd) -> Level + Send + Sync + 'static) -> Self {
        self.log().level = Some(Arc::new(level));
        self
    }

    /// Adds a field to the events of calls: its name, and a function that reads its value as a call starts; no field by default.
    ///
    /// A second field of one name takes the place of the first. `path`, `client_address` and `request_id` take the place of the layer's
    /// own, as below behind a proxy. A function that panics adds nothing. The call sees its headers and whatever is in its extensions:
    ///
    /// ```
    /// use http::{Extensions, HeaderMap};
    /// use towerkit_http::{ClientAddress, HttpExt};
    /// use towerkit_log::LogLayer;
    ///
    /// #[derive(Clone)]
    /// struct Tenant(String);
    ///
    /// let clients = ClientAddress::new().trust(["10.0.0.0/8"])?;
    /// let layer = LogLayer::new()
    ///     .field("tenant", |call| {
    ///         let tenant: &Tenant = call.part::<Extensions>()?.get()?;
    ///         Some(tenant.0.as_str().into())
    ///     })
    ///     .field("user_agent", |call| call.header("user-agent").map(Into::into))
    ///     .field("client_address", move |call| {
    ///         let headers: &HeaderMap = call.part()?;
    ///         let address = clients.find(headers, call.part()?)?;
    ///         Some(address.to_string().into())
    ///     })
    ///     .http();
    /// # let _ = layer;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn field(
        mut self,
        name: &'static str,
        value: impl for<'a> Fn(&'a CallView<'a>) -> Option<Cow<'a, str>> + Send + Sync + 'static,
    ) -> Self {
        self.log().add(OwnField::new(name, value));
        self
    }

    /// Leaves calls out; none by default. The layer's handle changes it.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        let before = self.chosen.get();
        let chosen = Arc::new(Chosen::all());
        chosen.threshold.set(before.threshold.get());
        chosen.sampler.change(sampling);
        self.log().chosen = chosen.clone();
        self.chosen.replace(chosen);
        self
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.log().clock = clock;
        self
    }

    /// Returns a handle on what is logged, which all services of this layer share. It follows the layer through later setters.
    #[must_use]
    pub fn handle(&self) -> LogHandle {
        LogHandle(self.chosen.handle())
    }

    fn log(&mut self) -> &mut LogObserver {
        if self.policies.is_used() {
            self.chosen.mark_used();
        }
        self.policies.policy_mut().get_mut()
    }
}

towerkit_core::policy_layer!(LogLayer { chosen }, AsObserver<LogObserver>, NoProtocol);

impl Default for LogLayer {
    fn default() -> Self {
        Self::new()
    }
}

/// Reads and changes which calls a [`LogLayer`] logs, while it runs.
///
/// What the subscriber does not let through is not logged in any case.
#[derive(Debug, Clone)]
pub struct LogHandle(StateHandle<Arc<Chosen>>);

/// Which calls are logged.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) threshold: Threshold,
    pub(crate) sampler: Sampler,
}

impl Chosen {
    pub(crate) const fn all() -> Self {
        Self {
            threshold: Threshold::all(),
            sampler: Sampler::new(),
        }
    }
}

impl LogHandle {
    /// Returns the settings and the counts of this moment.
    #[must_use]
    pub fn snapshot(&self) -> LogSnapshot {
        let chosen = self.0.get();
        LogSnapshot {
            level: chosen.threshold.get(),
            sampling: chosen.sampler.sampling(),
            left_out: chosen.sampler.left_out(),
        }
    }

    /// Logs calls of this level and above from now on.
    ///
    /// After [`LevelFilter::OFF`], calls that have started meanwhile are not logged.
    pub fn set_level(&self, level: impl Into<LevelFilter>) {
        self.0.get().threshold.set(level.into());
    }

    /// Leaves other calls out from now on. Counts go on.
    pub fn set_sampling(&self, sampling: Sampling) {
        self.0.get().sampler.change(sampling);
    }
}

/// The settings and the counts of a [`LogLayer`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogSnapshot {
    /// The least severe level that is logged: [`LevelFilter::TRACE`] at first, which logs every call.
    pub level: LevelFilter,
    /// The share of calls that is logged.
    pub sampling: Sampling,
    /// The calls that the [`Sampling`] has left out since the start.
    pub left_out: u64,
}
