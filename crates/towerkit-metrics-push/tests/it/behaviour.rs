//! Pushes over real sockets, whose other ends the tests are themselves.

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
use towerkit_metrics_push::{Graphite, Pusher, Statsd, Target};

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

fn statsd(registry: &Registry, target: Target) -> Pusher {
    Pusher::new(registry.clone(), Statsd::new(), target)
}

#[tokio::test]
async fn what_a_receiver_missed_is_told_when_it_is_back() {
    let (registry, counter) = registry();
    let (receiver, address) = udp("127.0.0.1:0").await;
    let mut pusher = statsd(&registry, Target::udp(address.to_string()));
    let handle = pusher.handle();
    counter.add(1);
    pusher.flush().await.unwrap();
    assert_eq!(receive(&receiver).await, "calls_total:1|c");
    drop(receiver);
    for n in 1..=3 {
        counter.add(10);
        let error = pusher.flush().await.unwrap_err();
        let shown = format!("metrics were not pushed to udp {address}");
        assert_eq!(error.to_string(), shown);
        let source = std::error::Error::source(&error).unwrap();
        let source = source.downcast_ref::<io::Error>().unwrap();
        assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
        let report = handle.report();
        assert_eq!((report.pushes, report.failures), (1, n));
        assert!(report.last_failure.unwrap().contains("refused"));
    }
    let (receiver, _) = udp(&address.to_string()).await;
    counter.add(5);
    pusher.flush().await.unwrap();
    assert_eq!(receive(&receiver).await, "calls_total:35|c");
    let report = handle.report();
    assert_eq!((report.pushes, report.last_failure), (2, None));
}

#[tokio::test]
async fn datagrams_are_as_long_as_is_said_and_a_longer_line_is_counted() {
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
    let mut pusher = statsd(&registry, Target::udp(address.to_string()));
    pusher.flush().await.unwrap();
    let report = pusher.handle().report();
    // The first has nothing to tell.
    assert_eq!((report.lines, report.too_long), (199, 1));
    let mut lines = Vec::new();
    while lines.len() < 199 {
        let datagram = receive(&receiver).await;
        assert!((1000..=1432).contains(&datagram.len()) || lines.len() > 100);
        lines.extend(datagram.split('\n').map(str::to_owned));
    }
    let expected = |n: u64| format!("calls_total.n.{n}:{n}|c");
    assert!((1..200).all(|n| lines.contains(&expected(n))));

    let target = Target::udp(address.to_string()).packet(64).unwrap();
    let mut pusher = statsd(&registry, target);
    pusher.flush().await.unwrap();
    let report = pusher.handle().report();
    assert_eq!((report.lines, report.too_long), (199, 1));
    assert!(receive(&receiver).await.len() <= 64);
}

