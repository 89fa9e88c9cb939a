//! A small HTTP/1.1 client: one connection, kept for as long as the server keeps it.

use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Result;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::time::Duration;

pub(crate) struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn connect(addr: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        Ok(Self {
            stream: BufReader::new(stream),
        })
    }

    pub(crate) fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[], b"")
    }

    /// Posts as `curl -d` does.
    pub(crate) fn post(&mut self, path: &str, body: &str) -> Response {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        self.send("POST", path, &form, body.as_bytes())
    }

    /// Posts until the rate limit rejects a call, which takes more than one on a machine that is slower than the rate.
    pub(crate) fn post_until_rejected(&mut self, path: &str, body: &str) -> Response {
        let mut responses = (0..10_000).map(|_| self.post(path, body));
        let rejected = responses.find(|response| response.status != 200);
        rejected.expect("the rate is limited")
    }

    pub(crate) fn send(
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

    /// Sends as much of a request as there is still a server that reads.
    pub(crate) fn write(&mut self, part: &[u8]) {
        let _ = self.stream.get_mut().write_all(part);
    }

    pub(crate) fn receive(&mut self) -> Response {
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
            .unwrap();
        assert_eq!(read as u64, length);
        response
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let length = self.stream.read_line(&mut line).unwrap();
        assert_ne!(length, 0, "the connection is closed");
        line.trim_end().to_owned()
    }
}

pub(crate) fn head(method: &str, path: &str, headers: &[(&str, &str)], length: usize) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(&format!("content-length: {length}\r\n\r\n"));
    head.into_bytes()
}
