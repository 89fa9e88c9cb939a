use std::{
    error::Error,
    fmt,
    future::pending,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use towerkit_core::{Event, EventQueue, Name};

use crate::{
    Address, AddressPolicy, DiscoveryOptions, DiscoverySnapshot, DiscoveryStatus, Instance,
    InstanceSet, observable::Observable,
};

/// The maximum size of the tags of an instance, in bytes of keys and values.
const MAX_TAG_BYTES: usize = 16 * 1024;
/// The maximum length of a zone or a version in bytes.
const MAX_WORD_BYTES: usize = 256;
/// The number of refused addresses that an event names.
const NAMED_ADDRESSES: usize = 5;

/// The side of a [`Source`](crate::Source): sends the instances of a service to its [`Discovery`](crate::Discovery).
///
/// It applies the rules that are the same for all registries: it refuses addresses by the [`AddressPolicy`], keeps one instance of
/// each address and at most [`InstanceSet::CAPACITY`], drops the tags of an instance over 16 KiB, and a zone or version over 256
/// bytes. A clone sends to the same discovery.
#[derive(Clone)]
pub struct InstanceSender(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) snapshot: Observable<DiscoverySnapshot>,
    options: DiscoveryOptions,
    address_policy: AddressPolicy,
    /// The next change that time makes. Written under the lock of `snapshot`.
    expiry: Mutex<Option<(Instant, Expiry)>>,
    expiry_changed: Notify,
    /// The refused instances that were reported last.
    refused: Mutex<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Expiry {
    /// The registry has not answered for too long.
    Lost,
    /// The registry has listed no instances for long enough.
    Empty,
}

impl InstanceSender {
    pub(crate) fn new(options: DiscoveryOptions, address_policy: AddressPolicy) -> Self {
        let address_policy = options.address_policy.unwrap_or(address_policy);
        Self(Arc::new(Inner {
            snapshot: Observable::new(DiscoverySnapshot::default()),
            options,
            address_policy,
            expiry: Mutex::new(None),
            expiry_changed: Notify::new(),
            refused: Mutex::default(),
        }))
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    /// Replaces the set of instances: the registry lists these, and no others.
    pub fn set(&self, instances: impl IntoIterator<Item = Instance>) {
        let instances = self.0.accept(instances);
        let inner = &*self.0;
        inner.update(|current, expiry| {
            let is_held = instances.is_empty() && !current.instances.is_empty();
            if is_held && let Some(hold) = inner.options.hold_empty {
                if matches!(expiry, Some((_, Expiry::Empty))) {
                    return None;
                }
                let until = Instant::now() + hold;
                *expiry = Some((until, Expiry::Empty));
                return Some(DiscoverySnapshot {
                    instances: current.instances.clone(),
                    status: DiscoveryStatus::Stale {
                        error: Arc::new(NoInstances),
                        until: Some(until),
                    },
                });
            }
            *expiry = None;
            let is_same = matches!(current.status, DiscoveryStatus::Current)
                && current.instances == instances;
            (!is_same).then_some(DiscoverySnapshot {
                instances,
                status: DiscoveryStatus::Current,
            })
        });
    }

    /// Reports that the registry does not answer. The last set stays in use, and the first error since an answer is kept.
    pub fn fail(&self, error: impl Into<Box<dyn Error + Send + Sync>>) {
        let inner = &*self.0;
        inner.update(|current, expiry| {
            let has_failed = matches!(
                current.status,
                DiscoveryStatus::Stale { .. } | DiscoveryStatus::Lost { .. }
            );
            if has_failed && !matches!(expiry, Some((_, Expiry::Empty))) {
                return None;
            }
            let until = inner.options.keep_for.map(|keep| Instant::now() + keep);
            *expiry = until.map(|until| (until, Expiry::Lost));
            Some(DiscoverySnapshot {
                instances: current.instances.clone(),
                status: DiscoveryStatus::Stale {
                    error: Arc::from(error.into()),
                    until,
                },
            })
        });
    }
}

impl Inner {
    pub(crate) fn name(&self) -> Name {
        self.options.name.clone().unwrap_or(Name::new("discovery"))
    }

    pub(crate) fn events(&self) -> &EventQueue {
        &self.options.events
    }

    /// Makes the changes that time makes, for ever.
    pub(crate) async fn expire(&self) {
        loop {
            let changed = self.expiry_changed.notified();
            let expiry = *self.expiry.lock().unwrap_or_else(PoisonError::into_inner);
            let expired = async {
                match expiry {
                    Some((at, _)) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = expired => self.expire_at(Instant::now()),
            }
        }
    }

    fn expire_at(&self, now: Instant) {
        self.update(|current, expiry| {
            let (_, change) = expiry.take_if(|(at, _)| *at <= now)?;
            let status = match (change, &current.status) {
                (Expiry::Lost, DiscoveryStatus::Stale { error, .. }) => DiscoveryStatus::Lost {
                    error: error.clone(),
                },
                _ => DiscoveryStatus::Current,
            };
            Some(DiscoverySnapshot {
                instances: InstanceSet::default(),
                status,
            })
        });
    }

    fn update(
        &self,
        next: impl FnOnce(
            &DiscoverySnapshot,
            &mut Option<(Instant, Expiry)>,
        ) -> Option<DiscoverySnapshot>,
    ) {
        self.snapshot.update(|current| {
            let mut expiry = self.expiry.lock().unwrap_or_else(PoisonError::into_inner);
            let next = next(current, &mut expiry)?;
            self.push_event("changed", || {
                let count = next.instances.len();
                match next.status.error() {
                    Some(error) => format!("{}, {count} instances: {error}", next.status.as_str()),
                    None => format!("{}, {count} instances", next.status.as_str()),
                }
            });
            Some(next)
        });
        self.expiry_changed.notify_one();
        self.events().deliver();
    }

    fn push_event(&self, event: &'static str, message: impl FnOnce() -> String) {
        if self.events().has_sink() {
            self.events().push(Event::Other {
                layer: "discovery",
                name: self.name(),
                event,
                message: message().into(),
            });
        }
    }

    /// Returns the instances that may be used, and reports the others.
    fn accept(&self, instances: impl IntoIterator<Item = Instance>) -> InstanceSet {
        let mut refused: Vec<Address> = Vec::new();
        let mut count = 0;
        let mut accepted: InstanceSet = instances
            .into_iter()
            .filter_map(|instance| {
                if self.address_policy.allows(&instance.address) {
                    return Some(limit_metadata(instance));
                }
                count += 1;
                if refused.len() < NAMED_ADDRESSES {
                    refused.push(instance.address);
                }
                None
            })
            .collect();
        let surplus = accepted.len().saturating_sub(InstanceSet::CAPACITY);
        if surplus > 0 {
            accepted = accepted[..InstanceSet::CAPACITY].iter().cloned().collect();
        }
        self.report_refused(&refused, count, surplus);
        accepted
    }

    /// Reports refused instances, once while they stay the same.
    fn report_refused(&self, addresses: &[Address], count: usize, surplus: usize) {
        use fmt::Write;

        let mut message = String::new();
        if count > 0 {
            let named: Vec<_> = addresses.iter().map(Address::to_string).collect();
            let more = if count > named.len() { ", …" } else { "" };
            let _ = write!(
                message,
                "{count} refused by address: {}{more}",
                named.join(", ")
            );
        }
        if surplus > 0 {
            let separator = if message.is_empty() { "" } else { "; " };
            let _ = write!(
                message,
                "{separator}{surplus} over the capacity of {}",
                InstanceSet::CAPACITY
            );
        }
        let mut last = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != message {
            last.clone_from(&message);
            drop(last);
            if !message.is_empty() {
                self.push_event("instances_refused", || message);
                self.events().deliver();
            }
        }
    }
}

/// Drops metadata that no service needs and that fills memory.
fn limit_metadata(mut instance: Instance) -> Instance {
    let tag_bytes: usize = instance
        .tags
        .iter()
        .map(|(key, value)| key.len() + value.len())
        .sum();
    if tag_bytes > MAX_TAG_BYTES {
        instance.tags = Arc::default();
    }
    for word in [&mut instance.zone, &mut instance.version] {
        word.take_if(|word| word.len() > MAX_WORD_BYTES);
    }
    instance
}

impl fmt::Debug for InstanceSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InstanceSender")
            .field("snapshot", &self.0.snapshot.get())
            .finish_non_exhaustive()
    }
}

/// The registry lists no instances.
#[derive(Debug)]
struct NoInstances;

impl fmt::Display for NoInstances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the registry lists no instances")
    }
}

impl Error for NoInstances {}
