use tower_layer::Layer;
use tower_service::Service;

use super::{at_rest, readied};
use crate::{Action, Probe, ProbeError, Subject, TestClient};

/// T-13: the data, the trailers and the error of a response body pass through unchanged, and its size hints are correct.
///
/// A layer that reads the body before it returns the response may return the error from the call instead.
pub async fn bodies_pass_unchanged<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    for act in [
        Action::Succeed,
        Action::SizedBody,
        Action::Trailers,
        Action::FailInBody,
    ] {
        let subject = make();
        let baseline = subject.resource_count();
        let probe = Probe::new();
        let counts = probe.counts();
        let mut service = subject.layer.layer(probe);
        readied(&mut service).await;
        match service.call(C::request(act)).await {
            Ok(response) => {
                let Some(expected) = C::expected(act) else {
                    continue;
                };
                let content = C::read(response, usize::MAX).await;
                assert_eq!(content, expected, "the body of {act:?}");
            }
            Err(error) => assert!(
                act == Action::FailInBody && error.is_failed(),
                "{act:?} became {error}"
            ),
        }
        at_rest(&subject, &counts, baseline);
    }
}

/// The second half of T-03: a body that is dropped before its end releases all resources of its call.
pub(super) async fn half_read<C, L>(make: &impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: TestClient<L::Service>,
{
    for act in [Action::Succeed, Action::SizedBody, Action::Trailers] {
        for frames in 0..=3 {
            let subject = make();
            let baseline = subject.resource_count();
            let probe = Probe::new();
            let counts = probe.counts();
            let mut service = subject.layer.layer(probe);
            readied(&mut service).await;
            if let Ok(response) = service.call(C::request(act)).await {
                C::read(response, frames).await;
            }
            at_rest(&subject, &counts, baseline);
        }
    }
}
