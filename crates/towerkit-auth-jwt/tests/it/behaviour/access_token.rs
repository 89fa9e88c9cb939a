//! Tokens of clients. Time is paused.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::join_all};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, advance, sleep};
use tower::{Service, ServiceBuilder, ServiceExt};
use towerkit_auth_jwt::{
    AccessTokenLayer, Algorithm, IssuedToken, Jwt, Key, SignedTokens, SigningKey, TokenSource,
};
use towerkit_core::{BoxError, Event};
use towerkit_http::HttpExt;
use towerkit_test::tokio_clock;

use crate::tokens::{NOW, SECRET, at};

/// Issues tokens that are numbered, for a minute each.
#[derive(Clone, Default)]
struct Numbered(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    issued: u32,
    fails: bool,
    panics: bool,
    delay: Duration,
}

impl Numbered {
    fn set(&self, set: impl FnOnce(&mut State)) {
        set(&mut self.0.lock().unwrap());
    }

    fn issued(&self) -> u32 {
        self.0.lock().unwrap().issued
    }

    fn layer(&self) -> AccessTokenLayer {
        AccessTokenLayer::new(self.clone()).clock(tokio_clock())
    }
}

impl TokenSource for Numbered {
    fn issue(&self) -> Pin<Box<dyn Future<Output = Result<IssuedToken, BoxError>> + Send>> {
        let state = Arc::clone(&self.0);
        let (delay, panics) = {
            let mut state = state.lock().unwrap();
            state.issued += 1;
            (state.delay, std::mem::take(&mut state.panics))
        };
        assert!(!panics, "a source that panics");
        Box::pin(async move {
            sleep(delay).await;
            let state = state.lock().unwrap();
            if state.fails {
                return Err("the issuer is away".into());
            }
            let token = format!("c4nary-{}", state.issued);
            Ok(IssuedToken::new(&token, Duration::from_secs(60)).unwrap())
        })
    }
}

/// A service that returns the header it gets.
fn client(
    layer: AccessTokenLayer,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible, Future: Send> + Clone {
    ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(drop))
        .layer(layer.http())
        .service_fn(async |request: Request<()>| {
            let mut values = request.headers().get_all("authorization").iter();
            let value = values.next().unwrap().clone();
            assert!(values.next().is_none() && value.is_sensitive());
            let mut response = Response::new(Full::<Bytes>::default());
            response.headers_mut().insert("sent", value);
            Ok(response)
        })
}

async fn call<S>(client: &S) -> Result<String, (StatusCode, Option<String>)>
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible> + Clone,
{
    let response = client.clone().oneshot(Request::new(())).await.unwrap();
    let text = |name: &str| {
        let value = response.headers().get(name)?;
        Some(value.to_str().unwrap().to_owned())
    };
    match response.status() {
        StatusCode::OK => Ok(text("sent").unwrap()),
        status => Err((status, text("retry-after"))),
    }
}

