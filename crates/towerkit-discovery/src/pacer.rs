use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// The time in which there are at most two requests.
const WINDOW: Duration = Duration::from_secs(1);
/// The maximum backoff after a first failure.
const BACKOFF: Duration = Duration::from_millis(750);
/// The maximum backoff of a registry that does not answer: its restart is noticed within this time.
const MAX_UNREACHABLE: Duration = Duration::from_millis(1500);
/// The maximum backoff of a registry that answers with an error, such as one about missing rights.
const MAX_REFUSED: Duration = Duration::from_secs(30);

/// Spaces the requests of a loop to a registry: at most two a second, and fewer while they fail.
///
/// Each loop of a [`Source`](crate::Source) has one. A request is sent at once if the last but one was a second ago. After failures the
/// waits are random and grow from retry to retry, so that clients do not return to a registry all at the same time.
///
/// ```
/// use towerkit_discovery::{InstanceSender, Pacer, RegistryError};
///
/// # type Instances = Vec<towerkit_discovery::Instance>;
/// async fn run(sender: InstanceSender, request: impl AsyncFn() -> Result<Instances, RegistryError>) {
///     let mut pacer = Pacer::new();
///     loop {
///         pacer.wait().await;
///         match request().await {
///             Ok(instances) => {
///                 pacer.succeeded();
///                 sender.set(instances);
///             }
///             Err(error) => {
///                 pacer.failed();
///                 sender.fail(error);
///             }
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, Default)]
pub struct Pacer {
    /// When the last two requests were sent, the last one last.
    sent: [Option<Instant>; 2],
    /// The end of the backoff.
    resume_at: Option<Instant>,
    failures: u32,
}

impl Pacer {
    /// Makes a pacer that has seen no request.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            sent: [None; 2],
            resume_at: None,
            failures: 0,
        }
    }

    /// Waits until the next request may be sent.
    ///
    /// # Cancellation
    ///
    /// If the future is dropped, no request is counted.
    pub async fn wait(&mut self) {
        let [last_but_one, last] = self.sent;
        let next = last_but_one.map(|at| at + WINDOW).max(self.resume_at);
        if let Some(next) = next {
            sleep_until(next).await;
        }
        self.sent = [last, Some(Instant::now())];
    }

    /// Resets the backoff, after an answer of the registry.
    pub fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Backs off from a registry that does not answer: for up to 0.75 s after the first failure, and up to 1.5 s after further ones.
    pub fn failed(&mut self) {
        self.back_off(MAX_UNREACHABLE);
    }

    /// Backs off from a registry that answers with an error that will last, such as refused credentials: for up to 30 s.
    pub fn refused(&mut self) {
        self.back_off(MAX_REFUSED);
    }

    /// Waits for a random time between half of the backoff and all of it, from now on.
    fn back_off(&mut self, max: Duration) {
        // Above 2^7 the maximum applies in any case.
        let factor = 1_u32 << self.failures.min(7);
        self.failures = self.failures.saturating_add(1);
        let backoff = (BACKOFF * factor).min(max);
        self.resume_at = Some(Instant::now() + backoff.mul_f64(0.5 + 0.5 * fastrand::f64()));
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    async fn waited(pacer: &mut Pacer) -> Duration {
        let start = Instant::now();
        pacer.wait().await;
        start.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_at_most_two_requests_in_any_second_and_an_idle_loop_does_not_wait() {
        let mut pacer = Pacer::new();
        for _ in 0..3 {
            assert_eq!(waited(&mut pacer).await, Duration::ZERO);
            assert_eq!(waited(&mut pacer).await, Duration::ZERO);
            pacer.succeeded();
            assert_eq!(waited(&mut pacer).await, WINDOW);
            sleep(Duration::from_millis(1)).await;
            assert_eq!(waited(&mut pacer).await, Duration::ZERO);
            assert_eq!(waited(&mut pacer).await, WINDOW - Duration::from_millis(1));
            sleep(Duration::from_secs(5)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_unreachable_registry_is_asked_within_a_second_and_a_half() {
        for _ in 0..50 {
            let mut pacer = Pacer::new();
            pacer.wait().await;
            let mut total = Duration::ZERO;
            for _ in 0..20 {
                pacer.failed();
                let wait = waited(&mut pacer).await;
                assert!(wait >= Duration::from_millis(374), "{wait:?}");
                assert!(wait <= Duration::from_millis(1501), "{wait:?}");
                total += wait;
            }
            assert!(total > Duration::from_secs(17), "{total:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_refuses_is_asked_every_half_minute_in_the_end() {
        let mut pacer = Pacer::new();
        for _ in 0..300 {
            pacer.wait().await;
            pacer.refused();
        }
        let wait = waited(&mut pacer).await;
        assert!((15..=30).contains(&wait.as_secs()), "{wait:?}");
        pacer.succeeded();
        pacer.failed();
        assert!(waited(&mut pacer).await < WINDOW);
    }
}
