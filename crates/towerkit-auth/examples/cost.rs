//! Prints the cost of authentication over HTTP for credentials that are cached or known at once, in nanoseconds for each call.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    hint::black_box,
    pin::pin,
    task::{Context, Waker},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use tower::{Layer, Service};
use towerkit_auth::{
    ApiKeyAuth, ApiKeys, AuthLayer, BasicAuth, BearerAuth, PasswordFile, Permissions, Principal,
    Proof,
};
use towerkit_core::{BoxError, OperationSet};
use towerkit_http::HttpExt;

/// Few, so that some run is not interrupted.
const CALLS: u32 = 1_000;
const RUNS: usize = 2_000;

type Answer = Response<Empty<Bytes>>;

fn main() -> Result<(), BoxError> {
    let runtime = tokio::runtime::Runtime::new()?;
    let _entered = runtime.enter();
    let inner = tower::service_fn(|_: Request<()>| -> Ready<Result<Answer, Infallible>> {
        ready(Ok(Response::new(Empty::new())))
    });
    let none = ("x-none", "none");
    let users = PasswordFile::parse(
        "ann:$2y$05$HnJ7Hizs.E05nxAdOMwsUOFCbPbZElkRMUdfcnOtGdG8GHr5g/4cq:clerk",
    )?;
    let basic = AuthLayer::new(BasicAuth::new("cost", users)?);
    let basic_with_roles = {
        let permissions = Permissions::new().role(OperationSet::prefix(""), "clerk");
        basic.clone().authorize(permissions)
    };
    let (key, digest) = ApiKeys::generate()?;
    let keys = ApiKeys::parse(&format!("billing:{digest}"))?;
    let api_key = AuthLayer::new(ApiKeyAuth::header("cost", "x-api-key", keys)?);
    let ann = Principal::new("ann", Proof::BearerToken);
    let bearer = AuthLayer::new(BearerAuth::new("cost", move |_: &str| Ok(ann.clone()))?);

    let password = ("authorization", "Basic YW5uOm9wZW4gc2VzYW1l");
    report("no layer", cost(inner, none));
    report("Basic, cached", cost(basic.http().layer(inner), password));
    let with_roles = cost(basic_with_roles.http().layer(inner), password);
    report("Basic, cached, and a role", with_roles);
    report(
        "API key",
        cost(api_key.http().layer(inner), ("x-api-key", &key)),
    );
    let token = ("authorization", "Bearer token");
    report(
        "bearer, a verifier without work",
        cost(bearer.http().layer(inner), token),
    );
    Ok(())
}

fn report(title: &str, nanos: f64) {
    println!("{title:<32} {nanos:>8.1} ns");
}

/// Returns the time of the fastest run, for each call with its request.
fn cost<S: Service<Request<()>>>(mut service: S, (name, value): (&'static str, &str)) -> f64 {
    let value = HeaderValue::from_str(value).expect("a valid value");
    let mut call = || {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert("host", HeaderValue::from_static("localhost"));
        request
            .headers_mut()
            .insert("user-agent", HeaderValue::from_static("cost"));
        request.headers_mut().insert(name, value.clone());
        let mut future = pin!(service.call(request));
        let mut polls = 0;
        // The first call of a password waits for its thread.
        while future
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending()
        {
            polls += 1;
            std::thread::yield_now();
        }
        black_box(polls)
    };
    call();
    let runs = (0..RUNS).map(|_| {
        let start = Instant::now();
        let polls: u32 = (0..CALLS).map(|_| call()).sum();
        assert_eq!(polls, 0);
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    });
    runs.fold(f64::INFINITY, f64::min)
}
