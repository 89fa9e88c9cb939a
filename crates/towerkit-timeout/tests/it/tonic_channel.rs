//! Deadlines over tonic, whose channel and server cancel the call when the time in `grpc-timeout` has passed.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response, header};
use tokio::{net::TcpListener, task::JoinSet, time::sleep};
use tonic::{
    body::Body,
    server::NamedService,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tower::{Service, ServiceBuilder, ServiceExt, util::BoxCloneService};
use towerkit_core::{Call, CallEnd, Clock, Deadline, Observer, Outcome, Policy, observe};
use towerkit_http::HttpExt;
use towerkit_timeout::{DeadlineInjectLayer, TimeoutLayer};

/// Does not respond within a minute.
#[derive(Clone)]
struct Nap;

impl NamedService for Nap {
    const NAME: &'static str = "test.Nap";
}

impl Service<Request<Body>> for Nap {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: Request<Body>) -> Self::Future {
        Box::pin(async {
            sleep(Duration::from_secs(60)).await;
            Ok(Response::new(Body::empty()))
        })
    }
}

async fn channel() -> Channel {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = Server::builder().add_service(Nap);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    let endpoint = Endpoint::from_shared(format!("http://{at}")).unwrap();
    endpoint.connect().await.unwrap()
}

fn nap(left: Duration) -> Request<Body> {
    let request = Request::post("http://test/test.Nap/Take");
    let request = request.header(header::CONTENT_TYPE, "application/grpc");
    let mut request = request.body(Body::empty()).unwrap();
    let deadline = Deadline::after(&Clock::default(), left);
    request.extensions_mut().insert(deadline);
    request
}

#[derive(Default)]
struct Ends(Mutex<Vec<Outcome>>);

impl Policy for Ends {
    type CallState = ();
    fn finish(&self, (): (), end: &CallEnd) {
        self.0.lock().unwrap().push(end.outcome());
    }
}

impl<Req> Observer<Req> for Ends {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

/// For both orders of the layers, and whichever of the three timers is first.
#[tokio::test]
async fn a_call_that_tonic_cancels_at_the_deadline_has_timed_out() {
    let channel = channel().await;
    let timeout = TimeoutLayer::new(Duration::from_secs(30)).unwrap().grpc();
    let inject = DeadlineInjectLayer::new().grpc();
    let ends = Arc::new(Ends::default());
    let service = ServiceBuilder::new().layer(observe(ends.clone()).grpc());
    let services = [
        BoxCloneService::new(
            service
                .clone()
                .layer(timeout.clone())
                .layer(inject.clone())
                .service(channel.clone())
                .map_response(|response| response.map(drop)),
        ),
        BoxCloneService::new(
            service
                .layer(inject)
                .layer(timeout)
                .service(channel)
                .map_response(|response| response.map(drop)),
        ),
    ];
    for round in 0..20 {
        // Few at once: the server takes many cancelled streams for an attack.
        let mut calls = JoinSet::new();
        for micros in [5_000, 6_300, 7_450, 9_999].map(|micros| micros + round * 137) {
            for service in &services {
                calls.spawn(service.clone().oneshot(nap(Duration::from_micros(micros))));
            }
        }
        for answer in calls.join_all().await {
            let answer = answer.expect("an answer of the timeout, not an error of the channel");
            assert_eq!(answer.headers()["grpc-status"], "4", "{answer:?}");
        }
    }
    let ends = ends.0.lock().unwrap();
    let is_timed_out = |end: &&Outcome| **end == Outcome::TimedOut;
    assert_eq!(ends.iter().filter(is_timed_out).count(), 160);
}
