use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{Router, extract::State, http::StatusCode, routing::any};
use tokio::{net::TcpListener, time::sleep};

/// An upstream with a state that the demo sets.
#[derive(Debug, Clone, Default)]
pub struct Upstream(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: AtomicU8,
    calls: AtomicU64,
}

/// The state of the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpstreamState {
    /// Responds within 5 ms.
    Healthy,
    /// Responds to one call in twenty after 250 ms.
    SlowTail,
    /// Fails one call in four at once.
    Flaky,
    /// Fails every call.
    Down,
}

impl UpstreamState {
    const ALL: [Self; 4] = [Self::Healthy, Self::SlowTail, Self::Flaky, Self::Down];

    /// Returns the name of the state, in lower case.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::SlowTail => "slow tail",
            Self::Flaky => "flaky",
            Self::Down => "down",
        }
    }
}

impl Upstream {
    /// Starts to serve on a free port.
    ///
    /// # Errors
    ///
    /// If no port is free.
    pub async fn serve(&self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let app = Router::new()
            .fallback(any(respond))
            .with_state(self.clone());
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(addr)
    }

    /// Sets the state, for all calls that arrive from now on.
    pub fn set_state(&self, state: UpstreamState) {
        self.0.state.store(state as u8, Ordering::Relaxed);
    }

    /// Returns the current state.
    #[must_use]
    pub fn state(&self) -> UpstreamState {
        UpstreamState::ALL[usize::from(self.0.state.load(Ordering::Relaxed))]
    }

    /// Returns the number of calls that arrived so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }
}

async fn respond(State(upstream): State<Upstream>) -> StatusCode {
    upstream.0.calls.fetch_add(1, Ordering::Relaxed);
    let state = upstream.state();
    let fails = match state {
        UpstreamState::Down => true,
        UpstreamState::Flaky => fastrand::u8(..4) == 0,
        UpstreamState::Healthy | UpstreamState::SlowTail => false,
    };
    if fails {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let is_slow = state == UpstreamState::SlowTail && fastrand::u8(..20) == 0;
    sleep(Duration::from_millis(if is_slow { 250 } else { 5 })).await;
    StatusCode::OK
}
