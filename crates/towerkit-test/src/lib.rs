//! Probe services and the contract suite that every towerkit layer passes.
//!
//! Three lines put a layer through all laws, over a plain service, over HTTP or over gRPC:
//!
//! ```
//! use towerkit_core::{LayerExt, stack, guard};
//! # use towerkit_core::{Call, CallEnd, Guard, Policy, Rejection};
//! # struct Anyone;
//! # impl Policy for Anyone { type CallState = (); fn finish(&self, _: (), _: &CallEnd) {} }
//! # impl<Req> Guard<Req> for Anyone { fn admit(&self, _: &mut Call<'_, Req>) -> Result<(), Rejection> { Ok(()) } }
//! use towerkit_test::{Subject, contract};
//!
//! contract!(plain, PlainClient, Subject::new(guard(Anyone)));
//! # fn main() {}
//! ```
//!
//! The macro makes a module of tests, one for each law, of the layer around a [`Probe`]. The laws themselves are functions in
//! [`laws`], for layers that need another arrangement. That the suite can tell a broken layer is shown by one broken layer for each
//! law in this crate's own tests.
//!
//! The laws, with their ids from the acceptance cases:
//!
//! | law | id |
//! |---|---|
//! | `call` only after readiness of that very instance | T-01 |
//! | each attempt of a layer that calls more than once is preceded by a readiness of its own | T-02 |
//! | a call that is dropped at any poll, and a body that is dropped at any frame, release all they held | T-03 |
//! | a panic of the inner service releases all that the call held, and the next call is served | T-04 |
//! | a service that is ready and then dropped releases all it held | T-05 |
//! | a call, or a service, that waits is woken at most twice | T-06 |
//! | nonsense in the configuration is an error, never a panic | T-07 |
//! | an error that can neither be cloned nor compared passes through unchanged | T-08 |
//! | the data, the trailers and the error of a response body pass through unchanged, and no hint of it is a lie | T-13 |
//! | readiness that a guard holds back for a load balancer is woken, whatever becomes of other services | T-12 |

mod body_content;
mod call_counts;
mod client;
mod clock;
mod contract;
mod error;
mod events;
pub mod laws;
mod mock_service;
mod probe;
mod subject;
mod task;

pub use body_content::BodyContent;
pub use call_counts::CallCounts;
pub use client::{GrpcClient, HttpClient, HttpRequest, PlainClient, TestClient};
pub use clock::{run_paused, tokio_clock};
pub use error::ProbeError;
pub use events::all_events;
pub use mock_service::{MockError, MockFuture, MockService};
pub use probe::{Action, Probe, ProbeBody, ProbeFuture};
pub use subject::{BackpressureSubject, Subject};
pub use task::Task;
