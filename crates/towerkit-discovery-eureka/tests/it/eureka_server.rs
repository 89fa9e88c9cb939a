//! A local implementation of the REST interface of Eureka 1.x.
//!
//! It follows Netflix' description (the wiki page "Eureka REST operations") and what `AbstractInstanceRegistry` does: status overrides,
//! a queue of recent changes behind `/apps/delta`, the hash of all instances by status, leases that are evicted, 404 for a heartbeat of
//! an unknown instance, and lists of one written as objects. It writes JSON for clients that ask for it, and XML for others.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{delete, get, put},
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, sync::watch};
use towerkit_discovery::conformance::Server;

/// A server with a runtime of its own, so that killing it closes all connections.
pub(crate) struct EurekaServer {
    address: SocketAddr,
    registry: Arc<Registry>,
    runtime: Option<Runtime>,
}

pub(crate) struct Registry {
    state: Mutex<Data>,
    is_paused: watch::Sender<bool>,
}

#[derive(Default)]
struct Data {
    leases: BTreeMap<(String, String), Lease>,
    recent: VecDeque<(Instant, &'static str, Value)>,
    options: Options,
    log: Vec<String>,
}

/// How the server deviates.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// How long a change is part of deltas.
    pub(crate) recent: Duration,
    /// Whether there are deltas.
    pub(crate) has_delta: bool,
    /// Whether lists of one are objects, as older servers write them.
    pub(crate) unwraps_lists: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            recent: Duration::from_secs(180),
            has_delta: true,
            unwraps_lists: false,
        }
    }
}

struct Lease {
    instance: Value,
    expires_at: Instant,
    duration: Duration,
}

impl Registry {
    pub(crate) fn set_options(&self, options: Options) {
        self.data().options = options;
    }

    /// Returns the requests so far, such as `GET /eureka/apps/delta`, and forgets them.
    pub(crate) fn take_log(&self) -> Vec<String> {
        std::mem::take(&mut self.data().log)
    }

    /// Puts an instance without a change in the deltas, as a change that a client has missed.
    pub(crate) fn insert_silently(&self, app: &str, instance: Value) {
        let mut data = self.data();
        data.put(app, instance);
        data.recent.clear();
    }

    /// Sets the status, as an operator does who takes an instance out of service.
    pub(crate) fn override_status(&self, app: &str, id: &str, status: &str) {
        let mut data = self.data();
        assert!(data.set_status(app, id, status));
    }

    fn data(&self) -> MutexGuard<'_, Data> {
        let mut data = self.state.lock().unwrap();
        data.evict();
        data
    }
}

impl Data {
    fn put(&mut self, app: &str, mut instance: Value) {
        let seconds = instance
            .pointer("/leaseInfo/durationInSecs")
            .and_then(Value::as_u64)
            .unwrap_or(90);
        let id = id_of(&instance);
        instance["app"] = json!(app);
        instance["actionType"] = json!("ADDED");
        if instance["overriddenstatus"].is_null() {
            instance["overriddenstatus"] = json!("UNKNOWN");
        }
        if instance["metadata"]
            .as_object()
            .is_none_or(serde_json::Map::is_empty)
        {
            instance["metadata"] = json!({"@class": "java.util.Collections$EmptyMap"});
        }
        if instance["securePort"].is_null() {
            instance["securePort"] = json!({"$": 7002, "@enabled": "false"});
        }
        let duration = Duration::from_secs(seconds);
        let lease = Lease {
            instance: instance.clone(),
            expires_at: Instant::now() + duration,
            duration,
        };
        self.leases.insert((app.to_owned(), id), lease);
        self.push("ADDED", instance);
    }

    fn push(&mut self, action: &'static str, mut instance: Value) {
        instance["actionType"] = json!(action);
        self.recent.push_back((Instant::now(), action, instance));
    }

    fn lease(&mut self, app: &str, id: &str) -> Option<&mut Lease> {
        self.leases.get_mut(&(app.to_owned(), id.to_owned()))
    }

