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

/// Connections that are kept alive, each with one request under way.
const CONNECTIONS: usize = 32;
/// How long one server is loaded before it is the other's turn: short, so that whoever disturbs them disturbs both.
const TURN: Duration = Duration::from_millis(200);
/// Turns of each server in a pair.
const TURNS: usize = 8;
/// Pairs.
const PAIRS: usize = 7;

const REQUEST: &[u8] = b"POST /uppercase HTTP/1.1\r\nhost: localhost\r\n\
    content-type: application/json\r\ncontent-length: 20\r\n\r\n{\"s\":\"hello, world\"}";

/// A server in a process of its own, which ends with this value.
pub struct Server {
    process: Child,
    addr: SocketAddr,
}

impl Server {
    /// Starts a server that says on the first line of its standard output where it listens.
    ///
    /// # Errors
    ///
    /// If it does not start, or says nothing of the kind.
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
            None => Err(io::Error::other("the server does not say where it listens")),
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

/// What two servers answered in turn.
#[derive(Debug)]
pub struct Pairs(Vec<(f64, f64)>);

impl Pairs {
    /// Loads two servers in turn.
    ///
    /// # Errors
    ///
    /// If one cannot be reached.
    pub fn measure(bare: &Server, full: &Server) -> io::Result<Self> {
        // The first pair warms them up.
        let pairs = (0..=PAIRS).map(|_| pair(bare, full)).skip(1);
        pairs.collect::<io::Result<_>>().map(Self)
    }

    /// Returns the requests a second of the first: the median.
    #[must_use]
    pub fn bare(&self) -> f64 {
        self.median(|(bare, _)| bare)
    }

    /// Returns the requests a second of the second: the median.
    #[must_use]
    pub fn full(&self) -> f64 {
        self.median(|(_, full)| full)
    }

    /// Returns the second's share of the first's: the median of the pairs.
    #[must_use]
    pub fn share(&self) -> f64 {
        self.median(|(bare, full)| full / bare)
    }

    fn median(&self, of: impl Fn((f64, f64)) -> f64) -> f64 {
        let values: Vec<_> = self.0.iter().copied().map(of).collect();
        crate::median(&values)
    }
}

/// Loads both servers, turn by turn and each first as often as the other, and returns their requests a second.
fn pair(bare: &Server, full: &Server) -> io::Result<(f64, f64)> {
    let (mut of_bare, mut of_full) = (0.0, 0.0);
    for turn in 0..TURNS {
        if turn % 2 == 0 {
            of_bare += load(bare.addr)?;
            of_full += load(full.addr)?;
        } else {
            of_full += load(full.addr)?;
            of_bare += load(bare.addr)?;
        }
    }
    Ok((of_bare / TURNS as f64, of_full / TURNS as f64))
}

/// Loads a server for one turn, and returns how many answers of status 200 it gave a second.
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

/// Sends requests one after the other; how many were answered with 200.
async fn connection(addr: SocketAddr, start: Instant) -> io::Result<u64> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(4096);
    let mut good = 0;
    while start.elapsed() < TURN {
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

/// Whether a response is there to its end.
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
