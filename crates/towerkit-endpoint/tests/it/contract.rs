//! The laws that every layer keeps, over endpoints.

use std::time::Duration;

use towerkit_core::{Call, CallEnd, Guard, Observer, Policy, Rejection, guard, observe, stack};
use towerkit_endpoint::RpcExt;
use towerkit_test::{Subject, contract};
use towerkit_timeout::{DeadlineLayer, TimeoutLayer};

struct AdmitsAll;

impl Policy for AdmitsAll {
    type CallState = ();

    fn finish(&self, (): (), _end: &CallEnd) {}
}

impl<Req> Guard<Req> for AdmitsAll {
    fn admit(&self, _call: &mut Call<'_, Req>) -> Result<(), Rejection> {
        Ok(())
    }
}

impl<Req> Observer<Req> for AdmitsAll {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

const MINUTE: Duration = Duration::from_secs(60);

contract!(guarded, RpcClient, Subject::new(guard(AdmitsAll).rpc()));
contract!(observed, RpcClient, Subject::new(observe(AdmitsAll).rpc()));
contract!(
    stacked,
    RpcClient,
    Subject::new(
        stack((
            observe(AdmitsAll),
            guard(AdmitsAll),
            DeadlineLayer::new(MINUTE).unwrap()
        ))
        .rpc()
    )
);
contract!(
    timed,
    RpcClient,
    Subject::new(TimeoutLayer::new(10 * MINUTE).unwrap().rpc())
);