    fn remove(&mut self, app: &str, id: &str) -> bool {
        let removed = self.leases.remove(&(app.to_owned(), id.to_owned()));
        let is_known = removed.is_some();
        if let Some(lease) = removed {
            self.push("DELETED", lease.instance);
        }
        is_known
    }

    fn set_status(&mut self, app: &str, id: &str, status: &str) -> bool {
        let Some(lease) = self.lease(app, id) else {
            return false;
        };
        lease.instance["status"] = json!(status);
        lease.instance["overriddenstatus"] = json!(status);
        let instance = lease.instance.clone();
        self.push("MODIFIED", instance);
        true
    }

    fn evict(&mut self) {
        let now = Instant::now();
        let expired = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.expires_at <= now);
        let expired: Vec<_> = expired.map(|(key, _)| key.clone()).collect();
        for (app, id) in expired {
            self.remove(&app, &id);
        }
        let retention = self.options.recent;
        self.recent.retain(|(at, ..)| at.elapsed() < retention);
    }

    fn hash(&self) -> String {
        let mut counts = BTreeMap::<_, u32>::new();
        for lease in self.leases.values() {
            *counts
                .entry(lease.instance["status"].as_str().unwrap_or("UNKNOWN"))
                .or_default() += 1;
        }
        counts
            .iter()
            .map(|(status, count)| format!("{status}_{count}_"))
            .collect()
    }

    fn instances(&self) -> Vec<Value> {
        self.leases
            .values()
            .map(|lease| lease.instance.clone())
            .collect()
    }

    /// Writes instances as `applications`.
    fn applications(&self, instances: Vec<Value>) -> Value {
        let mut apps = BTreeMap::<String, Vec<Value>>::new();
        for instance in instances {
            let app = instance["app"].as_str().unwrap_or_default().to_owned();
            apps.entry(app).or_default().push(instance);
        }
        let unwrap = |mut values: Vec<Value>| match values.len() {
            1 if self.options.unwraps_lists => values.remove(0),
            _ => Value::Array(values),
        };
        let applications = apps.into_iter();
        let applications = applications
            .map(|(name, instances)| json!({"name": name, "instance": unwrap(instances)}));
        json!({"applications": {
            "versions__delta": "1",
            "apps__hashcode": self.hash(),
            "application": unwrap(applications.collect()),
        }})
    }
}

impl EurekaServer {
    pub(crate) async fn start() -> Self {
        let mut server = Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            registry: Arc::new(Registry {
                state: Mutex::default(),
                is_paused: watch::Sender::new(false),
            }),
            runtime: None,
        };
        server.restart().await;
        server
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }
}

impl Server for EurekaServer {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn kill(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }

    fn wipe(&mut self) {
        let mut data = self.registry.data();
        data.leases.clear();
        data.recent.clear();
    }

