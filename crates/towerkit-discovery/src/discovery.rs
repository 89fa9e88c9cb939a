use std::{
    fmt,
    future::{Future, pending, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use tokio::sync::watch;

use crate::{
    AddressPolicy, DiscoveryOptions, DiscoverySnapshot, DiscoveryStatus, Instance, InstanceSender,
    Source, Subscription, sender::Inner,
};

/// The instances of a service, kept up to date by a source.
///
/// The value can be read at any time, and says when it has changed. A reader that is slow sees the latest set, and never a part of
/// a change. A clone reads the same value.
///
/// # Cancellation
///
/// The source is dropped with the last clone and the last [`Endpoints`](crate::Endpoints) and [`Subscription`] of it.
#[derive(Clone)]
pub struct Discovery {
    inner: Arc<Inner>,
    receiver: watch::Receiver<DiscoverySnapshot>,
}

impl Discovery {
    /// Makes a discovery of instances that never change.
    #[must_use]
    pub fn fixed(instances: impl IntoIterator<Item = Instance>) -> Self {
        let (discovery, sender) = Self::channel();
        sender.set(instances);
        discovery
    }

    /// Makes a discovery of the instances that are sent to the sender, without a task.
    ///
    /// Any address is allowed. For tests, and for programs that know the instances themselves.
    #[must_use]
    pub fn channel() -> (Self, InstanceSender) {
        let sender = InstanceSender::new(DiscoveryOptions::new(), AddressPolicy::Any);
        (Self::of(&sender), sender)
    }

    /// Runs a source with the default [options](DiscoveryOptions), in a task of the current runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    #[must_use]
    pub fn spawn(source: impl Source) -> Self {
        DiscoveryOptions::new().spawn(source)
    }

    /// Returns the instances and the status.
    #[must_use]
    pub fn current(&self) -> DiscoverySnapshot {
        self.receiver.borrow().clone()
    }

    /// Resolves when the instances or the status have changed since the last call, or since this clone was made.
    ///
    /// # Cancellation
    ///
    /// A change is not lost if the future is dropped.
    pub async fn changed(&mut self) {
        // The sender lives as long as `self.inner`.
        let _ = self.receiver.changed().await;
    }

    /// Resolves when the registry has answered for the first time, and returns its instances.
    pub async fn ready(&self) -> DiscoverySnapshot {
        let mut receiver = self.receiver.clone();
        let has_answered =
            |snapshot: &DiscoverySnapshot| matches!(snapshot.status, DiscoveryStatus::Current);
        match receiver.wait_for(has_answered).await {
            Ok(snapshot) => snapshot.clone(),
            Err(_) => self.current(),
        }
    }

    /// Calls `observe` with the instances, and again after each change until the subscription is dropped.
    ///
    /// `observe` runs on the thread that makes the change, one call at a time and in order. It should be quick: other observers wait
    /// for it. A panic in it is caught.
    pub fn subscribe(
        &self,
        observe: impl Fn(&DiscoverySnapshot) + Send + Sync + 'static,
    ) -> Subscription {
        self.inner
            .snapshot
            .subscribe(observe, self.receiver.clone())
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.inner
    }

    fn of(sender: &InstanceSender) -> Self {
        Self {
            inner: sender.inner().clone(),
            receiver: sender.inner().snapshot.receiver(),
        }
    }
}

impl DiscoveryOptions {
    /// Runs a source in a task of the current runtime.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn spawn(self, source: impl Source) -> Discovery {
        let (discovery, run) = self.start(source);
        tokio::spawn(run);
        discovery
    }

    /// Returns a discovery, and the future that runs its source.
    ///
    /// The future ends when the discovery is gone.
    pub fn start<S: Source>(
        self,
        source: S,
    ) -> (Discovery, impl Future<Output = ()> + Send + use<S>) {
        let sender = InstanceSender::new(self, source.address_policy());
        let discovery = Discovery::of(&sender);
        (discovery, run(source, sender))
    }
}

async fn run(source: impl Source, sender: InstanceSender) {
    let inner = sender.inner().clone();
    let run_source = async {
        let failure = sender.clone();
        let mut source = pin!(source.run(sender));
        let poll = poll_fn(|context| {
            match catch_unwind(AssertUnwindSafe(|| source.as_mut().poll(context))) {
                Ok(poll) => poll,
                Err(_) => {
                    failure.fail("the source panicked");
                    Poll::Ready(())
                }
            }
        });
        poll.await;
        pending::<()>().await;
    };
    tokio::select! {
        () = inner.snapshot.closed() => {}
        () = inner.expire() => {}
        () = run_source => {}
    }
}

impl fmt::Debug for Discovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Discovery").field(&self.current()).finish()
    }
}
