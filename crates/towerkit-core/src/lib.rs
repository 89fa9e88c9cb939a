//! The seams of towerkit: guards, observers, protocols, and the one middleware that runs them.
//!
//! A **guard** asks of each call whether it may go ahead, an **observer** takes note of what happens. Both are plain data and
//! decisions: they never see a future, a waker or a body. The plumbing that turns them into tower middleware stands here, once:
//! readiness, refusal, cancellation at every poll, panics, exactly one `finish` for every call, spans entered for every poll.
//!
//! To use a layer you need its crate and nothing from here but, for some services, [`LayerExt`]. To write one, read [`Guard`] and
//! [`Observer`].
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::sync::Arc;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Call, End, LayerExt, Observer, Outcome, Policy, observe};
//!
//! /// Counts calls by how they ended.
//! #[derive(Default)]
//! struct Tally([AtomicU64; 6]);
//!
//! impl Policy for Tally {
//!     type Held = ();
//!     fn finish(&self, _held: (), end: &End) {
//!         self.0[end.outcome() as usize].fetch_add(1, Ordering::Relaxed);
//!     }
//! }
//!
//! impl<Req> Observer<Req> for Tally {
//!     fn start(&self, _call: &mut Call<'_, Req>) {}
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let tally = Arc::new(Tally::default());
//! let service = ServiceBuilder::new()
//!     .layer(observe(tally.clone()).plain("halve"))
//!     .service_fn(|n: u32| async move {
//!         if n % 2 == 0 { Ok(n / 2) } else { Err(BoxError::from("odd")) }
//!     });
//!
//! assert_eq!(service.clone().oneshot(8).await.unwrap(), 4);
//! assert!(service.oneshot(7).await.is_err());
//! assert_eq!(tally.0[Outcome::Success as usize].load(Ordering::Relaxed), 1);
//! assert_eq!(tally.0[Outcome::Failure as usize].load(Ordering::Relaxed), 1);
//! # });
//! ```
//!
//! # Readiness
//!
//! Admission happens in `call`, so that a service that is ready but never called holds nothing. See [`Row`].
//!
//! # Cancellation
//!
//! Dropping a response future, or a response body that is still followed, finishes every role of the row once, as cancelled.
//!
//! # Clones
//!
//! State lives in the layer and is shared by every service that the layer makes and by their clones.
//!
//! # Errors
//!
//! The inner service's error type is never changed. A refusal is a response where the protocol has one for it, and otherwise an
//! error that implements [`Refusable`].

mod armed;
mod backpressure;
mod call;
mod call_view;
mod causes;
mod clock;
mod deadline;
mod end;
mod error_type;
mod event;
#[cfg_attr(not(feature = "fast-clock"), path = "no_fast_clock.rs")]
mod fast_clock;
mod forward;
mod hex;
mod layer;
mod layer_state;
mod macros;
mod only;
mod operations;
mod outcome;
mod plain;
mod policy;
mod protocol;
mod rejection;
mod repeat;
mod role;
mod row;
mod share;
mod sync;
mod trace_ids;
mod trace_seed;
mod type_bool;
mod waiting;
mod waiting_role;
mod waker_set;
#[cfg(all(test, towerkit_loom))]
mod waker_set_model;

pub use armed::{Armed, Shared};
pub use backpressure::Backpressure;
pub use call::{Call, Describe, ProtocolKind, TargetUri};
pub use call_view::CallView;
pub use causes::{as_error, causes};
pub use clock::{Clock, ManualClock};
pub use deadline::Deadline;
pub use end::End;
pub use error_type::{Side, error_type};
pub use event::{Event, EventSink, Outbox};
pub use hex::Hex;
pub use layer::{IntoRole, LayerExt, RowLayer, async_guard, guard, observe, stack};
pub use layer_state::{LayerState, StateHandle};
pub use only::{Bypass, Only, OnlyService, Selected};
pub use operations::Operations;
pub use outcome::{Outcome, Status};
pub use plain::{
    ByFailer, ByFunction, ByRefusable, ByResult, Classify, Failer, Plain, PlainExchange,
};
pub use policy::{Admission, AsyncGuard, Fields, Guard, Observer, Policy};
pub use protocol::{Answer, BoxError, Follow, Protocol, Refusable, Refuse, Unbound};
pub use rejection::{Join, Reason, Refusal, Rejection};
pub use repeat::{Attach, Discard, Peek, Pushback, Repeat};
pub use role::{
    As, AsyncGuardPart, AsyncGuardRole, AsyncGuards, GuardPart, GuardRole, Guarding, GuardingLater,
    Guards, Observes, Observing, Pair, Role, Shape,
};
pub use row::{Immediate, Pace, Row, RowFuture};
pub use share::{KeyBy, Keyed, Share};
pub use tower_layer::Layer;
pub use trace_ids::TraceIds;
pub use trace_seed::TraceSeed;
pub use type_bool::{False, True, TypeBool};
pub use waiting::{Waiting, WaitingFuture, WaitingRow};
pub use waiting_role::{PairWait, WaitingRole};
pub use waker_set::{Notified, WakerSet};
