use std::{
    collections::HashMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Result, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// A client for HTTP/1.1 with one connection.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<TcpStream>,
}

/// A response.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: HashMap<String, String>,
    /// The body.
    pub body: String,
}

#[expect(
    clippy::missing_panics_doc,
    reason = "each panics if the server does not do what the test needs"
)]
impl Client {
    /// Connects to a server.
    ///
    /// # Errors
    ///
    /// Returns an error if the server takes no connection.
    pub fn connect(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    /// Sends a `GET`.
    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// Posts as `curl -d` does.
    pub fn post(&mut self, path: &str, body: &str) -> Response {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        self.send("POST", path, &form, body.as_bytes())
    }

    /// Posts until the rate limit rejects a call, which takes more than one on a machine that is slower than the rate.
    pub fn post_until_rejected(&mut self, path: &str, body: &str) -> Response {
        let mut responses = (0..10_000).map(|_| self.post(path, body));
        let rejected = responses.find(|response| response.status != 200);
        rejected.expect("the rate is limited")
    }

    /// Sends a request, and receives its response.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        // As one piece, as curl does: hyper closes the connection of a call that is answered before its body is there.
        let mut request = head(method, path, headers, body.len());
        request.extend_from_slice(body);
        self.write(&request);
        self.receive()
    }

    /// Writes a part of a request. A server that has closed the connection is no error: its response may still be read.
    pub fn write(&mut self, part: &[u8]) {
        let _ = self.stream.get_mut().write_all(part);
    }

    /// Receives a response, whose body has a declared length.
    pub fn receive(&mut self) -> Response {
        let status = self.line();
        let status = status.split(' ').nth(1).expect("a status line");
        let mut response = Response {
            status: status.parse().expect("a status"),
            headers: HashMap::new(),
            body: String::new(),
        };
        loop {
            let line = self.line();
            let Some((name, value)) = line.split_once(": ") else {
                break;
            };
            let name = name.to_ascii_lowercase();
            response.headers.insert(name, value.to_owned());
        }
        let length = &response.headers["content-length"];
        let length = length.parse().expect("a length");
        let read = self
            .stream
            .by_ref()
            .take(length)
            .read_to_string(&mut response.body)
            .expect("a body of text");
        assert_eq!(read as u64, length);
        response
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).expect("a response");
        assert_ne!(length, 0, "the connection is closed");
        line.trim_end().to_owned()
    }
}

/// Makes the head of a request.
#[must_use]
pub fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "content-length: {length}\r\n\r\n");
    head.into_bytes()
}