/// The datagrams that are in the queue of a receiver that stands still have arrived; the rest is told when it goes on.
#[cfg(unix)]
#[tokio::test]
async fn a_full_queue_holds_up_a_push_and_nothing_is_told_twice() {
    let folder = std::env::temp_dir().join(format!("towerkit-push-{}", std::process::id()));
    let _ = std::fs::remove_file(&folder);
    let receiver = tokio::net::UnixDatagram::bind(&folder).unwrap();
    let registry = Registry::new();
    let counters: Vec<_> = (0..100)
        .map(|n| {
            let n = n.to_string();
            registry.counter("calls_total", "", &[("n", &n)]).unwrap()
        })
        .collect();
    let target = Target::unix(&folder).packet(64).unwrap();
    let mut pusher = statsd(&registry, target);
    pusher = pusher.timeout(Duration::from_millis(100)).unwrap();
    let handle = pusher.handle();
    for _ in 0..3 {
        counters.iter().for_each(|counter| counter.add(1));
        let begun = Instant::now();
        pusher.flush().await.unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    assert_eq!(handle.report().failures, 3);
    let mut told = 0;
    let mut datagram = [0; 100];
    for push in 0..20 {
        while let Ok(length) = receiver.try_recv(&mut datagram) {
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            let counts = text.split('\n').map(|line| line.split([':', '|']).nth(1));
            told += counts
                .map(|n| n.unwrap().parse::<u64>().unwrap())
                .sum::<u64>();
        }
        assert!(push < 19, "{told} of 300 calls");
        if told == 300 {
            break;
        }
        let _ = pusher.flush().await;
        // Makes the runtime look at the socket.
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
async fn one_connection_serves_until_it_is_closed_and_is_then_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (registry, counter) = registry();
    let mut pusher = statsd(&registry, Target::tcp(address));
    counter.add(1);
    pusher.flush().await.unwrap();
    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await, "calls_total:1|c\n");
    counter.add(2);
    pusher.flush().await.unwrap();
    assert_eq!(read(&mut stream).await, "calls_total:2|c\n");
    // It has read all: what it was told is not told again.
    drop(stream);
    tokio::time::sleep(Duration::from_millis(20)).await;
    counter.add(3);
    pusher.flush().await.unwrap();
    let mut stream = accept(&listener).await;
    assert_eq!(read(&mut stream).await, "calls_total:3|c\n");
}

#[tokio::test]
async fn what_a_connection_was_reset_with_is_told_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (registry, counter) = registry();
    let pusher = statsd(&registry, Target::tcp(address));
    let mut pusher = pusher.interval(Duration::from_millis(500)).unwrap();
    counter.add(4);
    // The last push is not confirmed before the next one, if there is one.
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
    assert_eq!(pusher.handle().report().failures, 1);
}

/// A receiver that does not read: pushes fail, and nothing waits for them, nor grows.
#[tokio::test]
async fn a_receiver_that_does_not_read_costs_no_more_than_the_timeout() {
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
    let pusher = Pusher::new(registry, Graphite::new(), Target::tcp(address));
    let mut pusher = pusher.timeout(Duration::from_millis(200)).unwrap();
    let begun = Instant::now();
    let error = pusher.flush().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(source.to_string().contains("timed out"), "{source}");
    assert!(begun.elapsed() < Duration::from_secs(5));
    drop(listener);
}

/// GK: no receiver, no name: `run` goes on.
#[tokio::test(start_paused = true)]
async fn pushes_become_rarer_while_they_fail() {
    let (registry, _) = registry();
    let mut pusher = statsd(&registry, Target::tcp("127.0.0.1:1"));
    let handle = pusher.handle();
    let during = |seconds| tokio::time::sleep(Duration::from_secs(seconds));
    tokio::select! {
        never = pusher.run() => match never {},
        () = during(9) => {}
    }
    assert_eq!(handle.report().failures, 0);
    tokio::select! {
        never = pusher.run() => match never {},
        () = during(3600) => {}
    }
    // At most one in 10 seconds at first, and at least one a minute.
    let failures = handle.report().failures;
    assert!((60..200).contains(&failures), "{failures}");
}

#[test]
fn nonsense_in_the_configuration_is_rejected() {
    let pusher = || Pusher::new(Registry::new(), Statsd::new(), Target::udp("x:1"));
    let said = |error: towerkit_metrics_push::InvalidSetting| error.to_string();
    let rejected = pusher().interval(Duration::ZERO).map(drop).map_err(said);
    let expected = "an interval of 0ns is not 10 ms up to a day";
    assert_eq!(rejected.unwrap_err(), expected);
    let rejected = pusher().timeout(Duration::MAX).map(drop).map_err(said);
    assert!(rejected.unwrap_err().ends_with("is not 1 ms up to an hour"));
    for (target, bytes, most) in [
        (Target::udp("x:1"), 63, 65_507),
        (Target::udp("x:1"), 65_508, 65_507),
        (Target::tcp("x:1"), 0, 16_777_216),
    ] {
        let rejected = target.packet(bytes).map(drop).map_err(said);
        let expected = format!("a packet of {bytes} bytes is not 64 to {most}");
        assert_eq!(rejected.unwrap_err(), expected);
    }
}
