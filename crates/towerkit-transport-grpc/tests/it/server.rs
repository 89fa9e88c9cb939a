//! Endpoints behind a tonic server.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tonic::{
    Code, Status,
    metadata::MetadataMap,
    transport::{Channel, Server as TonicServer},
};
use tonic_app::{
    HelloReply, HelloRequest,
    greeter_client::GreeterClient,
    greeter_server::{Greeter, GreeterServer},
};
use tower::ServiceBuilder;
use towerkit_core::{
    BoxError, Call, CallEnd, Deadline, ErrorCode, Observer, Policy, RejectionReason, observe,
};
use towerkit_endpoint::{
    Endpoint, EndpointExt, Request, RpcError, RpcExt, call_fn, endpoint, endpoint_fn,
};
use towerkit_http::HttpExt;
use towerkit_ratelimit::{Quota, RateLimitLayer};
use towerkit_timeout::DeadlineLayer;
use towerkit_transport_grpc::{client, serve};

use crate::math::Server;

/// The business type, which knows no wire.
#[derive(Debug, Clone, PartialEq)]
struct Name(String);

impl TryFrom<HelloRequest> for Name {
    type Error = BoxError;

    fn try_from(request: HelloRequest) -> Result<Self, BoxError> {
        match &*request.name {
            "" => Err("the name is empty".into()),
            "root" => Err(RpcError::new(ErrorCode::PermissionDenied, "not for root").into()),
            _ => Ok(Self(request.name)),
        }
    }
}

struct Text(String);

impl TryFrom<Text> for HelloReply {
    type Error = BoxError;

    fn try_from(text: Text) -> Result<Self, BoxError> {
        match &*text.0 {
            "unprintable" => Err("password=hunter2".into()),
            _ => Ok(Self { text: text.0 }),
        }
    }
}

/// The generated trait: one line for the method.
struct GreeterService {
    hello: Endpoint<Name, Text, RpcError>,
}

#[tonic::async_trait]
impl Greeter for GreeterService {
    async fn hello(
        &self,
        request: tonic::Request<HelloRequest>,
    ) -> Result<tonic::Response<HelloReply>, Status> {
        serve("hello", &self.hello, request).await
    }
}

async fn greeter(hello: Endpoint<Name, Text, RpcError>) -> (Server, GreeterClient<Channel>) {
    let server = Server::start(|incoming| {
        let service = GreeterServer::new(GreeterService { hello });
        let server = TonicServer::builder().add_service(service);
        server.serve_with_incoming(incoming)
    })
    .await;
    let client = GreeterClient::new(server.channel().await);
    (server, client)
}

fn hello(name: &str) -> HelloRequest {
    HelloRequest {
        name: name.to_owned(),
    }
}

fn greet() -> Endpoint<Name, Text, RpcError> {
    endpoint(endpoint_fn((), |(), Name(name)| async move {
        match &*name {
            "nobody" => Err(RpcError::new(ErrorCode::NotFound, "no such person")
                .with_retry_after(Duration::from_millis(1500))
                .with_source("password=hunter2")),
            "panic" => panic!("told to"),
            "unprintable" => Ok(Text(name)),
            _ => Ok(Text(format!("hello, {name}"))),
        }
    }))
}

#[tokio::test]
async fn a_method_of_a_generated_trait_is_one_line() {
    let (_server, mut client) = greeter(greet()).await;
    let reply = client.hello(hello("Ann")).await.unwrap().into_inner();
    assert_eq!(reply.text, "hello, Ann");
}

