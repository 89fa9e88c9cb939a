//! Servers that reply with errors, in the wordings of several versions of Redis.

use std::{
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use towerkit_core::Event;
use towerkit_ratelimit_redis::{RedisRateLimitLayer, redis::Client};

use super::servers::{call, quota, service};

/// A server that replies to the script with an error on some connections.
#[derive(Clone)]
struct FakeServer(Arc<State>);

struct State {
    error: String,
    connections: AtomicUsize,
    /// The number of connections, from the first on, that get the error.
    failing: AtomicUsize,
}

impl FakeServer {
    fn start(error: &str) -> (Self, Client) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let fake = Self(Arc::new(State {
            error: error.to_owned(),
            connections: AtomicUsize::new(0),
            failing: AtomicUsize::new(usize::MAX),
        }));
        let server = fake.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = server.0.connections.fetch_add(1, Ordering::SeqCst);
                let server = server.clone();
                thread::spawn(move || server.serve(stream.unwrap(), number));
            }
        });
        (
            fake,
            Client::open(format!("redis://127.0.0.1:{port}")).unwrap(),
        )
    }

    /// Replies to commands until the client disconnects.
    fn serve(&self, stream: TcpStream, number: usize) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let command = read_command(&mut reader)?;
            let answer = match &*command.to_ascii_uppercase() {
                "EVALSHA" | "EVAL" if number < self.0.failing.load(Ordering::SeqCst) => {
                    format!("-{}\r\n", self.0.error)
                }
                "EVALSHA" | "EVAL" => "*2\r\n:1\r\n:0\r\n".to_owned(),
                _ => "+OK\r\n".to_owned(),
            };
            stream.write_all(answer.as_bytes()).ok()?;
        }
    }

    fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// Replies with the error on the present connections only.
    fn answer_new_connections(&self) {
        self.0.failing.store(self.connections(), Ordering::SeqCst);
    }

    fn answer_all(&self) {
        self.0.failing.store(0, Ordering::SeqCst);
    }
}

/// Reads an array of strings, and returns the first one.
fn read_command(reader: &mut impl BufRead) -> Option<String> {
    let number = |reader: &mut dyn BufRead| {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        line.trim().get(1..)?.parse::<usize>().ok()
    };
    let mut words = Vec::new();
    for _ in 0..number(reader)? {
        let mut word = vec![0; number(reader)? + 2];
        reader.read_exact(&mut word).ok()?;
        words.push(String::from_utf8_lossy(&word[..word.len() - 2]).into_owned());
    }
    words.into_iter().next()
}

/// Returns a layer that fails closed, and the changes of reachability that its events report.
fn layer(client: Client) -> (RedisRateLimitLayer, Arc<Mutex<Vec<bool>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let layer = RedisRateLimitLayer::new(client, quota(1000, 1000))
        .unwrap()
        .fail_closed()
        .events(move |event: &Event| {
            if let Event::StoreChanged { reachable, .. } = event {
                sink.lock().unwrap().push(*reachable);
            }
        });
    (layer, seen)
}

/// Calls until `condition` holds for the result of a call: true if it was admitted.
async fn call_until(
    layer: &RedisRateLimitLayer,
    case: &str,
    mut condition: impl FnMut(bool) -> bool,
) {
    let service = service(layer);
    let begun = Instant::now();
    while !condition(call(&service, "Ann").await.is_ok()) {
        assert!(begun.elapsed() < Duration::from_secs(10), "never: {case}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

const WRAPPED: &str =
    "ERR Error running script (call to f_35ad2ad0d1d1): @user_script:44: @user_script: 44: -";

/// A failover: the old master rejects all writes, on connections that stay open.
#[tokio::test]
async fn a_connection_that_cannot_answer_is_replaced() {
    let mut cases = Vec::new();
    for error in [
        "READONLY You can't write against a read only replica.",
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "NOREPLICAS Not enough good replicas to write.",
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        "NOAUTH Authentication required.",
        "WRONGPASS invalid username-password pair or user is disabled.",
    ] {
        let wordings = [error.to_owned(), format!("{WRAPPED}{error}")];
        cases.extend(wordings.map(|error| async move {
            let (fake, client) = FakeServer::start(&error);
            let (layer, seen) = layer(client);
            let is_unreachable = || *seen.lock().unwrap() == [false];
            call_until(&layer, &error, |_| {
                is_unreachable() && fake.connections() >= 4
            })
            .await;
            fake.answer_new_connections();
            call_until(&layer, &error, |admitted| admitted).await;
            assert_eq!(*seen.lock().unwrap(), [false, true], "{error}");
        }));
    }
    join_all(cases).await;
}

/// The connection is replaced only once, when the server is found unreachable.
#[tokio::test]
async fn a_server_that_cannot_answer_is_unreachable_until_it_can() {
    let mut cases = Vec::new();
    for error in [
        "MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.",
        "OOM command not allowed when used memory > 'maxmemory'.",
        "NOPERM this user has no permissions to run the 'evalsha' command or its subcommand",
        "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    ] {
        let wordings = [error.to_owned(), format!("{WRAPPED}{error}")];
        cases.extend(wordings.map(|error| async move {
            let (fake, client) = FakeServer::start(&error);
            let (layer, seen) = layer(client);
            let mut rejected = 0;
            call_until(&layer, &error, |admitted| {
                assert!(!admitted);
                rejected += 1;
                rejected > 300 && *seen.lock().unwrap() == [false]
            })
            .await;
            assert!(fake.connections() <= 2, "{error}");
            fake.answer_all();
            call_until(&layer, &error, |admitted| admitted).await;
            assert_eq!(*seen.lock().unwrap(), [false, true], "{error}");
        }));
    }
    join_all(cases).await;
}
