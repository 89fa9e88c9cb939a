use std::sync::Arc;
use std::sync::atomic::Ordering;

use guides::Room;
use towerkit_core::{AsGuard, Plain, PolicyLayer, PolicyService, policy_layer};

/// Admits so many calls at a time, over all services that it makes.
#[derive(Debug, Clone)]
pub struct RoomLayer<P = Plain> {
    policies: PolicyLayer<AsGuard<Arc<Room>>, P>,
}

/// A service behind a [`RoomLayer`].
pub type Roomed<S, P = Plain> = PolicyService<S, AsGuard<Arc<Room>>, P>;

impl RoomLayer {
    /// Admits `places` calls at a time.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let free = places.into();
        let room = AsGuard::new(Arc::new(Room { free }));
        Self {
            policies: PolicyLayer::new(room, Plain::default()),
        }
    }
}

impl<P> RoomLayer<P> {
    /// Returns a handle on the room, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> RoomHandle {
        RoomHandle(self.policies.policies().policy().clone())
    }
}

policy_layer!(RoomLayer, AsGuard<Arc<Room>>, Plain);

/// Tells how full a room is.
#[derive(Debug, Clone)]
pub struct RoomHandle(Arc<Room>);

impl RoomHandle {
    /// Returns how many calls would be admitted at this moment.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.free.load(Ordering::Relaxed)
    }
}
