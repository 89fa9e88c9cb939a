//! A receiver over gRPC that is killed, or stopped by a signal, and comes back.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, Command, Stdio},
};

use crate::{
    outages::{LIMIT, arrives, is_lost, pipeline, record, shut_down},
    receiver::{anywhere, grpc_spans},
};

#[test]
fn spans_arrive_again_after_a_receiver_was_killed() {
    let receiver = grpc_spans(anywhere());
    let spans = pipeline().otlp_grpc(&receiver.endpoint()).unwrap();
    arrives(&spans);
    let address = receiver.kill();
    is_lost(&spans);
    let receiver = grpc_spans(address);
    arrives(&spans);
    spans.shutdown(60 * LIMIT).unwrap();
    assert_eq!(spans.snapshot().held(), 0);
    assert!(!receiver.received().is_empty());
}

const PROCESS: &str = "TOWERKIT_TEST_RECEIVER";

/// Receives until it is killed, in the process that the test below starts; does nothing otherwise.
#[test]
fn a_process_that_receives() {
    if std::env::var_os(PROCESS).is_none() {
        return;
    }
    let receiver = grpc_spans(anywhere());
    println!("\nreceiver {}", receiver.endpoint());
    // Its parent holds the other end, for as long as it lives.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

struct Process(Child);

impl Process {
    fn start() -> (Self, String) {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "killed::a_process_that_receives", "--nocapture"])
            .env(PROCESS, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let endpoint =
            lines.find_map(|line| Some(line.unwrap().strip_prefix("receiver ")?.to_owned()));
        (Self(child), endpoint.unwrap())
    }

    fn signal(&self, signal: &str) {
        let pid = self.0.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn spans_arrive_after_a_receiver_was_suspended() {
    let (process, endpoint) = Process::start();
    let spans = pipeline().otlp_grpc(&endpoint).unwrap();
    arrives(&spans);
    process.signal("-STOP");
    is_lost(&spans);
    process.signal("-CONT");
    arrives(&spans);
    process.signal("-STOP");
    record(&spans, 50);
    assert!(shut_down(&spans).unwrap_err().is_timeout());
}
