//! LG-04: a secret in every place that may hold one is in nothing that is put out: lines, spans, metrics, rejections, and what `Debug`
//! shows.

mod grpc;
mod pushed;
mod secrets;
mod shop;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use towerkit_log::Format;
use towerkit_metrics::Registry;

use crate::whole::{
    observed::Observed,
    server::{Server, client},
};
use secrets::{CANARY, Outputs, fields, query};

/// Asks with all the secrets there are.
async fn ask(server: &Server, path: &str, nth: usize) -> Response<Incoming> {
    let url = format!("{}?{}", server.url(path), query());
    let mut request = Request::get(url).body(Empty::new()).unwrap();
    *request.headers_mut() = fields(nth);
    client().request(request).await.unwrap()
}

/// Asks, and keeps the rejection whole.
async fn rejected(outputs: &mut Outputs, server: &Server, path: &str, status: StatusCode) {
    let response = ask(server, path, 0).await;
    assert_eq!(response.status(), status, "{path}");
    let (head, body) = response.into_parts();
    assert_eq!(
        head.headers["content-type"], "application/problem+json",
        "{path}"
    );
    let body = body.collect().await.unwrap().to_bytes();
    outputs.add(
        format!("the rejection of {path}"),
        format!("{head:?} {}", String::from_utf8_lossy(&body)),
    );
}

async fn scrape(server: &Server, accept: &str) -> String {
    let mut request = server.get("/metrics");
    request
        .headers_mut()
        .insert("accept", accept.parse().unwrap());
    let response = client().request(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Makes calls of all kinds, and collects what comes of them.
async fn run(format: Format) -> Outputs {
    let (mut outputs, registry) = (Outputs::default(), Registry::new());
    let observed = Observed::start(format);
    let backend = Server::start(shop::backend(&registry)).await;
    let host = backend.address.to_string();
    let front = Server::start(shop::front(host, &registry, &mut outputs)).await;
    for nth in 0..3 {
        let response = ask(&front, "/items/7", nth).await;
        assert_eq!(response.status(), 200);
        assert!(
            response.headers()["set-cookie"]
                .to_str()
                .unwrap()
                .contains(CANARY)
        );
        response.into_body().collect().await.unwrap();
        ask(&front, "/cached", nth).await;
        // Paths are shown, where they match no route, and what says that it is a secret there is not.
        ask(&front, &format!("/nowhere/token={CANARY}"), nth).await;
    }
    // The breaker opens.
    ask(&front, "/flaky", 0).await;
    assert_eq!(ask(&front, "/limited", 0).await.status(), 200);
    rejected(
        &mut outputs,
        &front,
        "/limited",
        StatusCode::TOO_MANY_REQUESTS,
    )
    .await;
    rejected(
        &mut outputs,
        &front,
        "/shared",
        StatusCode::SERVICE_UNAVAILABLE,
    )
    .await;
    rejected(&mut outputs, &front, "/slow", StatusCode::GATEWAY_TIMEOUT).await;
    rejected(
        &mut outputs,
        &front,
        "/flaky",
        StatusCode::SERVICE_UNAVAILABLE,
    )
    .await;
    outputs.add("prometheus", scrape(&front, "*/*").await);
    let open_metrics = scrape(&front, "application/openmetrics-text").await;
    assert!(open_metrics.ends_with("# EOF\n"));
    outputs.add("open metrics", open_metrics);
    outputs.debug("registry", &registry);
    pushed::push(&mut outputs, &registry).await;
    pushed::pipelines(&mut outputs);
    drop((front, backend));
    tokio::task::yield_now().await;
    let (spans, log) = (format!("{:?}", observed.spans()), observed.text());
    // They do show what was asked of them.
    assert!(spans.contains("http.request.header.x-note"), "{spans}");
    assert!(
        log.contains("REDACTED") && log.contains("circuit changed"),
        "{log}"
    );
    outputs.add("spans", spans);
    outputs.add("log", log);
    outputs
}

#[tokio::test]
async fn a_secret_is_in_no_output_with_logfmt() {
    run(Format::Logfmt).await.check();
}

#[tokio::test]
async fn a_secret_is_in_no_output_with_json() {
    run(Format::Json).await.check();
}
