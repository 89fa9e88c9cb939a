use tower_layer::Layer;
use tower_service::Service;

use super::{at_rest, readied};
use crate::{Act, Calls, Probe, ProbeError, Subject};

/// T-13: the data, the trailers and the error of a response body pass through unchanged, and no hint of the body is a lie.
///
/// An error may come from the call instead, where a layer reads bodies ahead.
pub async fn bodies_pass_unchanged<C, L>(make: impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: Calls<L::Service>,
{
    for act in [Act::Succeed, Act::SizedBody, Act::Trailers, Act::FailInBody] {
        let subject = make();
        let baseline = subject.held_now();
        let probe = Probe::new();
        let ledger = probe.ledger();
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
                act == Act::FailInBody && error.is_failed(),
                "{act:?} became {error}"
            ),
        }
        at_rest(&subject, &ledger, baseline);
    }
}

/// Half of T-03: a body that is dropped half read releases all that its call held.
pub(super) async fn half_read<C, L>(make: &impl Fn() -> Subject<L>)
where
    L: Layer<Probe>,
    L::Service: Service<C::Request, Error = ProbeError> + Clone,
    C: Calls<L::Service>,
{
    for act in [Act::Succeed, Act::SizedBody, Act::Trailers] {
        for frames in 0..=3 {
            let subject = make();
            let baseline = subject.held_now();
            let probe = Probe::new();
            let ledger = probe.ledger();
            let mut service = subject.layer.layer(probe);
            readied(&mut service).await;
            if let Ok(response) = service.call(C::request(act)).await {
                C::read(response, frames).await;
            }
            at_rest(&subject, &ledger, baseline);
        }
    }
}
