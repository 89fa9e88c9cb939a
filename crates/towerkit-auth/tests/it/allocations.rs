//! An authentication that is known at once allocates no memory but that of the request's extensions.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
};

use allocation_counter::measure;
use towerkit_auth::{
    Admission, ApiKeyAuth, ApiKeys, Authenticator, BasicAuth, BearerAuth, PasswordFile,
    Permissions, Principal, Proof,
};
use towerkit_core::{AsyncGuard, Call, IntoPolicy, OperationSet};
use towerkit_http::Http;

use crate::behaviour::{FOO, hash_of};

fn allocations(scheme: impl Authenticator, header: (&str, &str)) -> u64 {
    let protocol = Http::new();
    let mut request = http::Request::new(());
    let (name, value) = header;
    let name = http::HeaderName::from_bytes(name.as_bytes()).unwrap();
    request.headers_mut().insert(name, value.parse().unwrap());
    let call = Call::new(&mut request, &protocol);
    // The first call of a password is hashed, and the first load of a thread prepares it.
    if let Ok(Admission::Later(later)) = scheme.authenticate(call.view()) {
        tokio_block_on(later).unwrap();
    }
    let seen = measure(|| {
        for _ in 0..100 {
            match scheme.authenticate(call.view()) {
                Ok(Admission::Now(principal)) => drop(principal),
                _ => panic!("known at once"),
            }
        }
    });
    seen.count_total
}

fn tokio_block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Handle::current().block_on(future)
}

#[test]
fn credentials_that_are_known_do_not_allocate() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let users = PasswordFile::parse(&format!("ann:{}:clerk", hash_of("secret"))).unwrap();
    let basic = BasicAuth::new("shop", users).unwrap();
    let handle = runtime.handle().clone();
    let of_basic = std::thread::spawn(move || {
        let _entered = handle.enter();
        allocations(basic, ("authorization", "Basic YW5uOnNlY3JldA=="))
    });
    assert_eq!(of_basic.join().unwrap(), 0);
    let keys = ApiKeys::parse(&format!("billing:{FOO}:orders:read")).unwrap();
    let header = ApiKeyAuth::header("shop", "x-api-key", keys).unwrap();
    assert_eq!(allocations(header, ("x-api-key", "foo")), 0);
    let ann = Principal::new("ann", Proof::BearerToken);
    let bearer = BearerAuth::new("shop", move |_: &str| Ok(ann.clone())).unwrap();
    assert_eq!(allocations(bearer, ("authorization", "Bearer token")), 0);
}

/// The layer adds the box in the extensions of the request, and the table of extensions that were empty.
#[test]
fn an_admitted_call_allocates_its_place_in_the_extensions() {
    use tower::{Layer, Service};
    use towerkit_http::HttpExt;
    let ann = Principal::new("ann", Proof::BearerToken).with_roles(["clerk"]);
    let bearer = BearerAuth::new("shop", move |_: &str| Ok(ann.clone())).unwrap();
    let permissions = Permissions::new().role(OperationSet::prefix(""), "clerk");
    let layer = towerkit_auth::AuthLayer::new(bearer).authorize(permissions);
    let inner = tower::service_fn(|_: http::Request<()>| {
        std::future::ready(Ok::<_, std::convert::Infallible>(http::Response::new(
            http_body_util::Empty::<bytes::Bytes>::new(),
        )))
    });
    let mut service = layer.http().layer(inner);
    let mut call = |extensions: bool| {
        let mut request = http::Request::new(());
        request
            .headers_mut()
            .insert("authorization", "Bearer token".parse().unwrap());
        if extensions {
            request.extensions_mut().insert(1_u8);
        }
        let seen = measure(|| {
            let future = pin!(service.call(request));
            let polled = future.poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready());
        });
        seen.count_total
    };
    call(false);
    assert!(call(true) <= 1, "{}", call(true));
    assert!(call(false) <= 3, "{}", call(false));
}

/// The type of the policy is the one that stacks see.
#[test]
fn the_layer_fits_into_a_stack() {
    fn is_guard<G: AsyncGuard<()>>(_: &G) {}
    let keys = ApiKeys::parse("").unwrap();
    let layer = towerkit_auth::AuthLayer::new(ApiKeyAuth::header("a", "b", keys).unwrap());
    let _ = layer.into_policy();
    let _ = is_guard::<towerkit_auth::AuthenticationPolicy>;
}
