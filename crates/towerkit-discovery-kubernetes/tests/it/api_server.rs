//! An API server in the process of the test, which lists and watches as that of Kubernetes does, and can be made to fail.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    future::pending,
    io,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, request};
use http_body::Frame;
use http_body_util::{BodyExt, Full, channel, combinators::UnsyncBoxBody};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use tower::service_fn;
use towerkit_discovery::Discovery;
use towerkit_discovery_kubernetes::{Kubernetes, kube};

pub(crate) type Body = UnsyncBoxBody<Bytes, io::Error>;

#[derive(Clone, Default)]
pub(crate) struct ApiServer(Arc<Mutex<State>>);

struct State {
    slices: BTreeMap<String, Value>,
    revision: u64,
    /// Events up to this revision are gone.
    compacted: u64,
    events: Vec<(u64, Value)>,
    watches: Vec<channel::Sender<Bytes, io::Error>>,
    versions: &'static [&'static str],
    token: Option<&'static str>,
    fault: Fault,
    /// Sent to watches in place of the next event.
    corrupt_event: Option<&'static str>,
    requests: Vec<Seen>,
}

/// What is wrong with the server.
#[derive(Clone)]
pub(crate) enum Fault {
    Healthy,
    /// It does not answer.
    Silent,
    /// It answers everything with this status and text.
    Status(u16, &'static str),
    /// It answers a watch with this status and text.
    WatchStatus(u16, &'static str),
    /// It answers a list with this.
    List(Bytes),
    /// It ends a watch after this line.
    WatchLine(&'static str),
}

/// A request that the server has seen.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) authorization: Option<String>,
}

impl Seen {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let mut pairs = self
            .query
            .split('&')
            .filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl Default for State {
    fn default() -> Self {
        Self {
            slices: BTreeMap::new(),
            revision: 100,
            compacted: 0,
            events: Vec::new(),
            watches: Vec::new(),
            versions: &["v1"],
            token: None,
            fault: Fault::Healthy,
            corrupt_event: None,
            requests: Vec::new(),
        }
    }
}

impl ApiServer {
    /// Makes a server that has these endpoints of the service `shop/addsvc`, in one slice.
    pub(crate) fn with(addresses: &[&str]) -> Self {
        let server = Self::default();
        server.put("a", addresses);
        server
    }

    pub(crate) fn kubernetes(&self) -> Kubernetes {
        let server = self.clone();
        let answer = move |request: Request<kube::client::Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request.into_parts().0).await) }
        };
        Kubernetes::from_client(kube::Client::new(service_fn(answer), "default"))
    }

    pub(crate) fn discovery(&self) -> Discovery {
        Discovery::spawn(self.kubernetes().service("shop", "addsvc").unwrap())
    }

    /// Writes a slice of the service `shop/addsvc`.
    pub(crate) fn put(&self, name: &str, addresses: &[&str]) {
        let endpoints: Vec<_> = addresses
            .iter()
            .map(|address| json!({"addresses": [address]}))
            .collect();
        self.put_of("addsvc", name, &endpoints.into());
    }

    pub(crate) fn put_of(&self, service: &str, name: &str, endpoints: &Value) {
        let mut state = self.state();
        state.revision += 1;
        let kind = if state.slices.contains_key(name) {
            "MODIFIED"
        } else {
            "ADDED"
        };
        let slice = json!({
            "metadata": {
                "name": name, "namespace": "shop", "resourceVersion": state.revision.to_string(),
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4", "endpoints": endpoints, "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        });
        state.slices.insert(name.to_owned(), slice.clone());
        state.publish(kind, slice);
    }

    pub(crate) fn delete(&self, name: &str) {
        let mut state = self.state();
        state.revision += 1;
        let mut slice = state.slices.remove(name).unwrap();
        slice["metadata"]["resourceVersion"] = state.revision.to_string().into();
        state.publish("DELETED", slice);
    }

    /// Loses all slices and revisions, and ends all watches.
    pub(crate) fn wipe(&self) {
        let mut state = self.state();
        state.slices.clear();
        state.events.clear();
        state.watches.clear();
        state.revision = 1;
    }

    /// Forgets the events so far.
    pub(crate) fn compact(&self) {
        let mut state = self.state();
        state.compacted = state.revision;
        state.events.clear();
    }

    pub(crate) fn end_watches(&self) {
        self.state().watches.clear();
    }

    pub(crate) fn abort_watches(&self) {
        for watch in self.state().watches.drain(..) {
            watch.abort(io::ErrorKind::ConnectionReset.into());
        }
    }

    /// Keeps the open watches, but sends them no events any more.
    pub(crate) fn silence_watches(&self) {
        let watches = std::mem::take(&mut self.state().watches);
        tokio::spawn(async move {
            let _watches = watches;
            pending::<()>().await;
        });
    }

    pub(crate) fn send_to_watches(&self, text: &str) {
        for watch in &mut self.state().watches {
            let _ = watch.try_send(Frame::data(Bytes::copy_from_slice(text.as_bytes())));
        }
    }

    pub(crate) fn bookmark(&self) {
        let revision = self.state().revision.to_string();
        let object = json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "metadata": {"resourceVersion": revision}});
        self.send_to_watches(&format!(
            "{}\n",
            json!({"type": "BOOKMARK", "object": object})
        ));
    }

    /// Sends this to the watches in place of the next event.
    pub(crate) fn corrupt_next_event(&self, text: &'static str) {
        self.state().corrupt_event = Some(text);
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    pub(crate) fn set_versions(&self, versions: &'static [&'static str]) {
        self.state().versions = versions;
    }

    /// Accepts this token only.
    pub(crate) fn set_token(&self, token: &'static str) {
        self.state().token = Some(token);
    }

    pub(crate) fn requests(&self) -> Vec<Seen> {
        self.state().requests.clone()
    }

    pub(crate) fn take_requests(&self) -> Vec<Seen> {
        std::mem::take(&mut self.state().requests)
    }

    /// Returns the number of watches that a client reads.
    pub(crate) fn open_watches(&self) -> usize {
        let mut state = self.state();
        // A watch whose reader is gone takes nothing.
        state.watches.retain_mut(|watch| {
            watch
                .try_send(Frame::data(Bytes::from_static(b"\n")))
                .is_ok()
        });
        state.watches.len()
    }

    pub(crate) async fn answer(&self, request: request::Parts) -> Response<Body> {
        let authorization = request.headers.get("authorization");
        let seen = Seen {
            at: Instant::now(),
            path: request.uri.path().to_owned(),
            query: request.uri.query().unwrap_or_default().to_owned(),
            authorization: authorization.map(|value| value.to_str().unwrap().to_owned()),
        };
        let (fault, is_authorized) = {
            let mut state = self.state();
            state.requests.push(seen.clone());
            let expected = state.token.map(|token| format!("Bearer {token}"));
            let is_authorized = expected.is_none() || expected == seen.authorization;
            (state.fault.clone(), is_authorized)
        };
        if !is_authorized {
            return text(401, "Unauthorized");
        }
        match fault {
            Fault::Silent => pending().await,
            Fault::Status(status, body) => text(status, body),
            Fault::WatchStatus(status, body) if seen.is_watch() => text(status, body),
            Fault::WatchLine(line) if seen.is_watch() => text(200, line),
            Fault::List(body) if !seen.is_watch() => Response::new(full(body)),
            _ => self.answer_healthy(&seen),
        }
    }

    fn answer_healthy(&self, seen: &Seen) -> Response<Body> {
        let mut state = self.state();
        let version = seen.path.split('/').nth(3).unwrap_or_default();
        if !state.versions.contains(&version) {
            return text(404, "404 page not found");
        }
        assert_eq!(
            seen.path,
            format!("/apis/discovery.k8s.io/{version}/namespaces/shop/endpointslices")
        );
        let selector = seen.parameter("labelSelector").unwrap();
        let service = selector
            .strip_prefix("kubernetes.io%2Fservice-name%3D")
            .unwrap()
            .to_owned();
        if seen.is_watch() {
            return state.watch(
                seen.parameter("resourceVersion").unwrap().parse().unwrap(),
                &service,
            );
        }
        let limit: usize = seen.parameter("limit").unwrap().parse().unwrap();
        let start: usize = seen
            .parameter("continue")
            .map_or(0, |token| token.parse().unwrap());
        let all: Vec<_> = state
            .slices
            .values()
            .filter(|slice| is_of(slice, &service))
            .collect();
        let page: Vec<_> = all.iter().skip(start).take(limit).collect();
        let mut metadata = json!({"resourceVersion": state.revision.to_string()});
        if start + limit < all.len() {
            metadata["continue"] = (start + limit).to_string().into();
        }
        let list = json!({"kind": "EndpointSliceList", "apiVersion": "discovery.k8s.io/v1", "metadata": metadata, "items": page});
        Response::new(full(list.to_string().into()))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl State {
    fn publish(&mut self, kind: &str, slice: Value) {
        let event = json!({"type": kind, "object": slice});
        let line = match self.corrupt_event.take() {
            Some(text) => Bytes::from_static(text.as_bytes()),
            None => Bytes::from(format!("{event}\n")),
        };
        self.events.push((self.revision, event));
        for watch in &mut self.watches {
            // Watches of other services get it too; no test has two services and watches at once.
            let _ = watch.try_send(Frame::data(line.clone()));
        }
    }

    fn watch(&mut self, since: u64, service: &str) -> Response<Body> {
        if since < self.compacted {
            let status =
                json!({"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410});
            return Response::new(full(
                format!("{}\n", json!({"type": "ERROR", "object": status})).into(),
            ));
        }
        let (mut sender, body) = channel::Channel::new(1024);
        for (revision, event) in &self.events {
            if *revision > since && is_of(&event["object"], service) {
                sender
                    .try_send(Frame::data(format!("{event}\n").into()))
                    .unwrap();
            }
        }
        self.watches.push(sender);
        Response::new(body.boxed_unsync())
    }
}

fn is_of(slice: &Value, service: &str) -> bool {
    slice["metadata"]["labels"]["kubernetes.io/service-name"] == service
}

fn full(body: Bytes) -> Body {
    Full::new(body)
        .map_err(|never| match never {})
        .boxed_unsync()
}

fn text(status: u16, body: &'static str) -> Response<Body> {
    let mut response = Response::new(full(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    response
}

pub(crate) fn addresses(discovery: &Discovery) -> Vec<String> {
    let instances = discovery.current().instances;
    instances
        .iter()
        .map(|instance| instance.address.to_string())
        .collect()
}

pub(crate) fn status(discovery: &Discovery) -> &'static str {
    discovery.current().status.as_str()
}

pub(crate) fn error(discovery: &Discovery) -> String {
    let snapshot = discovery.current();
    snapshot
        .status
        .error()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Waits until the condition holds, and fails after `limit`.
pub(crate) async fn within(limit: Duration, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !condition() {
        assert!(
            Instant::now() < deadline,
            "the condition does not hold after {limit:?}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// Waits until the instances are these.
pub(crate) async fn instances_within(limit: Duration, discovery: &Discovery, expected: &[&str]) {
    let deadline = Instant::now() + limit;
    while addresses(discovery) != expected {
        let found = discovery.current();
        assert!(
            Instant::now() < deadline,
            "{found:?} after {limit:?}, expected {expected:?}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// Asserts that there are at most two requests in each second, and one more where a fault begins.
pub(crate) fn assert_paced(requests: &[Seen]) {
    for (index, first) in requests.iter().enumerate() {
        let second = first.at + Duration::from_secs(1);
        let count = requests[index..]
            .iter()
            .take_while(|seen| seen.at < second)
            .count();
        assert!(
            count <= 2,
            "{count} requests within a second: {:?}",
            &requests[index..index + count]
        );
    }
}
