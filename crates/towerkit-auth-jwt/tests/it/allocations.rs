//! A known token allocates no memory.

use std::{convert::Infallible, future::ready};

use allocation_counter::measure;
use futures_util::FutureExt;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use towerkit_auth::{Admission, AuthLayer, BearerAuth, Principal, Proof, VerifyToken};
use towerkit_http::HttpExt;

use crate::tokens::{claims, hs256, token};

#[test]
fn a_cached_token_allocates_nothing() {
    let jwt = hs256();
    let token = token(&claims());
    jwt.verify(&token).now_or_never().unwrap().unwrap();
    let mut verified = 0;
    let seen = measure(|| {
        for _ in 0..1000 {
            let result = VerifyToken::verify(&jwt, &token);
            verified += u32::from(matches!(result, Ok(Admission::Now(_))));
        }
    });
    assert_eq!((verified, seen.count_total), (1000, 0));
    let uncached = hs256().cached_tokens(0);
    let counts = measure(|| drop(VerifyToken::verify(&uncached, &token)));
    assert!(counts.count_total > 0, "the counter counts");
}

#[test]
fn a_call_with_a_cached_token_allocates_no_more_than_its_extension() {
    let token = token(&claims());
    let request = || {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        request.body(()).unwrap()
    };
    let mut bare =
        service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(String::new()))));
    let layer = AuthLayer::new(BearerAuth::new("orders", hs256()).unwrap());
    let mut service = layer.http().layer(bare);
    service.call(request()).now_or_never().unwrap().unwrap();

    let principal = Principal::new("ann", Proof::BearerToken);
    let mut with_extension = request();
    let alone = measure(|| {
        with_extension.extensions_mut().insert(principal.clone());
        drop(bare.call(with_extension).now_or_never());
    });
    let mut status = None;
    let with_layer = request();
    let layered = measure(|| {
        let response = service.call(with_layer).now_or_never();
        status = response.map(|response| response.unwrap().status());
    });
    assert_eq!(status.unwrap(), 200);
    assert_eq!(layered.count_total, alone.count_total);
}
