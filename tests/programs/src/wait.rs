use std::{
    net::{TcpListener, UdpSocket},
    thread,
    time::{Duration, Instant},
};

/// Returns a port of the loopback that is free for TCP and UDP.
///
/// # Panics
///
/// If there is none.
#[must_use]
pub fn free_port() -> u16 {
    loop {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Waits until there is something, for as long as `limit` at most.
///
/// # Panics
///
/// If there is nothing by then; `what` says what was waited for.
pub fn until<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "never: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
