use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::thread::sleep;
use std::time::Duration;
use std::time::Instant;

use super::BODY;
use super::start;
use super::wait_until;
use towerkit_programs::Service;
use towerkit_programs::head;

fn wait_for_a_call_in_flight(service: &Service) {
    let active =
        r#"http_server_active_requests{http_request_method="POST",http_route="/uppercase"} 1"#;
    let mut client = service.client();
    wait_until("a call is in flight", || {
        client.get("/metrics").body.contains(active)
    });
}

/// A1.11
#[test]
fn a_signal_ends_an_idle_service_at_once() {
    for signal in ["TERM", "INT"] {
        let service = start(&["--drain", "1h"]);
        let mut idle = service.client();
        assert_eq!(idle.get("/healthz").status, 200);
        service.signal(signal);
        assert_eq!(service.end().status.code(), Some(0), "{signal}");
    }
}

/// A1.11
#[test]
fn a_call_in_flight_ends_before_the_service_does() {
    let service = start(&["--timeout", "1m", "--drain", "1h"]);
    let mut slow = service.client();
    let (first, rest) = BODY.split_at(5);
    slow.write(&head("POST", "/uppercase", &[], BODY.len()));
    slow.write(first.as_bytes());
    wait_for_a_call_in_flight(&service);

    service.signal("TERM");
    wait_until("no new connection is taken", || !service.is_listening());
    slow.write(rest.as_bytes());
    assert_eq!(slow.receive().body, r#"{"v":"HELLO, WORLD"}"#);
    assert_eq!(service.end().status.code(), Some(0));
}

/// A1.11
#[test]
fn what_does_not_end_in_time_or_before_a_second_signal_is_cut_off() {
    for (drain, signals) in [("100ms", 1), ("1h", 2)] {
        let service = start(&["--timeout", "1h", "--drain", drain]);
        let mut stuck = service.client();
        stuck.write(&head("POST", "/uppercase", &[], BODY.len()));
        wait_for_a_call_in_flight(&service);
        for _ in 0..signals {
            service.signal("TERM");
            wait_until("no new connection is taken", || !service.is_listening());
        }
        assert_eq!(service.end().status.code(), Some(0), "{drain}");
    }
}

/// RL-14
#[test]
fn a_service_that_was_stopped_admits_a_burst_and_no_more() {
    const RATE: u32 = 100;
    const BURST: u32 = 20;
    const CONNECTIONS: u32 = 4;
    let service = start(&["--rate", "100", "--burst", "20", "--log", "off"]);
    let (admitted, rejected) = (AtomicU32::new(0), AtomicU32::new(0));
    let is_over = AtomicBool::new(false);
    let load = || {
        let mut client = service.client();
        while !is_over.load(SeqCst) {
            match client.post("/count", BODY).status {
                200 => admitted.fetch_add(1, SeqCst),
                429 => rejected.fetch_add(1, SeqCst),
                other => panic!("{other}"),
            };
        }
    };
    let (resumed, elapsed) = thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(load);
        }
        wait_until("the bucket is empty", || rejected.load(SeqCst) > 0);
        service.signal("STOP");
        sleep(Duration::from_secs(3));
        admitted.store(0, SeqCst);
        rejected.store(0, SeqCst);
        let start = Instant::now();
        service.signal("CONT");
        // Answers of before the stop are one on each connection.
        wait_until("a burst is admitted and the bucket is empty", || {
            admitted.load(SeqCst) >= BURST && rejected.load(SeqCst) > CONNECTIONS
        });
        is_over.store(true, SeqCst);
        (admitted.load(SeqCst), start.elapsed())
    });
    // What was admitted before the stop may have been answered after it: one call on each connection.
    let most = BURST + (f64::from(RATE) * elapsed.as_secs_f64()) as u32 + CONNECTIONS + 1;
    assert!(resumed <= most, "{resumed} in {elapsed:?}");
}
