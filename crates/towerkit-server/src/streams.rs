use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::rt::Executor;
use tokio::task::JoinSet;

/// The tasks of the calls of one HTTP/2 connection, which end with it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let mut tasks = self.lock();
        // Tasks that have ended leave their results. A panic is reported by the panic hook, and resets its stream only.
        while tasks.try_join_next().is_some() {}
        tasks.spawn(stream);
    }
}

impl Streams {
    /// Drops all calls, and waits until they are dropped.
    pub(crate) async fn shut_down(&self) {
        let mut tasks = mem::take(&mut *self.lock());
        tasks.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
