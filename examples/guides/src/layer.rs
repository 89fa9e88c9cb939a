use std::sync::Arc;
use std::sync::atomic::Ordering;

use guides::Room;
use towerkit_core::{Guards, Plain, Row, RowLayer, row_layer};

/// Admits so many calls at a time, over all services that it makes.
#[derive(Debug, Clone)]
pub struct RoomLayer<P = Plain> {
    row: RowLayer<Guards<Arc<Room>>, P>,
}

/// A service behind a [`RoomLayer`].
pub type Roomed<S, P = Plain> = Row<S, Guards<Arc<Room>>, P>;

impl RoomLayer {
    /// Admits `places` calls at a time.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let free = places.into();
        let room = Guards::new(Arc::new(Room { free }));
        Self {
            row: RowLayer::new(room, Plain::default()),
        }
    }
}

impl<P> RoomLayer<P> {
    /// Returns a handle on the room, which all services of this layer share.
    #[must_use]
    pub fn handle(&self) -> RoomHandle {
        RoomHandle(self.row.role().policy().clone())
    }
}

row_layer!(RoomLayer, Guards<Arc<Room>>, Plain);

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
