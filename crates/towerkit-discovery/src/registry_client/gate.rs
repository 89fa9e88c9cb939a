use std::{
    sync::{Mutex as StdMutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex, Notify},
    time::{Instant, sleep_until},
};

/// The minimum time between two requests while they fail.
const INTERVAL: Duration = Duration::from_millis(500);
/// The minimum time between two ends of failing, each of which lets all waiting requests go.
const RELEASE_INTERVAL: Duration = Duration::from_secs(10);

/// Limits the requests of all that share a client to two a second while they fail.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: StdMutex<State>,
    /// Held by the request that comes next: the others wait in the order of their arrival.
    turn: Mutex<()>,
    released: Notify,
}

#[derive(Debug, Default)]
struct State {
    is_failing: bool,
    next: Option<Instant>,
    last_release: Option<Instant>,
}

impl Gate {
    /// Waits until a request may be sent.
    pub(super) async fn enter(&self) {
        if !self.state().is_failing {
            return;
        }
        let _turn = self.turn.lock().await;
        loop {
            let released = self.released.notified();
            let now = Instant::now();
            let next = {
                let mut state = self.state();
                match state.next {
                    Some(next) if state.is_failing && next > now => next,
                    _ => {
                        state.next = Some(now + INTERVAL);
                        return;
                    }
                }
            };
            tokio::select! {
                () = sleep_until(next) => {}
                () = released => {}
            }
        }
    }

    /// Notes an answer, with which failing ends if it last ended ten seconds ago or more.
    pub(super) fn succeeded(&self) {
        let now = Instant::now();
        let mut state = self.state();
        let is_early = |last| now < last + RELEASE_INTERVAL;
        if !state.is_failing || state.last_release.is_some_and(is_early) {
            return;
        }
        state.is_failing = false;
        state.last_release = Some(now);
        drop(state);
        self.released.notify_waiters();
    }

    pub(super) fn failed(&self) {
        let mut state = self.state();
        if !state.is_failing {
            state.is_failing = true;
            state.next = Some(Instant::now() + INTERVAL);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    };

    use tokio::time::sleep;

    use super::*;

    /// Starts loops that send without a pause of their own.
    fn loops(
        gate: &Arc<Gate>,
        fails: impl Fn() -> bool + Clone + Send + 'static,
    ) -> Arc<AtomicUsize> {
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let (gate, count, fails) = (gate.clone(), count.clone(), fails.clone());
            tokio::spawn(async move {
                loop {
                    gate.enter().await;
                    count.fetch_add(1, SeqCst);
                    if fails() {
                        gate.failed();
                    } else {
                        gate.succeeded();
                        sleep(Duration::from_secs(1)).await;
                    }
                }
            });
        }
        count
    }

    #[tokio::test(start_paused = true)]
    async fn twenty_loops_send_two_requests_a_second_while_they_fail_and_all_at_once_afterwards() {
        let gate = Arc::new(Gate::default());
        let is_down = Arc::new(AtomicUsize::new(1));
        let down = is_down.clone();
        let count = loops(&gate, move || down.load(SeqCst) == 1);
        sleep(Duration::from_millis(60_100)).await;
        let sent = count.swap(0, SeqCst);
        assert!((118..=122).contains(&sent), "{sent}");
        is_down.store(0, SeqCst);
        sleep(Duration::from_millis(600)).await;
        assert_eq!(count.load(SeqCst), 20);
    }

    #[tokio::test(start_paused = true)]
    async fn where_one_request_of_ten_succeeds_the_rate_stays_low() {
        let gate = Arc::new(Gate::default());
        let count = Arc::new(AtomicUsize::new(0));
        for _ in 0..20 {
            let (gate, count) = (gate.clone(), count.clone());
            tokio::spawn(async move {
                loop {
                    gate.enter().await;
                    let number = count.fetch_add(1, SeqCst);
                    sleep(Duration::from_millis(50)).await;
                    if number % 10 == 9 {
                        gate.succeeded();
                    } else {
                        gate.failed();
                    }
                }
            });
        }
        sleep(Duration::from_secs(100)).await;
        let sent = count.load(SeqCst);
        // Two a second, and those that ten releases let go.
        assert!(sent <= 200 + 10 * 20, "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_is_dropped_while_it_waits_lets_the_next_one_through() {
        let gate = Gate::default();
        gate.failed();
        let wait = tokio::time::timeout(Duration::from_millis(100), gate.enter());
        assert!(wait.await.is_err());
        let start = Instant::now();
        gate.enter().await;
        assert!(start.elapsed() <= INTERVAL);
    }
    #[tokio::test(start_paused = true)]
    async fn an_answer_lets_a_waiting_request_go_at_once() {
        let gate = Arc::new(Gate::default());
        gate.failed();
        let (waiting, start) = (gate.clone(), Instant::now());
        let waiting = tokio::spawn(async move { waiting.enter().await });
        sleep(Duration::from_millis(100)).await;
        gate.succeeded();
        waiting.await.unwrap();
        assert_eq!(start.elapsed(), Duration::from_millis(100));
    }
}
