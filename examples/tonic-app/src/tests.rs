//! What the layer adds, seen by a client over a socket.

use std::time::Duration;

use tonic::{
    Code,
    transport::{Channel, Endpoint},
};
use tonic_app::greeter_client::GreeterClient;

use super::*;

async fn listener() -> (TcpIncoming, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (TcpIncoming::from(listener), url)
}

async fn client(url: String) -> GreeterClient<Channel> {
    let server = Endpoint::from_shared(url).unwrap();
    GreeterClient::new(server.connect().await.unwrap())
}

async fn hello(client: &mut GreeterClient<Channel>) -> Result<String, Status> {
    let name = "Ann".to_owned();
    let reply = client.hello(HelloRequest { name }).await?;
    Ok(reply.into_inner().text)
}

#[tokio::test]
async fn without_the_layer_everyone_is_served() {
    let (incoming, url) = listener().await;
    let server = tokio::spawn(serve(incoming));
    let mut client = client(url).await;
    for _ in 0..10 {
        assert_eq!(hello(&mut client).await.unwrap(), "hello, Ann");
    }
    server.abort();
}

#[tokio::test]
async fn with_the_layer_who_comes_too_soon_is_told_when_to_return() {
    let hour = Duration::from_secs(3600);
    let quota = Quota::new(1, hour).unwrap().burst(2).unwrap();
    let (incoming, url) = listener().await;
    let server = tokio::spawn(serve_protected(incoming, quota));
    let mut client = client(url).await;
    for _ in 0..2 {
        assert_eq!(hello(&mut client).await.unwrap(), "hello, Ann");
    }
    let rejected = hello(&mut client).await.unwrap_err();
    assert_eq!(rejected.code(), Code::ResourceExhausted);
    let pushback = rejected.metadata().get("grpc-retry-pushback-ms").unwrap();
    let milliseconds: u64 = pushback.to_str().unwrap().parse().unwrap();
    assert!((1..=3_600_000).contains(&milliseconds), "{milliseconds}");
    server.abort();
}
