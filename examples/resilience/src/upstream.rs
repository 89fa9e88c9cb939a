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

/// An upstream that behaves as it is told.
#[derive(Debug, Clone, Default)]
pub struct Upstream(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    mood: AtomicU8,
    calls: AtomicU64,
}

/// How the upstream behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Answers within 5 ms.
    Well,
    /// Answers one call in twenty after 250 ms.
    SlowTail,
    /// Fails one call in four at once.
    Flaky,
    /// Fails every call.
    Down,
}

impl Mood {
    const ALL: [Self; 4] = [Self::Well, Self::SlowTail, Self::Flaky, Self::Down];

    /// Returns the mood in a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::SlowTail => "slow tail",
            Self::Flaky => "flaky",
            Self::Down => "down",
        }
    }
}

impl Upstream {
    /// Serves on a free port from now on.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn serve(&self) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let addr = listener.local_addr()?;
        let app = Router::new().fallback(any(answer)).with_state(self.clone());
        tokio::spawn(axum::serve(listener, app).into_future());
        Ok(addr)
    }

    /// Behaves like this from now on.
    pub fn be(&self, mood: Mood) {
        self.0.mood.store(mood as u8, Ordering::Relaxed);
    }

    /// Returns how it behaves.
    #[must_use]
    pub fn mood(&self) -> Mood {
        Mood::ALL[usize::from(self.0.mood.load(Ordering::Relaxed))]
    }

    /// Returns the calls that arrived so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::Relaxed)
    }
}

async fn answer(State(upstream): State<Upstream>) -> StatusCode {
    upstream.0.calls.fetch_add(1, Ordering::Relaxed);
    let mood = upstream.mood();
    if mood == Mood::Down || (mood == Mood::Flaky && fastrand::u8(..4) == 0) {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    let is_slow = mood == Mood::SlowTail && fastrand::u8(..20) == 0;
    sleep(Duration::from_millis(if is_slow { 250 } else { 5 })).await;
    StatusCode::OK
}
