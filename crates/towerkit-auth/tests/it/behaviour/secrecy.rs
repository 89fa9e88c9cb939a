//! No credential gets into a log, a span, a metric, an event, an error or the output of `Debug`.

use std::{
    io,
    sync::{Arc, Mutex},
};

use base64::prelude::BASE64_STANDARD;
use http::HeaderValue;
use tower::ServiceBuilder;
use towerkit_auth::{ApiKeyAuth, ApiKeys, BasicAuth, PasswordFile};
use towerkit_core::{Event, stack};
use towerkit_log::{Format, LineFormatter, LogLayer};
use towerkit_metrics::{MetricsLayer, Registry};
use towerkit_trace::TraceLayer;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// Part of every credential that the test sends.
const CANARY: &str = "c4nary7b1e";

#[derive(Clone)]
struct Page(Arc<Mutex<Vec<u8>>>);

impl io::Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_credential_gets_out() {
    let written = Arc::new(Mutex::new(Vec::new()));
    let text = Arc::new(Mutex::new(String::new()));
    let lines = LineFormatter::new(Format::Json).spans().writer({
        let page = Page(written.clone());
        move || page.clone()
    });
    let subscriber = tracing_subscriber::registry().with(lines);
    let _default = tracing::subscriber::set_default(subscriber);
    let say = |shown: String| text.lock().unwrap().push_str(&(shown + "\n"));

    let users = PasswordFile::parse(&format!("ann:{}", hash_of(CANARY))).unwrap();
    let (key, digest) = ApiKeys::generate().unwrap();
    let keys = ApiKeys::parse(&format!("billing:{digest}")).unwrap();
    say(format!("{users:?} {keys:?}"));
    let basic_auth = BasicAuth::new("shop", users).unwrap();
    let header = ApiKeyAuth::header("shop", "x-api-key", keys.clone()).unwrap();
    let query = ApiKeyAuth::query("shop", "api_key", keys).unwrap();
    let bearer = BearerAuth::new("shop", |token: &str| match token {
        "c4nary7b1e" => Ok(Principal::new("ann", Proof::BearerToken).with_claims(token.to_owned())),
        _ => Err(AuthError::invalid("unknown token")),
    });
    let bearer = bearer.unwrap();
    say(format!("{basic_auth:?} {header:?} {query:?} {bearer:?}"));
    let events = text.clone();
    let auth = AuthLayer::new(basic_auth).or(bearer).or(header).or(query);
    let auth = auth.events(move |event: &Event| {
        events.lock().unwrap().push_str(&format!("{event:?}\n"));
    });
    let registry = Registry::new();
    let outer = stack((
        TraceLayer::server(),
        LogLayer::new(),
        MetricsLayer::new().registry(registry.clone()),
        auth.clone(),
    ));
    let inner =
        stack((LogLayer::new().field("user", |call| Some(call.principal()?.subject().into())),));
    let service = ServiceBuilder::new()
        .layer(outer.http())
        .layer(inner.http())
        .service(service_fn(whoami));

    let encoded = |pair: &str| format!("Basic {}", BASE64_STANDARD.encode(pair));
    let (right, wrong) = (
        encoded(&format!("ann:{CANARY}")),
        encoded(&format!("ann:{CANARY}x")),
    );
    let mut canaries = vec![CANARY.to_owned(), key.clone(), digest.clone()];
    canaries.extend([&right, &wrong].map(|value| value[6..].to_owned()));
    let authorization = |value: &str| get("/orders?a=b", &[("authorization", value)]);
    let requests = [
        (authorization(&right), 200),
        (authorization(&right), 200),
        (authorization(&wrong), 401),
        (authorization(&(wrong.clone() + "=")), 401),
        (authorization(&format!("Bearer {CANARY}")), 200),
        (authorization(&format!("Bearer {CANARY}x")), 401),
        (authorization(&format!("Bearer {CANARY} x")), 401),
        (authorization(CANARY), 401),
        (get("/", &[("x-api-key", &key)]), 200),
        (get("/", &[("x-api-key", CANARY)]), 401),
        (get(&format!("/orders?api_key={key}"), &[]), 200),
        (get(&format!("/orders?api_key={CANARY}"), &[]), 401),
    ];
    for (mut request, expected) in requests {
        // As a server that shows no values would send them.
        request
            .headers_mut()
            .values_mut()
            .for_each(|value: &mut HeaderValue| value.set_sensitive(true));
        let response = service.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status().as_u16(), expected);
        say(format!(
            "{:?} {:?}",
            response.headers(),
            response.extensions()
        ));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        say(String::from_utf8(body.to_vec()).unwrap());
    }
    say(format!("{auth:?} {:?}", auth.handle()));
    say(registry.render());
    say(String::from_utf8(written.lock().unwrap().clone()).unwrap());
    let text = text.lock().unwrap();
    for canary in &canaries {
        let found = text.lines().find(|line| line.contains(canary));
        assert_eq!(found, None, "{canary}");
    }
    // The test sees what there is to see.
    assert!(text.contains("unknown token") && text.contains("unknown API key"));
    assert_eq!(text.matches(r#""user":"ann""#).count(), 3, "{text}");
    assert!(text.contains("url.query") || text.contains("a=b"), "{text}");
}