/// GK-GR-2, FIX-8
#[tokio::test]
async fn an_error_keeps_its_code_its_message_and_its_time() {
    let (_server, mut client) = greeter(greet()).await;
    let status = client.hello(hello("nobody")).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    assert_eq!(status.message(), "no such person");
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert_eq!(pushback, "1500");
    assert!(!format!("{status:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_message_that_does_not_convert_is_an_invalid_argument_and_a_reply_an_internal_error() {
    let (_server, mut client) = greeter(greet()).await;
    let table = [
        ("", Code::InvalidArgument, "the name is empty"),
        ("root", Code::PermissionDenied, "not for root"),
        ("unprintable", Code::Internal, "internal error"),
    ];
    for (name, code, message) in table {
        let status = client.hello(hello(name)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, message));
    }
}

/// GR-03, FIX-1
#[tokio::test]
async fn a_panic_is_an_internal_error_and_the_connection_goes_on() {
    let (_server, mut client) = greeter(greet()).await;
    for _ in 0..2 {
        let status = client.hello(hello("panic")).await.unwrap_err();
        assert_eq!(status.code(), Code::Internal);
        assert_eq!(status.message(), "internal error");
        client.hello(hello("Ann")).await.unwrap();
    }
}

/// GK-GR-4: over the wire a `-bin` header is base64, which tonic's map decodes.
#[tokio::test]
async fn metadata_reaches_the_endpoint_as_headers() {
    let (_server, mut client) = greeter(endpoint(call_fn((), |(), request: Request<Name>| {
        let metadata = MetadataMap::from_headers(request.headers);
        async move {
            let tenant = metadata.get("x-tenant").unwrap().to_str().unwrap();
            let bytes = metadata.get_bin("x-bytes-bin").unwrap();
            let bytes = bytes.to_bytes().unwrap();
            Ok(Text(format!(
                "{} {tenant} {:?}",
                request.operation,
                &bytes[..]
            )))
        }
    })))
    .await;
    let mut request = tonic::Request::new(hello("Ann"));
    let metadata = request.metadata_mut();
    metadata.insert("x-tenant", "blue".parse().unwrap());
    let bytes = tonic::metadata::MetadataValue::from_bytes(&[0, 159, 255]);
    metadata.insert_bin("x-bytes-bin", bytes);
    let reply = client.hello(request).await.unwrap().into_inner();
    assert_eq!(reply.text, "hello blue [0, 159, 255]");
}

/// An endpoint that says how many minutes are left, in the extensions and in the current deadline.
fn clocks() -> Endpoint<Name, Text, RpcError> {
    endpoint(call_fn((), |(), request: Request<Name>| async move {
        let own: Option<&Deadline> = request.extensions.get();
        assert_eq!(own.cloned(), Deadline::current());
        tokio::task::yield_now().await;
        assert_eq!(own.cloned(), Deadline::current());
        let minutes = own.map(|deadline| deadline.remaining().as_secs_f64() / 60.0);
        Ok(Text(format!("{:?}", minutes.map(f64::ceil))))
    }))
}

#[tokio::test]
async fn the_deadline_is_that_of_grpc_timeout() {
    let (_server, mut client) = greeter(clocks()).await;
    let reply = client.hello(hello("Ann")).await.unwrap().into_inner();
    assert_eq!(reply.text, "None");
    let mut request = tonic::Request::new(hello("Ann"));
    request.set_timeout(Duration::from_secs(3600));
    let reply = client.hello(request).await.unwrap().into_inner();
    assert_eq!(reply.text, "Some(60.0)");
}

#[tokio::test]
async fn the_deadline_of_a_layer_goes_first() {
    let server = Server::start(|incoming| {
        let service = GreeterServer::new(GreeterService { hello: clocks() });
        let deadline = DeadlineLayer::new(Duration::from_secs(60)).unwrap();
        let mut server = TonicServer::builder().layer(deadline.grpc());
        let server = server.add_service(service);
        server.serve_with_incoming(incoming)
    })
    .await;
    let mut client = GreeterClient::new(server.channel().await);
    let mut request = tonic::Request::new(hello("Ann"));
    request.set_timeout(Duration::from_secs(3600));
    let reply = client.hello(request).await.unwrap().into_inner();
    assert_eq!(reply.text, "Some(1.0)");
}

/// Keeps the ends of calls.
#[derive(Clone, Default)]
pub(crate) struct Recorder(Arc<Mutex<Vec<CallEnd>>>);

impl Policy for Recorder {
    type CallState = ();

    fn finish(&self, (): (), end: &CallEnd) {
        self.0.lock().unwrap().push(end.clone());
    }
}

impl Recorder {
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    pub(crate) fn take(&self) -> Vec<CallEnd> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl<Req> Observer<Req> for Recorder {
    fn start(&self, _call: &mut Call<'_, Req>) {}
}

/// GR-05
#[tokio::test]
async fn a_rejection_by_a_layer_of_the_endpoint_is_seen_as_such_by_an_outer_layer() {
    let recorder = Recorder::default();
    let observer = observe(recorder.clone()).grpc();
    let hour = Duration::from_secs(3600);
    let quota = Quota::new(1, hour).unwrap();
    let limited = ServiceBuilder::new()
        .layer(RateLimitLayer::new(quota).rpc())
        .service(greet());
    let server = Server::start(|incoming| {
        let hello = endpoint(limited);
        let service = GreeterServer::new(GreeterService { hello });
        let server = TonicServer::builder().layer(observer).add_service(service);
        server.serve_with_incoming(incoming)
    })
    .await;
    let mut client = GreeterClient::new(server.channel().await);
    client.hello(hello("Ann")).await.unwrap();
    let status = client.hello(hello("Ann")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    let pushback = status.metadata().get("grpc-retry-pushback-ms").unwrap();
    let pushback: u64 = pushback.to_str().unwrap().parse().unwrap();
    assert!((1..=3_600_000).contains(&pushback), "{pushback}");
    let ends = recorder.0.lock().unwrap();
    let reasons: Vec<_> = ends.iter().map(CallEnd::rejection_reason).collect();
    assert_eq!(reasons, [None, Some(RejectionReason::RateLimited)]);
}

/// A3.6: the endpoint's future is dropped when the client goes.
#[tokio::test]
async fn a_call_that_the_client_drops_is_dropped_in_the_endpoint() {
    let (gone, mut seen) = tokio::sync::mpsc::unbounded_channel();
    struct SendOnDrop(tokio::sync::mpsc::UnboundedSender<&'static str>);
    impl Drop for SendOnDrop {
        fn drop(&mut self) {
            let _ = self.0.send("dropped");
        }
    }
    let nap = endpoint(endpoint_fn(gone, |gone, _: Name| async move {
        let _ = gone.send("begun");
        let _guard = SendOnDrop(gone);
        std::future::pending::<Result<Text, RpcError>>().await
    }));
    let (_server, client) = greeter(nap).await;
    let call = tokio::spawn({
        let mut client = client.clone();
        async move { client.hello(hello("Ann")).await }
    });
    assert_eq!(seen.recv().await, Some("begun"));
    call.abort();
    assert_eq!(seen.recv().await, Some("dropped"));
}

/// GK-GR-1: go-kit's before and after functions, on both sides.
#[tokio::test]
async fn metadata_of_a_response_is_set_by_the_method_and_read_around_the_channel() {
    struct Correlated(Endpoint<Name, Text, RpcError>);

    #[tonic::async_trait]
    impl Greeter for Correlated {
        async fn hello(
            &self,
            request: tonic::Request<HelloRequest>,
        ) -> Result<tonic::Response<HelloReply>, Status> {
            let id = request.metadata().get("correlation-id").cloned();
            let mut response = serve("hello", &self.0, request).await?;
            if let Some(id) = id {
                response.metadata_mut().insert("consumed", id);
            }
            Ok(response)
        }
    }

    let server = Server::start(|incoming| {
        let service = GreeterServer::new(Correlated(greet()));
        let server = TonicServer::builder().add_service(service);
        server.serve_with_incoming(incoming)
    })
    .await;
    let seen = Arc::new(Mutex::new(None));
    let consumed = seen.clone();
    let channel = ServiceBuilder::new()
        .map_response(move |response: http::Response<tonic::body::Body>| {
            *consumed.lock().unwrap() = response.headers().get("consumed").cloned();
            response
        })
        .service(server.channel().await);
    let path = "/greeter.Greeter/Hello";
    let client = client::<HelloRequest, HelloReply, HelloRequest, HelloReply, _>(channel, path);
    let mut request = Request::new("hello", hello("Ann"));
    let id = "request-1".parse().unwrap();
    request.headers.insert("correlation-id", id);
    let reply = client.unwrap().invoke(request).await.unwrap();
    assert_eq!(reply.text, "hello, Ann");
    let seen = seen.lock().unwrap().take();
    assert_eq!(seen.unwrap(), "request-1");
}
