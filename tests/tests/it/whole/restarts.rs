//! Restarts of servers behind a client that retries.

use std::{
    env,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::{JoinHandle, JoinSet},
    time::{interval, sleep, timeout},
};
use tower::{Service, ServiceBuilder, ServiceExt};
use towerkit_core::BoxError;
use towerkit_http::HttpExt;
use towerkit_retry::{Budget, RetryLayer};
use towerkit_server::{Drained, Server};
use towerkit_timeout::TimeoutLayer;

/// A server that can be restarted on its address.
struct Instance {
    address: SocketAddr,
    running: Option<(oneshot::Sender<()>, JoinHandle<Drained>)>,
}

impl Instance {
    async fn start(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = Router::new().route("/", get(slow_hello));
        let (stop, stopped) = oneshot::channel();
        let server = Server::new().serve(listener, app, async {
            let _ = stopped.await;
        });
        Self {
            address,
            running: Some((stop, tokio::spawn(server))),
        }
    }

    async fn restart(&mut self) {
        let (stop, server) = self.running.take().unwrap();
        stop.send(()).unwrap();
        assert_eq!(server.await.unwrap(), Drained::Complete);
        *self = Self::start(self.address).await;
    }
}

async fn slow_hello() -> &'static str {
    sleep(Duration::from_millis(5)).await;
    "hello"
}

/// The number of a call, by which its attempts alternate between the instances.
#[derive(Clone, Copy)]
struct CallNumber(usize);

/// Makes a client that sends each attempt of a call to another instance than the one before.
fn client(
    instances: [SocketAddr; 2],
) -> impl Service<
    Request<Full<Bytes>>,
    Response = http::Response<impl http_body::Body<Data = Bytes, Error = impl Into<BoxError>>>,
    Error = impl Into<BoxError>,
    Future: Send,
> + Clone
+ Send
+ 'static {
    let choose = move |mut request: Request<Full<Bytes>>| {
        let CallNumber(number) = *request.extensions().get().unwrap();
        let attempt = request.headers().get("x-retry-attempt");
        let attempt: usize = attempt.map_or(0, |text| text.to_str().unwrap().parse().unwrap());
        let instance = instances[(number + attempt) % 2];
        *request.uri_mut() = Uri::try_from(format!("http://{instance}/")).unwrap();
        request
    };
    let budget = Budget::new(1.0, 1000).unwrap();
    ServiceBuilder::new()
        .layer(
            RetryLayer::new()
                .attempts(5)
                .unwrap()
                .budget(budget)
                .http_client(),
        )
        // Each attempt has a limit of time: the client itself has none.
        .layer(
            TimeoutLayer::new(Duration::from_secs(5))
                .unwrap()
                .http_client(),
        )
        .map_request(choose)
        .service(towerkit_http::client())
}

/// HT-12: a call fails in no restart, because connections are closed when they are idle and calls in flight end first.
///
/// `scripts/test extended` sets the number of restarts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_of_servers_fail_no_call_of_a_client_that_retries() {
    let restarts = env::var("TOWERKIT_RESTARTS").map_or(6, |number| number.parse().unwrap());
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut instances = [Instance::start(any).await, Instance::start(any).await];
    let client = client([instances[0].address, instances[1].address]);
    let (is_over, calls) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
    let load = {
        let (alive, calls) = (Arc::downgrade(&is_over), calls.clone());
        tokio::spawn(async move {
            let mut running = JoinSet::new();
            let mut ticks = interval(Duration::from_millis(2));
            while alive.strong_count() > 0 {
                ticks.tick().await;
                let mut request = Request::new(Full::default());
                let number = calls.fetch_add(1, Relaxed);
                request.extensions_mut().insert(CallNumber(number));
                let call = client.clone().oneshot(request);
                running.spawn(async move {
                    let response = call.await.map_err(Into::into)?;
                    let status = response.status();
                    let body = response.into_body().collect().await.map_err(Into::into)?;
                    Ok::<_, BoxError>((status.as_u16(), body.to_bytes()))
                });
            }
            running.join_all().await
        })
    };
    for restart in 0..restarts {
        let before = calls.load(Relaxed);
        instances[restart % 2].restart().await;
        // Calls go to both instances before the next restart.
        let more = async {
            while calls.load(Relaxed) < before + 100 {
                sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(Duration::from_secs(60), more).await.unwrap();
    }
    drop(is_over);
    let results = load.await.unwrap();
    assert!(results.len() >= 100 * restarts);
    for result in results {
        assert_eq!(result.unwrap(), (200, Bytes::from("hello")));
    }
}
