//! The common part of towerkit's layers, and the traits to write a layer of your own.
//!
//! To use a layer you need its crate and, to choose a protocol for it, [`LayerExt`]; [`stack`] combines several layers into one. The
//! rest of this crate is for authors of layers.
//!
//! - A [`Guard`] admits or rejects each call, an [`AsyncGuard`] may let it wait first, and an [`Observer`] records calls. They are
//!   *policies*: plain data and decisions, without futures, wakers or bodies. [`PolicyService`] runs them, and does the rest:
//!   readiness, cancellation at every poll, panics, and exactly one [`finish`](Policy::finish) per call.
//! - A driver, such as a retry, implements [`tower_service::Service`] itself, because it calls the inner service in its own way. It reads
//!   calls by a [`Protocol`] ([`InspectResult`], [`ReplayRequest`], [`ShareResponse`]), and so needs no code for HTTP or gRPC. A driver
//!   with policies of its own starts them by [`InFlightCall::start`], and runs the call in a [`PolicyFuture`].
//!
//! ```
//! use std::sync::atomic::{AtomicU64, Ordering};
//! use std::sync::Arc;
//! use tower::{ServiceBuilder, ServiceExt};
//! use towerkit_core::{BoxError, Call, CallEnd, LayerExt, Observer, Outcome, Policy, observe};
//!
//! /// Counts calls by outcome.
//! #[derive(Default)]
//! struct OutcomeCounts([AtomicU64; 6]);
//!
//! impl Policy for OutcomeCounts {
//!     type CallState = ();
//!     fn finish(&self, _state: (), end: &CallEnd) {
//!         self.0[end.outcome() as usize].fetch_add(1, Ordering::Relaxed);
//!     }
//! }
//!
//! impl<Req> Observer<Req> for OutcomeCounts {
//!     fn start(&self, _call: &mut Call<'_, Req>) {}
//! }
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let counts = Arc::new(OutcomeCounts::default());
//! let service = ServiceBuilder::new()
//!     .layer(observe(counts.clone()).plain("halve"))
//!     .service_fn(|n: u32| async move {
//!         if n % 2 == 0 { Ok(n / 2) } else { Err(BoxError::from("odd")) }
//!     });
//!
//! assert_eq!(service.clone().oneshot(8).await.unwrap(), 4);
//! assert!(service.oneshot(7).await.is_err());
//! assert_eq!(counts.0[Outcome::Success as usize].load(Ordering::Relaxed), 1);
//! assert_eq!(counts.0[Outcome::Failure as usize].load(Ordering::Relaxed), 1);
//! # });
//! ```
//!
//! # Readiness
//!
//! Guards decide in `call`, so that a service that is ready but never called holds no permit. [`PolicyService`] has the details.
//!
//! # Cancellation
//!
//! Dropping the response future, or a response body that has not ended, finishes every policy once, as
//! [cancelled](Outcome::Cancelled).
//!
//! # Clones
//!
//! The state belongs to the layer. All services that the layer makes, and their clones, share it.
//!
//! # Errors
//!
//! The error type of the inner service never changes. A rejected call gets a response if the protocol has one for it, and otherwise an
//! error of a type that implements [`CarriesRejection`].
//!
//! # It does not compile?
//!
//! [`check`] makes the compiler name the missing bound where `.oneshot` or `.ready` ends in a bare E0599.

mod async_service;
mod attempted_instances;
mod backpressure;
mod bypass;
mod call;
mod call_end;
mod call_view;
mod causes;
mod check;
mod clock;
mod config_error;
mod count_as;
mod deadline;
mod error_code;
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
mod principal;
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
mod type_bool;
mod waker_set;
#[cfg(all(test, towerkit_loom))]
mod waker_set_model;

pub use async_service::{AsyncPolicyFuture, AsyncPolicyService};
pub use attempted_instances::AttemptedInstances;
pub use backpressure::Backpressure;
pub use bypass::Bypass;
pub use call::{Call, DescribeRequest, ProtocolKind, TargetUri};
pub use call_end::CallEnd;
pub use call_view::CallView;
pub use causes::{BoxError, as_error, causes};
pub use check::{CheckLayer, check, check_layer};
pub use clock::{Clock, ManualClock};
pub use config_error::ConfigError;
pub use count_as::CountAs;
pub use deadline::{Deadline, parse_grpc_timeout};
pub use error_code::{ErrorCode, UnknownErrorCode};
pub use error_type::{Side, error_type};
pub use event::{Event, EventQueue, EventSink};
pub use hex::Hex;
pub use in_flight_call::{InFlightCall, SharedPolicies};
pub use layer::{IntoPolicy, LayerExt, PolicyLayer, async_guard, guard, observe, stack};
pub use layer_state::{LayerState, StateHandle};
pub use name::Name;
pub use only::{Only, OnlyPolicy, OnlyService};
pub use operation_set::OperationSet;
pub use outcome::{Outcome, Status};
pub use plain::{
    ByFailer, ByRejection, ByResult, Classify, ClassifyFn, Failer, Plain, PlainExchange,
};
pub use policy::{Admission, AsyncGuard, Guard, Headers, Observer, Policy};
pub use principal::{Principal, Proof};
pub use protocol::{CarriesRejection, NoProtocol, Protocol, RejectCall, RejectWith, TrackResponse};
pub use rejection::{Rejection, RejectionReason, RejectionType};
pub use replay::{DrainResponse, InspectResult, Pushback, ReplayRequest};
pub use run_async_policy::{PairWait, RunAsyncPolicy};
pub use run_policy::{
    AsAsyncGuard, AsGuard, AsObserver, AsyncGuardKind, GuardKind, ObserverKind, Pair, PolicyAs,
    PolicyShape, RunPolicy,
};
pub use service::{PolicyFuture, PolicyService};
pub use share::{KeyFn, KeyType, ShareCondition, ShareResponse};
pub use tower_layer::Layer;
pub use trace_ids::{TraceIds, TraceSeed};
pub use type_bool::{False, True, TypeBool};
pub use waker_set::{Notified, WakerSet};
