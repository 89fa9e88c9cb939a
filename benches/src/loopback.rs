use std::{
    fmt,
    io::{self, BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    runtime::Builder,
    task::JoinSet,
};

/// Persistent connections, each with one request in flight.
const CONNECTIONS: usize = 32;
/// The time for which one server is loaded before the other: short, so that a disturbance affects both.
const PERIOD: Duration = Duration::from_millis(200);
/// The periods of each server in a pair.
const PERIODS: usize = 8;
/// Pairs.
const PAIRS: usize = 7;

const REQUEST: &[u8] = b"POST /uppercase HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\ncontent-length: 20\r\n\r\n{\"s\":\"hello, world\"}";

/// A server in a separate process, which ends when this value is dropped.
pub struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server that prints its address in the first line of its standard output.
    ///
    /// # Errors
    ///
    /// Returns an error if the server does not start, or prints no address.
    pub fn start(command: &mut Command) -> io::Result<Self> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = process.stdout.take().expect("piped");
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let addr = line.split_whitespace().find_map(|word| word.parse().ok());
        match addr {
            Some(addr) => Ok(Self { process, addr }),
            None => Err(io::Error::other("the server prints no address")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Server").field(&self.addr).finish()
    }
}

/// The requests per second of two servers that were loaded alternately.
#[derive(Debug)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Loads two servers alternately.
    ///
    /// # Errors
    ///
    /// Returns an error if a server cannot be reached.
    pub fn measure(bare: &Server, full: &Server) -> io::Result<Self> {
        // The first pair warms them up.
        let pairs = (0..=PAIRS).map(|_| pair(bare, full)).skip(1);
        pairs.collect::<io::Result<_>>().map(Self)
    }

    /// Returns the median requests per second of the first server.
    #[must_use]
    pub fn bare(&self) -> f64 {
        self.median(|(bare, _)| bare)
    }

    /// Returns the median requests per second of the second server.
    #[must_use]
    pub fn full(&self) -> f64 {
        self.median(|(_, full)| full)
    }

    /// Returns the median ratio of the second server's rate to that of the first.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.median(|(bare, full)| full / bare)
    }

    fn median(&self, of: impl Fn((f64, f64)) -> f64) -> f64 {
        let values: Vec<_> = self.0.iter().copied().map(of).collect();
        crate::median(&values)
    }
}

/// Loads both servers alternately, each first equally often, and returns their requests per second.
fn pair(bare: &Server, full: &Server) -> io::Result<(f64, f64)> {
    let (mut of_bare, mut of_full) = (0.0, 0.0);
    for period in 0..PERIODS {
        if period % 2 == 0 {
            of_bare += load(bare.addr)?;
            of_full += load(full.addr)?;
        } else {
            of_full += load(full.addr)?;
            of_bare += load(bare.addr)?;
        }
    }
    Ok((of_bare / PERIODS as f64, of_full / PERIODS as f64))
}

/// Loads a server for one period, and returns its responses with status 200 per second.
fn load(addr: SocketAddr) -> io::Result<f64> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let start = Instant::now();
    let good = runtime.block_on(async {
        let mut connections = JoinSet::new();
        for _ in 0..CONNECTIONS {
            connections.spawn(connection(addr, start));
        }
        let counts = connections.join_all().await;
        counts.into_iter().sum::<io::Result<u64>>()
    })?;
    Ok(good as f64 / start.elapsed().as_secs_f64())
}

/// Sends requests one after the other, and returns the number of responses with status 200.
async fn connection(addr: SocketAddr, start: Instant) -> io::Result<u64> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    let mut good = 0;
    while start.elapsed() < PERIOD {
        stream.write_all(REQUEST).await?;
        buffer.clear();
        while !is_whole(&buffer) {
            if stream.read_buf(&mut buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        good += u64::from(buffer.starts_with(b"HTTP/1.1 200 "));
    }
    Ok(good)
}

/// Returns true if the response is complete.
fn is_whole(response: &[u8]) -> bool {
    let Some(end) = find(response, b"\r\n\r\n") else {
        return false;
    };
    response.len() >= end + 4 + declared_length(&response[..end])
}

fn declared_length(head: &[u8]) -> usize {
    let name = b"content-length: ";
    let Some(start) = find(head, name) else {
        return 0;
    };
    let digits = head[start + name.len()..].iter();
    let digits = digits.take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |length, digit| length * 10 + usize::from(digit - b'0'))
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_whole_with_its_last_byte() {
        let response = b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello, world";
        assert!(is_whole(response));
        assert!((0..response.len()).all(|end| !is_whole(&response[..end])));
    }
}
