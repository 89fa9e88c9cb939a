//! The laws that every layer keeps, for this one.

use std::{future::ready, pin::Pin, time::Duration};

use towerkit_auth_jwt::{AccessTokenLayer, IssuedToken, TokenSource};
use towerkit_core::BoxError;
use towerkit_http::HttpExt;
use towerkit_test::{Subject, contract, tokio_clock};

struct Source;

impl TokenSource for Source {
    fn issue(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, BoxError>> + Send>> {
        let token = IssuedToken::new("a.b.c", Duration::from_secs(60));
        Box::pin(ready(token.ok_or_else(|| "no token".into())))
    }
}

fn layer() -> AccessTokenLayer {
    AccessTokenLayer::new(Source).clock(tokio_clock())
}

contract!(http, HttpClient, Subject::new(layer().http()));
contract!(grpc, GrpcClient, Subject::new(layer().grpc()));
