//! Pushes over real sockets, which the tests receive.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream, UdpSocket},
};
use towerkit_metrics::Registry;
use towerkit_metrics_push::{Destination, Graphite, Pusher, Statsd};

fn registry() -> (Registry, std::sync::Arc<dyn towerkit_metrics::Counter>) {
    let registry = Registry::new();
    let counter = registry.counter("calls_total", "", &[]).unwrap();
    (registry, counter)
}

async fn udp(address: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(address).await.unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

async fn receive(socket: &UdpSocket) -> String {
    let mut datagram = [0; 65_536];
    let length = socket.recv(&mut datagram).await.unwrap();
    String::from_utf8(datagram[..length].to_vec()).unwrap()
}

fn statsd(registry: &Registry, destination: Destination) -> Pusher {
    Pusher::new(registry.clone(), Statsd::new(), destination)
}

#[tokio::test]
async fn a_receiver_that_returns_gets_the_missed_changes() {
    let (registry, counter) = registry();
    let (receiver, address) = udp("127.0.0.1:0").await;
    let mut pusher = statsd(&registry, Destination::udp(address.to_string()));
    let handle = pusher.handle();
    counter.add(1);
    pusher.flush().await.unwrap();
    assert_eq!(receive(&receiver).await, "calls_total:1|c");
    drop(receiver);
    for n in 1..=3 {
        counter.add(10);
        let error = pusher.flush().await.unwrap_err();
        let shown = format!("could not push metrics to udp {address}");
        assert_eq!(error.to_string(), shown);
        let source = std::error::Error::source(&error).unwrap();
        let source = source.downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.pushes, snapshot.failures), (1, n));
        assert!(snapshot.last_failure.unwrap().contains("refused"));
    }
    let (receiver, _) = udp(&address.to_string()).await;
    counter.add(5);
    pusher.flush().await.unwrap();
    assert_eq!(receive(&receiver).await, "calls_total:35|c");
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.pushes, snapshot.last_failure), (2, None));
}

#[tokio::test]
async fn datagrams_fit_in_a_frame_and_a_longer_line_is_counted() {
    let registry = Registry::new();
    for n in 0..200 {
        let labels = [("n", n.to_string())];
        let labels = labels
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        let counter = registry.counter("calls_total", "", &labels).unwrap();
        counter.add(n);
    }
    let long = "x".repeat(1500);
    let counter = registry.counter("long_total", "", &[("x", &long)]).unwrap();
    counter.add(1);
    let (receiver, address) = udp("127.0.0.1:0").await;
    let mut pusher = statsd(&registry, Destination::udp(address.to_string()));
    pusher.flush().await.unwrap();
    let snapshot = pusher.handle().snapshot();
    // The first counter is 0 and has no line.
    assert_eq!((snapshot.lines, snapshot.too_long), (199, 1));
    let mut lines = Vec::new();
    while lines.len() < 199 {
        let datagram = receive(&receiver).await;
        assert!((1000..=1432).contains(&datagram.len()) || lines.len() > 100);
        lines.extend(datagram.split('\n').map(str::to_owned));
    }
    let expected = |n: u64| format!("calls_total.n.{n}:{n}|c");
    assert!((1..200).all(|n| lines.contains(&expected(n))));
}