    async fn restart(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (registry, address) = (self.registry.clone(), self.address);
        let started = runtime.spawn(async move {
            // The killed one may be closing its sockets still.
            let listener = loop {
                match TcpListener::bind(address).await {
                    Ok(listener) => break listener,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            };
            let address = listener.local_addr().unwrap();
            tokio::spawn(async move { axum::serve(listener, app(registry)).await.unwrap() });
            address
        });
        self.address = started.await.unwrap();
        self.runtime = Some(runtime);
    }

    fn pause(&mut self) {
        self.registry.is_paused.send_replace(true);
    }

    fn resume(&mut self) {
        self.registry.is_paused.send_replace(false);
    }
}

impl Drop for EurekaServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn id_of(instance: &Value) -> String {
    let amazon = instance.pointer("/dataCenterInfo/metadata/instance-id");
    let id = instance["instanceId"]
        .as_str()
        .or(amazon.and_then(Value::as_str));
    id.or(instance["hostName"].as_str())
        .unwrap_or_default()
        .to_owned()
}

fn app(registry: Arc<Registry>) -> Router {
    let paths = Router::new()
        .route("/apps", get(all))
        .route("/apps/", get(all))
        .route("/apps/delta", get(delta))
        .route("/apps/{app}", get(application).post(register))
        .route("/apps/{app}/{id}", get(instance).put(renew).delete(cancel))
        .route("/apps/{app}/{id}/status", put(set_status))
        .route("/apps/{app}/{id}/status", delete(clear_status))
        .route("/apps/{app}/{id}/metadata", put(set_metadata))
        .route("/instances/{id}", get(instance_by_id))
        .route("/vips/{vip}", get(by_vip))
        .route("/svips/{vip}", get(by_secure_vip))
        .with_state(registry.clone());
    Router::new()
        .nest("/eureka", paths)
        .layer(middleware::from_fn_with_state(registry, wait_and_log))
}

/// A server that is stopped handles its requests when it goes on.
async fn wait_and_log(
    State(registry): State<Arc<Registry>>,
    request: Request,
    next: Next,
) -> Response {
    let mut is_paused = registry.is_paused.subscribe();
    let _ = is_paused.wait_for(|is_paused| !is_paused).await;
    let line = format!("{} {}", request.method(), request.uri());
    registry.data().log.push(line);
    next.run(request).await
}

fn answer(headers: &HeaderMap, name: &str, value: Value) -> Response {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.contains("json")) {
        return Json(value).into_response();
    }
    let mut xml = String::new();
    write_xml(&mut xml, name, &value[name]);
    ([(header::CONTENT_TYPE, "application/xml")], xml).into_response()
}

/// Writes a value as XStream does: members that begin with `@` are attributes, and `$` is the text.
fn write_xml(xml: &mut String, name: &str, value: &Value) {
    let escape = |text: &str| {
        text.replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('"', "&quot;")
    };
    let scalar = |value: &Value| match value {
        Value::String(text) => escape(text),
        value => value.to_string(),
    };
    match value {
        Value::Array(values) => values.iter().for_each(|value| write_xml(xml, name, value)),
        Value::Object(members) => {
            write!(xml, "<{name}").unwrap();
            for (key, value) in members.iter().filter(|(key, _)| key.starts_with('@')) {
                let key = if key == "@class" { "class" } else { &key[1..] };
                write!(xml, " {key}=\"{}\"", scalar(value)).unwrap();
            }
            xml.push('>');
            for (key, value) in members.iter().filter(|(key, _)| !key.starts_with('@')) {
                match &**key {
                    "$" => xml.push_str(&scalar(value)),
                    key => write_xml(xml, key, value),
                }
            }
            write!(xml, "</{name}>").unwrap();
        }
        Value::Null => {}
        value => write!(xml, "<{name}>{}</{name}>", scalar(value)).unwrap(),
    }
}

type Shared = State<Arc<Registry>>;

async fn all(State(registry): Shared, headers: HeaderMap) -> Response {
    let data = registry.data();
    answer(
        &headers,
        "applications",
        data.applications(data.instances()),
    )
}

async fn delta(State(registry): Shared, headers: HeaderMap) -> Response {
    let data = registry.data();
    if !data.options.has_delta {
        return StatusCode::FORBIDDEN.into_response();
    }
    let changes = data.recent.iter().map(|(_, _, instance)| instance.clone());
    answer(
        &headers,
        "applications",
        data.applications(changes.collect()),
    )
}

async fn application(
    State(registry): Shared,
    Path(app): Path<String>,
    headers: HeaderMap,
) -> Response {
    let data = registry.data();
    let app = app.to_uppercase();
    let instances: Vec<_> = data
        .instances()
        .into_iter()
        .filter(|instance| instance["app"] == *app)
        .collect();
    if instances.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    answer(
        &headers,
        "application",
        json!({"application": {"name": app, "instance": instances}}),
    )
}

