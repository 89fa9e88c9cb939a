use std::{borrow::Cow, sync::Arc};

use towerkit_core::{
    AsObserver, CallEnd, CallView, Clock, LayerState, Name, NoProtocol, PolicyLayer, PolicyService,
};
use tracing::Level;

use crate::{LogHandle, LogObserver, Sampling, config::ExtraField, handle::Selection};

/// A layer that logs each call once, when the call ends.
///
/// Choose the protocol with `.http()`, `.grpc()` or [`.plain("operation")`](towerkit_core::LayerExt::plain), or put the layer into a
/// policy [`stack`](towerkit_core::stack()). See the [crate docs](crate) for the fields and an example.
#[derive(Debug, Clone)]
pub struct LogLayer<P = NoProtocol> {
    policies: PolicyLayer<AsObserver<LogObserver>, P>,
    selection: LayerState<Arc<Selection>>,
}

/// The service that [`LogLayer`] makes.
pub type Log<S, P = NoProtocol> = PolicyService<S, AsObserver<LogObserver>, P>;

impl LogLayer {
    /// Creates a layer that logs all calls through [`tracing`], with the target `towerkit::call`.
    #[must_use]
    pub fn new() -> Self {
        let observer = LogObserver::new();
        Self {
            selection: LayerState::new(observer.selection.clone()),
            policies: PolicyLayer::new(AsObserver::new(observer), NoProtocol::default()),
        }
    }
}

impl<P> LogLayer<P> {
    /// Sets the message of the events, which tells several layers apart; `call` by default.
    #[must_use]
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.observer().name = name.into();
        self
    }

    /// Sets the function that chooses the level of each call at its end; [`level_of`](crate::level_of) by default.
    ///
    /// If the function panics, the call gets its default level.
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
        self.observer().level = Some(Arc::new(level));
        self
    }

    /// Adds a field to the events: its name, and a function that reads its value when a call starts.
    ///
    /// No field is added by default. A field replaces an earlier one of the same name, including the layer's own `path`,
    /// `client_address` and `request_id`. If the function returns [`None`] or panics, the event has no such field. The [`CallView`]
    /// provides the request's headers and extensions:
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
        self.observer().add_field(ExtraField::new(name, value));
        self
    }

    /// Sets which calls are left out; by default all calls are logged. [`LogHandle::set_sampling`] changes it at run time.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        let before = self.selection.get();
        let selection = Arc::new(Selection::all());
        selection.threshold.set(before.threshold.get());
        selection.sampler.set_sampling(sampling);
        self.observer().selection = selection.clone();
        self.selection.replace(selection);
        self
    }

    /// Sets the clock for latencies and sampling; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.observer().clock = clock;
        self
    }

    /// Returns a handle that all services of this layer share. The handle follows the layer through later setters.
    #[must_use]
    pub fn handle(&self) -> LogHandle {
        LogHandle(self.selection.handle())
    }

    fn observer(&mut self) -> &mut LogObserver {
        if self.policies.is_used() {
            self.selection.mark_used();
        }
        self.policies.policy_mut().get_mut()
    }
}

towerkit_core::policy_layer!(LogLayer { selection }, AsObserver<LogObserver>, NoProtocol);

impl Default for LogLayer {
    fn default() -> Self {
        Self::new()
    }
}