/// The datagrams in the queue of a receiver that does not read have arrived; the rest is sent when it reads again.
#[cfg(unix)]
#[tokio::test]
async fn a_full_queue_fails_a_push_and_each_change_arrives_once() {
    let folder = std::env::temp_dir().join(format!("towerkit-push-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let receiver = tokio::net::UnixDatagram::bind(&folder).unwrap();
    let registry = Registry::new();
    let label = "x".repeat(400);
    let counters: Vec<_> = (0..300)
        .map(|n| {
            let n = format!("{label}{n}");
            registry.counter("calls_total", "", &[("n", &n)]).unwrap()
        })
        .collect();
    let mut pusher = statsd(&registry, Destination::unix(&folder));
    pusher = pusher.timeout(Duration::from_millis(100)).unwrap();
    let handle = pusher.handle();
    for _ in 0..3 {
        counters.iter().for_each(|counter| counter.add(1));
        let begun = Instant::now();
        pusher.flush().await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(handle.snapshot().failures, 3);
    let mut received = 0;
    let mut datagram = [0; 8192];
    for push in 0..20 {
        while let Ok(length) = receiver.try_recv(&mut datagram) {
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            let counts = text.split('\n').map(|line| line.split([':', '|']).nth(1));
            received += counts
                .map(|n| n.unwrap().parse::<u64>().unwrap())
                .sum::<u64>();
        }
        assert!(push < 19, "{received} of 900 calls");
        if received == 900 {
            break;
        }
        let _ = pusher.flush().await;
        // The runtime polls the socket.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(pusher.flush().await.is_ok());
    assert!(receiver.try_recv(&mut datagram).is_err());
    drop(receiver);
    counters[0].add(1);
    pusher.flush().await.unwrap_err();
    let _ = std::fs::remove_file(&folder);
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let accepted = tokio::time::timeout(Duration::from_secs(10), listener.accept());
    accepted.await.unwrap().unwrap().0
}

async fn read(stream: &mut TcpStream) -> String {
    let mut text = [0; 65_536];
    let length = stream.read(&mut text).await.unwrap();
    String::from_utf8(text[..length].to_vec()).unwrap()
}

#[tokio::test]
async fn a_connection_is_kept_and_replaced_after_it_was_closed() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (registry, counter) = registry();
    let mut pusher = statsd(&registry, Destination::tcp(address));
    counter.add(1);
    pusher.flush().await.unwrap();
    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await, "calls_total:1|c\n");
    counter.add(2);
    pusher.flush().await.unwrap();
    assert_eq!(read(&mut stream).await, "calls_total:2|c\n");
    // The receiver has read all data, so that no change is sent again.
    drop(stream);
    tokio::time::sleep(Duration::from_millis(20)).await;
    counter.add(3);
    pusher.flush().await.unwrap();
    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await, "calls_total:3|c\n");
}

#[tokio::test]
async fn changes_on_a_connection_that_was_reset_are_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (registry, counter) = registry();
    let pusher = statsd(&registry, Destination::tcp(address));
    let mut pusher = pusher.interval(Duration::from_millis(500)).unwrap();
    counter.add(4);
    // A push is confirmed by the next one.
    tokio::select! {
        never = pusher.run() => match never {},
        there = async { accept(&listener).await.peek(&mut [0; 100]).await } => {
            assert_eq!(there.unwrap(), "calls_total:4|c\n".len());
        }
    }
    tokio::time::sleep(Duration::from_millis(20)).await;
    counter.add(1);
    pusher.flush().await.unwrap();
    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await, "calls_total:5|c\n");
    assert_eq!(pusher.handle().snapshot().failures, 1);
}

#[tokio::test]
async fn a_receiver_that_does_not_read_fails_the_push_after_the_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let registry = Registry::new();
    let label = "x".repeat(1000);
    for n in 0..5000 {
        let label = format!("{label}{n}");
        registry
            .counter("calls_total", "", &[("x", &label)])
            .unwrap();
    }
    let pusher = Pusher::new(registry, Graphite::new(), Destination::tcp(address));
    let mut pusher = pusher.timeout(Duration::from_millis(200)).unwrap();
    let begun = Instant::now();
    let error = pusher.flush().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.to_string().contains("timed out"), "{source}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(listener);
}

/// `run` continues without a receiver.
#[tokio::test(start_paused = true)]
async fn the_interval_grows_while_pushes_fail() {
    let (registry, _) = registry();
    let mut pusher = statsd(&registry, Destination::tcp("127.0.0.1:1"));
    let handle = pusher.handle();
    let during = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    tokio::select! {
        never = pusher.run() => match never {},
        () = during(9) => {}
    }
    assert_eq!(handle.snapshot().failures, 0);
    tokio::select! {
        never = pusher.run() => match never {},
        () = during(3600) => {}
    }
    // One push in 10 seconds at first, and one a minute later.
    let failures = handle.snapshot().failures;
    assert!((60..200).contains(&failures), "{failures}");
}

#[test]
fn invalid_settings_are_rejected() {
    let pusher = || Pusher::new(Registry::new(), Statsd::new(), Destination::udp("x:1"));
    let error = pusher().interval(Duration::ZERO).unwrap_err();
    let expected = "invalid interval 0ns: expected 10 ms up to a day";
    assert_eq!(error.to_string(), expected);
    let error = pusher().timeout(Duration::MAX).unwrap_err();
    assert_eq!(error.setting(), "timeout");
}
