use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::Instant,
};

/// Data that come within this time after the last belong to the same request.
const SAME_REQUEST: Duration = Duration::from_millis(100);

/// A TCP proxy in front of a server, which counts requests and can cut the network.
///
/// It knows no protocol: a request is a new connection, or data after a pause of 100 ms.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

/// The state of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// Data pass.
    Up,
    /// Connections stay open, and no data pass. They pass later.
    Cut,
    /// Connections are closed, and so is each new one.
    Refused,
}

struct Shared {
    to: SocketAddr,
    link: watch::Sender<Link>,
    requests: AtomicUsize,
    connections: AtomicUsize,
}

impl Proxy {
    /// Starts a proxy on a free port.
    ///
    /// # Panics
    ///
    /// Panics if there is no free port.
    pub async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("there is a free port");
        let shared = Arc::new(Shared {
            to,
            link: watch::Sender::new(Link::Up),
            requests: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
        });
        Self {
            address: listener.local_addr().expect("the listener is bound"),
            task: tokio::spawn(accept(listener, shared.clone())),
            shared,
        }
    }

    /// Returns the address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts or mends the network.
    pub fn set_link(&self, link: Link) {
        self.shared.link.send_replace(link);
    }

    /// Returns the requests so far.
    #[must_use]
    pub fn requests(&self) -> usize {
        self.shared.requests.load(SeqCst)
    }

    /// Returns the connections that are open.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("address", &self.address)
            .field("requests", &self.requests())
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        if let Ok((client, _)) = listener.accept().await {
            while connections.try_join_next().is_some() {}
            shared.requests.fetch_add(1, SeqCst);
            connections.spawn(forward(client, shared.clone()));
        }
    }
}

/// Counts a connection while it lives.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: Arc<Shared>) -> Self {
        shared.connections.fetch_add(1, SeqCst);
        Self(shared)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, SeqCst);
    }
}

async fn forward(mut client: TcpStream, shared: Arc<Shared>) {
    let open = Open::new(shared);
    let shared = &*open.0;
    let mut link = shared.link.subscribe();
    let both = async {
        // A server that is killed refuses, and so does the proxy, by closing.
        let mut server = TcpStream::connect(shared.to).await?;
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let mut last = Instant::now();
        let requests = copy(&mut from_client, &mut to_server, shared, move || {
            if last.elapsed() > SAME_REQUEST {
                shared.requests.fetch_add(1, SeqCst);
            }
            last = Instant::now();
        });
        let responses = copy(&mut from_server, &mut to_client, shared, || ());
        tokio::select! {
            result = requests => result,
            result = responses => result,
        }
    };
    tokio::select! {
        _ = both => {}
        _ = link.wait_for(|link| *link == Link::Refused) => {}
    }
}

/// Copies while the link is up, and calls `read` after each read.
async fn copy(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    shared: &Shared,
    mut read: impl FnMut(),
) -> io::Result<()> {
    let mut link = shared.link.subscribe();
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        read();
        let _ = link.wait_for(|link| *link == Link::Up).await;
        to.write_all(&buffer[..length]).await?;
    }
}
