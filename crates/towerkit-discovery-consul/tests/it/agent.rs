//! Agents that misbehave.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use axum::{
    Router,
    http::{StatusCode, Uri},
    response::{IntoResponse, Response},
};
use tokio::{io::AsyncReadExt, net::TcpListener, time::sleep};
use towerkit_discovery::{Discovery, Instance, LeaseStatus, Registry, RegistryClient};
use towerkit_discovery_consul::Consul;

fn consul(agent: SocketAddr) -> Consul {
    Consul::new(RegistryClient::new([format!("http://{agent}")]).unwrap())
}

/// An agent that answers by a function of the number of the request and its URI.
struct Agent {
    address: SocketAddr,
    uris: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    async fn start(answer: impl Fn(usize) -> Response + Clone + Send + Sync + 'static) -> Self {
        let uris = Arc::new(Mutex::new(Vec::new()));
        let seen = uris.clone();
        let app = Router::new().fallback(async move |uri: Uri| {
            let number = {
                let mut seen = seen.lock().unwrap();
                seen.push(uri.to_string());
                seen.len() - 1
            };
            answer(number)
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async { axum::serve(listener, app).await.unwrap() });
        Self { address, uris }
    }

    /// Returns the index of each query; 0 for one without.
    async fn indexes(&self, count: usize) -> Vec<u64> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let uris = self.uris.lock().unwrap().clone();
            if uris.len() >= count {
                let index = |uri: &String| {
                    let index = uri.split("index=").nth(1)?.split('&').next()?.parse().ok();
                    assert!(uri.contains("&wait=30000ms"), "{uri}");
                    index
                };
                return uris
                    .iter()
                    .map(|uri| index(uri).unwrap_or_default())
                    .collect();
            }
            assert!(Instant::now() < deadline, "{uris:?}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

fn entries(port: usize) -> String {
    format!(r#"[{{"Node": {{"Address": "10.0.0.9"}}, "Service": {{"Port": {port}}}}}]"#)
}

/// GK-CO-6, SD-02
#[tokio::test]
async fn an_index_that_goes_back_or_is_invalid_starts_anew_without_a_hot_loop() {
    let answers = [
        "10",
        "12",
        "5",
        "7",
        "0",
        "x",
        "-1",
        "99999999999999999999",
        "8",
    ];
    let agent = Agent::start(move |number| match answers.get(number) {
        Some(index) => ([("x-consul-index", *index)], entries(1000 + number)).into_response(),
        None => (StatusCode::OK, "[]").into_response(),
    })
    .await;
    let start = Instant::now();
    let discovery = Discovery::spawn(consul(agent.address).service("a"));
    let indexes = agent.indexes(10).await;
    assert_eq!(indexes[..10], [0, 10, 12, 0, 7, 0, 0, 0, 0, 8]);
    assert!(
        start.elapsed() >= Duration::from_millis(3900),
        "{:?}",
        start.elapsed()
    );
    drop(discovery);
}

/// go-kit 1214
#[tokio::test]
async fn an_index_that_changes_all_the_time_costs_two_requests_a_second() {
    let index = Arc::new(AtomicUsize::new(1));
    let agent = Agent::start(move |_| {
        let index = index.fetch_add(1, SeqCst).to_string();
        ([("x-consul-index", index)], entries(80)).into_response()
    })
    .await;
    let start = Instant::now();
    let _discovery = Discovery::spawn(consul(agent.address).service("a"));
    sleep(Duration::from_secs(3)).await;
    let requests = agent.uris.lock().unwrap().len() as f64;
    let most = 2.0 * start.elapsed().as_secs_f64() + 2.0;
    assert!((4.0..=most).contains(&requests), "{requests} of {most}");
}

/// GK-CO-5
#[tokio::test]
async fn connections_that_are_closed_without_an_answer_are_survived() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let discovery = Discovery::spawn(consul(address).service("a"));
    for _ in 0..3 {
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut [0; 1024]).await;
    }
    assert_eq!(discovery.current().status.as_str(), "stale");
    tokio::spawn(async {
        let app = Router::new().fallback(async || ([("x-consul-index", "3")], entries(80)));
        axum::serve(listener, app).await.unwrap();
    });
    assert_eq!(discovery.ready().await.instances.len(), 1);
}

/// SD-12
#[tokio::test]
async fn answers_that_are_no_list_are_errors_and_the_last_instances_stay() {
    let bodies = ["{}", "[[[", "null", "\u{0}", "[1, {\"Node\": 1}]"];
    let agent = Agent::start(move |number| {
        let body = match number.checked_sub(1) {
            None => entries(80),
            Some(number) => bodies[number % bodies.len()].to_owned(),
        };
        ([("x-consul-index", (number + 1).to_string())], body).into_response()
    })
    .await;
    let mut discovery = Discovery::spawn(consul(agent.address).service("a"));
    discovery.ready().await;
    while discovery.current().status.as_str() == "current" {
        discovery.changed().await;
    }
    let snapshot = discovery.current();
    assert_eq!(
        (snapshot.status.as_str(), snapshot.instances.len()),
        ("stale", 1)
    );
}

#[tokio::test]
async fn a_check_that_the_agent_does_not_know_is_a_lost_registration() {
    for (status, body, expected) in [
        (200, "", Some(LeaseStatus::Renewed)),
        (
            404,
            "Unknown check ID \"service:a\"",
            Some(LeaseStatus::Lost),
        ),
        (
            500,
            "CheckID \"service:a\" does not have associated TTL",
            Some(LeaseStatus::Lost),
        ),
        (500, "No cluster leader", None),
        (403, "Permission denied", None),
    ] {
        let agent = Agent::start(move |number| match number {
            0 => StatusCode::OK.into_response(),
            _ => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        })
        .await;
        let service = consul(agent.address).service("a/b");
        let instance = Instance::new("10.0.0.7:80".parse().unwrap());
        let mut lease = service.register(&instance).await.unwrap();
        let renewed = service.renew(&mut lease).await;
        assert_eq!(renewed.as_ref().ok().copied(), expected, "{renewed:?}");
        assert_eq!(service.deregister(lease).await.is_ok(), expected.is_some());
        assert_eq!(
            *agent.uris.lock().unwrap(),
            [
                "/v1/agent/service/register?replace-existing-checks=true",
                "/v1/agent/check/pass/service%3Aa%2Fb-10.0.0.7%3A80",
                "/v1/agent/service/deregister/a%2Fb-10.0.0.7%3A80",
            ]
        );
    }
}
