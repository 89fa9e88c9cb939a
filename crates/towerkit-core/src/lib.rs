//! The seams of towerkit: guards, observers, protocols, and the one middleware that runs them.
//!
//! A **guard** asks of each call whether it may go ahead, an **observer** takes note of what happens. Both are plain data and
//! decisions: they never see a future, a waker or a body. The plumbing that turns them into tower middleware stands here, once:
//! readiness, rejection, cancellation at every poll, panics, exactly one `finish` for every call, spans entered for every poll.
//!
//! To use a layer you need its crate and nothing from here but, for some services, [`LayerExt`]. To write one, read [`Guard`] and
//! [`Observer`].
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::sync::Arc;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Call, CallEnd, LayerExt, Observer, Outcome, Policy, observe};
//!
//! /// Counts calls by how they ended.
//! #[derive(Default)]
//! struct Tally([AtomicU64; 6]);
//!
//! impl Policy for Tally {
//!     type CallState = ();
//!     fn finish(&self, _held: (), end: &CallEnd) {
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
//! Admission happens in `call`, so that a service that is ready but never called holds nothing. See [`PolicyService`].
//!
//! # Cancellation
//!
//! Dropping a response future, or a response body that is still followed, finishes every policy of the policy stack once, as cancelled.
//!
//! # Clones
//!
//! State lives in the layer and is shared by every service that the layer makes and by their clones.
//!
//! # Errors
//!
//! The inner service's error type is never changed. A rejection is a response where the protocol has one for it, and otherwise an
//! error that implements [`CarriesRejection`].

mod async_service;
mod backpressure;
mod call;
mod call_end;
mod call_view;
mod causes;
mod check;
mod clock;
mod config_error;
mod deadline;
mod error_type;
mod event;
#[cfg_attr(not(feature = "fast-clock"), path = "no_fast_clock.rs")]
mod fast_clock;
mod forward;
mod hex;
mod in_flight_call;
mod layer;
mod layer_state;
mod macros;
mod name;
mod only;
mod operation_set;
mod outcome;
mod plain;
mod policy;
mod protocol;
mod rejection;
mod replay;
mod run_async_policy;
mod run_policy;
mod service;
mod share;
#[doc(hidden)]
pub mod sync;
mod trace_ids;
mod trace_seed;
mod type_bool;
mod waker_set;
#[cfg(all(test, towerkit_loom))]
mod waker_set_model;

pub use async_service::{AsyncAdmission, AsyncPolicyFuture, AsyncPolicyService};
pub use backpressure::Backpressure;
pub use call::{Call, DescribeRequest, ProtocolKind, TargetUri};
pub use call_end::CallEnd;
pub use call_view::CallView;
pub use causes::{as_error, causes};
pub use check::{CheckLayer, check, check_layer};
pub use clock::{Clock, ManualClock};
pub use config_error::ConfigError;
pub use deadline::Deadline;
pub use error_type::{Side, error_type};
pub use event::{Event, EventQueue, EventSink};
pub use hex::Hex;
pub use in_flight_call::{InFlightCall, SharedPolicies};
pub use layer::{IntoPolicy, LayerExt, PolicyLayer, async_guard, guard, observe, stack};
pub use layer_state::{LayerState, StateHandle};
pub use name::Name;
pub use only::{Bypass, Only, OnlyPolicy, OnlyService};
pub use operation_set::OperationSet;
pub use outcome::{Outcome, Status};
pub use plain::{
    ByFailer, ByRejection, ByResult, Classify, ClassifyFn, Failer, Plain, PlainExchange,
};
pub use policy::{Admission, AsyncGuard, Guard, Headers, Observer, Policy};
pub use protocol::{
    BoxError, CarriesRejection, NoProtocol, Protocol, RejectCall, RejectWith, TrackResponse,
};
pub use rejection::{Rejection, RejectionReason, RejectionType};
pub use replay::{DrainResponse, InspectResult, Pushback, ReplayRequest};
pub use run_async_policy::{PairWait, RunAsyncPolicy};
pub use run_policy::{
    AsAsyncGuard, AsGuard, AsObserver, AsyncGuardKind, GuardKind, ObserverKind, Pair, PolicyAs,
    PolicyShape, RunPolicy,
};
pub use service::{AdmissionMode, PolicyFuture, PolicyService, SyncAdmission};
pub use share::{KeyFn, KeyType, ShareResponse};
pub use tower_layer::Layer;
pub use trace_ids::TraceIds;
pub use trace_seed::TraceSeed;
pub use type_bool::{False, True, TypeBool};
pub use waker_set::{Notified, WakerSet};
