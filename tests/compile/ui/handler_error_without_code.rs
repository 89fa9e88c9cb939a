//! The error of the endpoint does not implement `IntoRpcError`.

use towerkit::{
    endpoint::endpoint_fn,
    transport_http::{Json, serve},
};

#[derive(Debug)]
struct StoreError;

fn main() {
    let get = endpoint_fn((), |(), _: u32| async { Err::<u32, _>(StoreError) });
    let _ = serve("get", Json, get);
}
