use std::{sync::Arc, time::Duration};

use towerkit_core::{ConfigError, EventQueue, EventSink, Name};

use crate::AddressPolicy;

/// The options of a [`Discovery`](crate::Discovery), with which a source is started.
///
/// ```
/// use std::time::Duration;
/// use towerkit_discovery::{DiscoveryOptions, Instance, StaticInstances};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), towerkit_core::ConfigError> {
/// let discovery = DiscoveryOptions::new()
///     .name("addsvc")
///     .keep_for(Duration::from_secs(3600))?
///     .hold_empty(Duration::from_secs(10))?
///     .spawn(StaticInstances::new([Instance::new("10.0.0.7:80".parse()?)]));
/// # drop(discovery); Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct DiscoveryOptions {
    pub(crate) name: Option<Name>,
    pub(crate) events: EventQueue,
    pub(crate) address_policy: Option<AddressPolicy>,
    pub(crate) keep_for: Option<Duration>,
    pub(crate) hold_empty: Option<Duration>,
}

impl DiscoveryOptions {
    /// Makes the default options.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the name of the service for events. Default: `discovery`.
    #[must_use]
    pub fn name(mut self, name: impl Into<Name>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets the receiver of events: changes of the set and of the status, and instances that were refused.
    #[must_use]
    pub fn events(mut self, sink: impl EventSink + 'static) -> Self {
        self.events = EventQueue::new(Some(Arc::new(sink)));
        self
    }

    /// Allows loopback, link-local and metadata addresses, as instances on a developer's machine have them.
    ///
    /// Default: the policy of the source, which is [`AddressPolicy::Remote`] for registries.
    #[must_use]
    pub const fn development(mut self) -> Self {
        self.address_policy = Some(AddressPolicy::Any);
        self
    }

    /// Limits how long the last known set is used while the registry does not answer. Default: without a limit.
    ///
    /// After that the set is empty and the status [`Lost`](crate::DiscoveryStatus::Lost).
    ///
    /// # Errors
    ///
    /// Returns an error if `duration` is zero or longer than 365 days.
    pub fn keep_for(mut self, duration: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("keep_for", duration)?;
        self.keep_for = Some(duration);
        Ok(self)
    }

    /// Sets how long the last set is used after the registry lists no instances at all. Default: not at all.
    ///
    /// A registry that was restarted without its data lists no instances until they have registered again. Meanwhile the status is
    /// [`Stale`](crate::DiscoveryStatus::Stale).
    ///
    /// # Errors
    ///
    /// Returns an error if `duration` is zero or longer than 365 days.
    pub fn hold_empty(mut self, duration: Duration) -> Result<Self, ConfigError> {
        ConfigError::check_duration("hold_empty", duration)?;
        self.hold_empty = Some(duration);
        Ok(self)
    }
}