#[tokio::test(start_paused = true)]
async fn one_token_serves_all_calls() {
    let source = Numbered::default();
    source.set(|state| state.delay = Duration::from_secs(1));
    let client = client(source.layer());
    let results = join_all((0..100).map(|_| call(&client))).await;
    assert!(
        results
            .iter()
            .all(|sent| sent.as_deref() == Ok("Bearer c4nary-1"))
    );
    assert_eq!(source.issued(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_expires_and_no_call_waits() {
    let source = Numbered::default();
    let client = client(source.layer());
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-1");
    source.set(|state| state.delay = Duration::from_secs(2));
    advance(Duration::from_secs(44)).await;
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-1");
    assert_eq!(source.issued(), 1);
    // At 48 s the renewal is due for certain.
    advance(Duration::from_secs(4)).await;
    let start = Instant::now();
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-1");
    assert_eq!(start.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-2");
    assert_eq!(source.issued(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_never_sent() {
    let source = Numbered::default();
    let client = client(source.layer());
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-1");
    advance(Duration::from_secs(60)).await;
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-2");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_request_for_a_token_is_part_of_its_lifetime() {
    let source = Numbered::default();
    source.set(|state| state.delay = Duration::from_secs(20));
    let client = client(source.layer());
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-1");
    source.set(|state| state.delay = Duration::ZERO);
    advance(Duration::from_secs(40)).await;
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-2");
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_repeated_with_growing_delays() {
    let source = Numbered::default();
    source.set(|state| state.fails = true);
    let client = client(source.layer());
    let start = Instant::now();
    let mut attempts = Vec::new();
    while start.elapsed() < Duration::from_secs(130) {
        let before = source.issued();
        let (status, _) = call(&client).await.unwrap_err();
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        if source.issued() > before {
            attempts.push(start.elapsed().as_secs());
        }
        advance(Duration::from_millis(500)).await;
    }
    assert_eq!(attempts, [0, 1, 3, 7, 15, 31, 63, 123]);
    let (_, retry_after) = call(&client).await.unwrap_err();
    assert!(retry_after.is_some());
    source.set(|state| state.fails = false);
    advance(Duration::from_secs(60)).await;
    assert!(call(&client).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_token_is_used_to_its_end_while_the_renewal_fails() {
    let source = Numbered::default();
    let client = client(source.layer());
    assert!(call(&client).await.is_ok());
    source.set(|state| state.fails = true);
    for _ in 0..59 {
        advance(Duration::from_secs(1)).await;
        assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-1");
        tokio::task::yield_now().await;
    }
    advance(Duration::from_secs(1)).await;
    assert!(call(&client).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_does_not_end_the_request_for_a_token() {
    let source = Numbered::default();
    source.set(|state| state.delay = Duration::from_secs(1));
    let client = client(source.layer());
    for _ in 0..10 {
        assert!(call(&client).now_or_never().is_none());
    }
    assert!(call(&client).await.is_ok());
    assert_eq!(source.issued(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_panics_has_failed() {
    let source = Numbered::default();
    source.set(|state| state.panics = true);
    let client = client(source.layer());
    assert!(call(&client).await.is_err());
    advance(Duration::from_secs(1)).await;
    assert_eq!(call(&client).await.unwrap(), "Bearer c4nary-2");
}

#[test]
fn without_a_runtime_calls_are_rejected() {
    let client = client(Numbered::default().layer());
    let result = call(&client).now_or_never().unwrap();
    assert_eq!(result.unwrap_err().0, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test(start_paused = true)]
async fn the_token_is_not_shown_and_failures_are_reported() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let source = Numbered::default();
    let layer = source.layer().name("billing").events(move |event: &Event| {
        seen.lock().unwrap().push(format!("{event:?}"));
    });
    let client = client(layer.clone());
    assert!(call(&client).await.is_ok());
    assert!(!format!("{layer:?}").contains("c4nary"));
    source.set(|state| state.fails = true);
    advance(Duration::from_secs(50)).await;
    assert!(call(&client).await.is_ok());
    tokio::task::yield_now().await;
    let events = events.lock().unwrap();
    assert_eq!(events.len(), 1);
    for part in ["billing", "renewal_failed", "the issuer is away"] {
        assert!(events[0].contains(part), "{events:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn signed_tokens_are_valid_at_a_verifier() {
    let key = SigningKey::secret(Algorithm::Hs256, SECRET).unwrap();
    let source = SignedTokens::new(key, Duration::from_millis(90_500)).unwrap();
    let source = source
        .claim("sub", "billing")
        .claim("aud", "orders")
        .clock(at(NOW));
    let client = client(AccessTokenLayer::new(source.clone()).clock(tokio_clock()));
    let sent = call(&client).await.unwrap();
    let token = sent.strip_prefix("Bearer ").unwrap();
    let verifier = |now| {
        let key = Key::secret(Algorithm::Hs256, SECRET).unwrap();
        Jwt::new(key).audience("orders").clock(at(now))
    };
    assert_eq!(
        verifier(NOW).verify(token).await.unwrap().subject(),
        "billing"
    );
    assert!(verifier(NOW + 89).verify(token).await.is_ok());
    assert!(verifier(NOW + 90).verify(token).await.is_err());
    // Each has an id of its own.
    let other = source.issue().now_or_never().unwrap().unwrap();
    assert!(!format!("{other:?}").contains("Bearer"));
    advance(Duration::from_secs(90)).await;
    assert_ne!(call(&client).await.unwrap(), sent);

    let key = || SigningKey::secret(Algorithm::Hs256, SECRET).unwrap();
    assert!(SignedTokens::new(key(), Duration::ZERO).is_err());
    assert!(SignedTokens::new(key(), Duration::MAX).is_err());
}
