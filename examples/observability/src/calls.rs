use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};
use tower::{Layer, ServiceExt};
use towerkit::{
    core::BoxError,
    http::{Http, HttpExt},
    trace::{Trace, TraceLayer},
};

type Plain = Client<HttpConnector, Full<Bytes>>;
type TracedClient = Trace<Plain, Http>;

/// The calls that were made, with the status of each response.
#[derive(Debug)]
pub(crate) struct Calls(Vec<(&'static str, u16)>);

impl Calls {
    /// Makes a few calls, good and bad.
    pub(crate) async fn make(relay: SocketAddr, strings: SocketAddr) -> Result<Self, BoxError> {
        let client = TraceLayer::client().http().layer(plain());
        let word = json!({"s": "hello, world"});
        let outgoing = ["uppercase", "count"]
            .map(|name| json!({"url": format!("http://{strings}/{name}"), "arguments": word}));
        let calls = [
            (
                "two relayed calls",
                format!("{relay}/test"),
                json!(outgoing).to_string(),
            ),
            ("a good call", format!("{strings}/count"), word.to_string()),
            ("half of a JSON", format!("{strings}/count"), "{".to_owned()),
            ("an unknown path", format!("{strings}/nope"), String::new()),
        ];
        let mut made = Vec::new();
        for (what, to, body) in calls {
            made.push((what, post(&client, &to, body).await?));
        }
        // On a machine that is slower than the limit it takes more than one.
        let (what, to) = ("a call too many", format!("{strings}/count"));
        let mut status = 200;
        while status == 200 {
            status = post(&client, &to, word.to_string()).await?;
        }
        made.push((what, status));
        Ok(Self(made))
    }

    pub(crate) fn statuses(&self) -> Vec<u16> {
        self.0.iter().map(|(_, status)| *status).collect()
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let line = |(what, status): &(&str, u16)| format!("{what}: {status}");
        self.0.iter().map(line)
    }
}

/// Reads the metrics as Prometheus does.
pub(crate) async fn scrape(from: SocketAddr) -> Result<String, BoxError> {
    let request = Request::get(format!("http://{from}/metrics"))
        .header(
            header::ACCEPT,
            "application/openmetrics-text; version=1.0.0",
        )
        .body(Full::default())?;
    let body = plain().oneshot(request).await?.into_body();
    Ok(String::from_utf8(body.collect().await?.to_bytes().into())?)
}

/// Reads the document at a URL as JSON; `None` while the server answers that it is not ready.
pub(crate) async fn json(url: &str) -> Result<Option<Value>, BoxError> {
    let request = Request::get(url).body(Full::default())?;
    let response = plain().oneshot(request).await?;
    if response.status() == StatusCode::SERVICE_UNAVAILABLE {
        return Ok(None);
    }
    let body = response.into_body().collect().await?.to_bytes();
    Ok(Some(serde_json::from_slice(&body)?))
}

async fn post(client: &TracedClient, to: &str, body: String) -> Result<u16, BoxError> {
    let request = Request::post(format!("http://{to}"))
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::from(body))?;
    let response = client.clone().oneshot(request).await?;
    let status = response.status().as_u16();
    // The call, and its span, end with the body.
    response.into_body().collect().await?;
    Ok(status)
}

fn plain() -> Plain {
    Client::builder(TokioExecutor::new()).build_http()
}
