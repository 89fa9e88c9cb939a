use std::{collections::BTreeMap, fmt, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::HOST};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    sync::{Mutex, mpsc},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use towerkit::core::BoxError;

/// What is asked of a server, and how often.
#[derive(Debug, Clone)]
pub struct Load {
    /// The server.
    pub addr: SocketAddr,
    /// The path.
    pub path: String,
    /// Requests a second, sent whether or not earlier ones are answered.
    pub rate: u32,
    /// For how long.
    pub time: Duration,
    /// Connections, each of which carries one request at a time.
    pub connections: usize,
}

/// Most requests that wait for a connection; what comes then is not sent, and counted.
const BACKLOG: usize = 10_000;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

impl Load {
    /// Sends the requests, and tells what became of them.
    ///
    /// A latency is counted from the moment at which the request was due, so that a server that stalls is not measured less often.
    pub async fn run(self) -> Report {
        let (due, queue) = mpsc::channel(BACKLOG);
        let queue = Arc::new(Mutex::new(queue));
        let load = Arc::new(self);
        let workers: Vec<_> = (0..load.connections)
            .map(|_| tokio::spawn(work(load.clone(), queue.clone())))
            .collect();
        let unsent = schedule(&load, due).await;
        let mut report = Report {
            unsent,
            ..Report::default()
        };
        for worker in workers {
            report.add(worker.await.unwrap_or_default());
        }
        report
    }
}

/// Makes each request due at its time; how many found no room.
async fn schedule(load: &Load, due: mpsc::Sender<Instant>) -> u64 {
    let mut tick = interval(Duration::from_millis(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let start = Instant::now();
    let (mut made, mut unsent) = (0_u64, 0);
    loop {
        let now = tick.tick().await;
        let elapsed = now.saturating_duration_since(start).min(load.time);
        let wanted = (elapsed.as_nanos() * u128::from(load.rate) / 1_000_000_000) as u64;
        while made < wanted {
            made += 1;
            let at = start + Duration::from_nanos(made * 1_000_000_000 / u64::from(load.rate));
            unsent += u64::from(due.try_send(at).is_err());
        }
        if elapsed == load.time {
            return unsent;
        }
    }
}

/// Sends over one connection what is due, until nothing is any more.
async fn work(load: Arc<Load>, queue: Arc<Mutex<mpsc::Receiver<Instant>>>) -> Report {
    let mut report = Report::default();
    let mut connection = None;
    while let Some(due) = next(&queue).await {
        let status = timeout(PATIENCE, send(&load, &mut connection)).await;
        match status {
            Ok(Ok(status)) => report.count(status, due.elapsed()),
            _ => {
                connection = None;
                report.errors += 1;
            }
        }
    }
    report
}

async fn next(queue: &Mutex<mpsc::Receiver<Instant>>) -> Option<Instant> {
    queue.lock().await.recv().await
}

type Connection = SendRequest<Empty<Bytes>>;

async fn send(load: &Load, connection: &mut Option<Connection>) -> Result<StatusCode, BoxError> {
    let usable = connection
        .as_mut()
        .filter(|connection| !connection.is_closed());
    let connection = match usable {
        Some(connection) => connection,
        None => connection.insert(connect(load.addr).await?),
    };
    connection.ready().await?;
    let request = Request::get(&load.path).header(HOST, load.addr.to_string());
    let response = connection.send_request(request.body(Empty::new())?).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

async fn connect(addr: SocketAddr) -> Result<Connection, BoxError> {
    let stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// What became of the requests, as `key=value` pairs.
#[derive(Debug, Default)]
pub struct Report {
    latencies: BTreeMap<u16, Vec<Duration>>,
    errors: u64,
    unsent: u64,
}

impl Report {
    /// Returns the latencies of the requests that had success, in ascending order.
    #[must_use]
    pub fn latencies(&self) -> Vec<Duration> {
        let mut latencies = self.latencies.get(&200).cloned().unwrap_or_default();
        latencies.sort_unstable();
        latencies
    }

    /// Returns the number of requests that had no success.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let others = self.latencies.iter().filter(|(status, _)| **status != 200);
        let others: usize = others.map(|(_, latencies)| latencies.len()).sum();
        others as u64 + self.errors + self.unsent
    }

    fn count(&mut self, status: StatusCode, latency: Duration) {
        self.latencies
            .entry(status.as_u16())
            .or_default()
            .push(latency);
    }

    fn add(&mut self, other: Self) {
        for (status, latencies) in other.latencies {
            self.latencies.entry(status).or_default().extend(latencies);
        }
        self.errors += other.errors;
        self.unsent += other.unsent;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "errors={} unsent={}", self.errors, self.unsent)?;
        for (status, latencies) in &self.latencies {
            let mut sorted = latencies.clone();
            sorted.sort_unstable();
            let micros =
                |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_micros();
            write!(
                f,
                " {status}={} {status}_p50_us={} {status}_p99_us={} {status}_max_us={}",
                sorted.len(),
                micros(0.5),
                micros(0.99),
                micros(1.0),
            )?;
        }
        Ok(())
    }
}
