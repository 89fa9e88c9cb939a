//! The laws of response bodies: T-13, and the half of T-03 that is about them.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::{pin_project, pinned_drop};
use tower_layer::Layer;
use tower_service::Service;
use towerkit_test::{
    GrpcClient, HttpClient, HttpRequest, Probe, ProbeBody, ProbeError, Subject, contract, laws,
};

use crate::passes;

/// What is wrong with the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Sound,
    BlanksData,
    CutsData,
    LosesAFrame,
    RepeatsAFrame,
    SwallowsTrailers,
    ChangesTrailers,
    TurnsErrorsIntoEnds,
    ReplacesErrors,
    SaysTooMuch,
    SaysTooLittle,
    IsOverTooEarly,
    KeepsWhatAHalfReadBodyHeld,
    KeepsWhatAnUnreadBodyHeld,
}

/// Counts calls in flight to the end of their bodies, with one fault.
#[derive(Clone)]
struct Faulty {
    fault: Fault,
    in_flight: Arc<AtomicI64>,
}

fn subject(fault: Fault) -> Subject<Faulty> {
    let in_flight = Arc::new(AtomicI64::new(0));
    let layer = Faulty {
        fault,
        in_flight: in_flight.clone(),
    };
    Subject::new(layer).count_resources(move || in_flight.load(Ordering::SeqCst))
}

impl Layer<Probe> for Faulty {
    type Service = FaultyService;

    fn layer(&self, inner: Probe) -> FaultyService {
        FaultyService {
            layer: self.clone(),
            inner,
        }
    }
}

#[derive(Clone)]
struct FaultyService {
    layer: Faulty,
    inner: Probe,
}

impl Service<HttpRequest> for FaultyService {
    type Response = Response<FaultyBody>;
    type Error = ProbeError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ProbeError>>>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ProbeError>> {
        Service::<HttpRequest>::poll_ready(&mut self.inner, cx)
    }

    fn call(&mut self, request: HttpRequest) -> Self::Future {
        let state = CallState::new(&self.layer);
        let call = self.inner.call(request);
        Box::pin(async move {
            let response = call.await?;
            Ok(response.map(|inner| FaultyBody {
                inner,
                state: Some(state),
                frames: 0,
                again: None,
            }))
        })
    }
}

struct CallState(Faulty);

impl CallState {
    fn new(layer: &Faulty) -> Self {
        layer.in_flight.fetch_add(1, Ordering::SeqCst);
        Self(layer.clone())
    }
}

impl Drop for CallState {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

#[pin_project(PinnedDrop)]
struct FaultyBody {
    #[pin]
    inner: ProbeBody,
    state: Option<CallState>,
    frames: usize,
    again: Option<Bytes>,
}

impl FaultyBody {
    fn fault(&self) -> Fault {
        self.state
            .as_ref()
            .map_or(Fault::Sound, |state| state.0.fault)
    }
}

impl Body for FaultyBody {
    type Data = Bytes;
    type Error = ProbeError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ProbeError>>> {
        let fault = self.fault();
        let me = self.project();
        if let Some(data) = me.again.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let mut inner = me.inner;
        let mut frame = ready!(inner.as_mut().poll_frame(cx));
        *me.frames += 1;
        if fault == Fault::LosesAFrame && *me.frames == 2 {
            frame = ready!(inner.poll_frame(cx));
        }
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    if fault == Fault::RepeatsAFrame && *me.frames == 1 {
                        *me.again = Some(data.clone());
                    }
                    Some(Ok(Frame::data(faulty_data(fault, data))))
                }
                Err(_) if fault == Fault::SwallowsTrailers => None,
                Err(_) if fault == Fault::ChangesTrailers => {
                    Some(Ok(Frame::trailers(HeaderMap::new())))
                }
                Err(trailers) => Some(Ok(trailers)),
            },
            Some(Err(_)) if fault == Fault::TurnsErrorsIntoEnds => None,
            Some(Err(_)) if fault == Fault::ReplacesErrors => Some(Err(replaced())),
            Some(Err(error)) => Some(Err(error)),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.fault() == Fault::IsOverTooEarly && self.frames > 0 || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.fault() {
            Fault::SaysTooMuch => SizeHint::with_exact(1_000),
            Fault::SaysTooLittle => SizeHint::with_exact(0),
            _ => self.inner.size_hint(),
        }
    }
}

fn faulty_data(fault: Fault, data: Bytes) -> Bytes {
    match fault {
        Fault::BlanksData => Bytes::from(vec![0; data.len()]),
        Fault::CutsData => data.slice(1..),
        _ => data,
    }
}

fn replaced() -> ProbeError {
    let reason = towerkit_core::RejectionReason::Unavailable;
    towerkit_core::CarriesRejection::from_rejection(towerkit_core::Rejection::new(reason, "faulty"))
}

#[pinned_drop]
impl PinnedDrop for FaultyBody {
    fn drop(self: Pin<&mut Self>) {
        let fault = self.fault();
        let me = self.project();
        let is_kept = match fault {
            Fault::KeepsWhatAHalfReadBodyHeld => (1..=2).contains(me.frames),
            Fault::KeepsWhatAnUnreadBodyHeld => *me.frames == 0,
            _ => false,
        };
        if is_kept {
            std::mem::forget(me.state.take());
        }
    }
}

contract!(sound_over_http, HttpClient, subject(Fault::Sound));
contract!(sound_over_grpc, GrpcClient, subject(Fault::Sound));

/// T-13
#[test]
fn a_layer_that_changes_bodies_is_rejected() {
    for fault in [
        Fault::Sound,
        Fault::BlanksData,
        Fault::CutsData,
        Fault::LosesAFrame,
        Fault::RepeatsAFrame,
        Fault::SwallowsTrailers,
        Fault::ChangesTrailers,
        Fault::TurnsErrorsIntoEnds,
        Fault::ReplacesErrors,
        Fault::SaysTooMuch,
        Fault::SaysTooLittle,
        Fault::IsOverTooEarly,
    ] {
        let is_sound = fault == Fault::Sound;
        let http = || laws::bodies_pass_unchanged::<HttpClient, _>(|| subject(fault));
        assert_eq!(passes(http), is_sound, "{fault:?} over HTTP");
        let grpc = || laws::bodies_pass_unchanged::<GrpcClient, _>(|| subject(fault));
        assert_eq!(passes(grpc), is_sound, "{fault:?} over gRPC");
    }
}

/// T-03
#[test]
fn a_layer_that_leaks_the_resources_of_a_dropped_body_is_found() {
    for fault in [
        Fault::KeepsWhatAHalfReadBodyHeld,
        Fault::KeepsWhatAnUnreadBodyHeld,
    ] {
        let law = || laws::a_dropped_call_releases_all::<HttpClient, _>(|| subject(fault));
        assert!(!passes(law), "{fault:?}");
    }
}