async fn register(
    State(registry): Shared,
    Path(app): Path<String>,
    Json(body): Json<Value>,
) -> StatusCode {
    let instance = body["instance"].clone();
    let is_missing = |name: &str| instance[name].as_str().is_none_or(str::is_empty);
    // As `ApplicationResource.addInstance` checks it.
    let is_invalid = ["hostName", "ipAddr", "app"].into_iter().any(is_missing)
        || id_of(&instance).is_empty()
        || !instance["app"]
            .as_str()
            .unwrap_or_default()
            .eq_ignore_ascii_case(&app)
        || instance["dataCenterInfo"]["name"].as_str().is_none()
        || instance["dataCenterInfo"]["@class"].as_str().is_none();
    if is_invalid {
        return StatusCode::BAD_REQUEST;
    }
    registry.data().put(&app.to_uppercase(), instance);
    StatusCode::NO_CONTENT
}

async fn instance(
    State(registry): Shared,
    Path((app, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    match registry.data().lease(&app.to_uppercase(), &id) {
        Some(lease) => answer(&headers, "instance", json!({"instance": lease.instance})),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn instance_by_id(
    State(registry): Shared,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let data = registry.data();
    let found = data.leases.iter().find(|((_, known), _)| *known == id);
    match found {
        Some((_, lease)) => answer(&headers, "instance", json!({"instance": lease.instance})),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn by_vip(state: Shared, vip: Path<String>, headers: HeaderMap) -> Response {
    by_virtual_address(state, "vipAddress", vip, &headers)
}

async fn by_secure_vip(state: Shared, vip: Path<String>, headers: HeaderMap) -> Response {
    by_virtual_address(state, "secureVipAddress", vip, &headers)
}

fn by_virtual_address(
    State(registry): Shared,
    field: &str,
    Path(vip): Path<String>,
    headers: &HeaderMap,
) -> Response {
    let data = registry.data();
    let instances: Vec<_> = data
        .instances()
        .into_iter()
        .filter(|instance| instance[field] == *vip)
        .collect();
    if instances.is_empty() {
        return StatusCode::NOT_FOUND.into_response();
    }
    answer(headers, "applications", data.applications(instances))
}

async fn renew(
    State(registry): Shared,
    Path((app, id)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> StatusCode {
    let mut data = registry.data();
    let Some(lease) = data.lease(&app.to_uppercase(), &id) else {
        return StatusCode::NOT_FOUND;
    };
    let dirty = |value: &Value| match value {
        Value::String(text) => text.parse().ok(),
        value => value.as_u64(),
    };
    let known = dirty(&lease.instance["lastDirtyTimestamp"]).unwrap_or_default();
    let given = query
        .get("lastDirtyTimestamp")
        .and_then(|given| given.parse::<u64>().ok());
    // The client has changed since it registered, and is to register again.
    if given.is_some_and(|given| given > known) {
        return StatusCode::NOT_FOUND;
    }
    lease.expires_at = Instant::now() + lease.duration;
    StatusCode::OK
}

async fn cancel(State(registry): Shared, Path((app, id)): Path<(String, String)>) -> StatusCode {
    if registry.data().remove(&app.to_uppercase(), &id) {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn set_status(
    State(registry): Shared,
    Path((app, id)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> StatusCode {
    let Some(status) = query.get("value") else {
        return StatusCode::BAD_REQUEST;
    };
    if registry.data().set_status(&app.to_uppercase(), &id, status) {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn clear_status(
    State(registry): Shared,
    Path((app, id)): Path<(String, String)>,
) -> StatusCode {
    if registry.data().set_status(&app.to_uppercase(), &id, "UP") {
        StatusCode::OK
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn set_metadata(
    State(registry): Shared,
    Path((app, id)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
) -> StatusCode {
    let mut data = registry.data();
    let Some(lease) = data.lease(&app.to_uppercase(), &id) else {
        return StatusCode::NOT_FOUND;
    };
    for (key, value) in query {
        lease.instance["metadata"][key] = json!(value);
    }
    let instance = lease.instance.clone();
    data.push("MODIFIED", instance);
    StatusCode::OK
}
