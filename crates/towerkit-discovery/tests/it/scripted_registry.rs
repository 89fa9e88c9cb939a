//! A registry whose faults a test scripts.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::oneshot,
    time::{Instant, sleep},
};
use towerkit_discovery::{Address, Instance, LeaseStatus, Registry, RegistryError};

pub(crate) const TTL: Duration = Duration::from_secs(15);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answers after 2 ms.
    Healthy,
    /// Refuses connections.
    Down,
    /// Takes requests, and handles them when it goes on.
    Stopped,
    /// Its client panics.
    Panics,
    /// Answers after longer than the client waits.
    Slow,
}

#[derive(Clone)]
pub(crate) struct ScriptedRegistry(Arc<Mutex<State>>);

type Handle = dyn FnOnce(&mut State) + Send;

struct State {
    fault: Fault,
    entries: BTreeMap<Address, (u64, Instant)>,
    next_lease: u64,
    /// The requests that arrived while it was stopped.
    queue: Vec<Box<Handle>>,
    requests: Vec<(Instant, &'static str)>,
}

impl ScriptedRegistry {
    pub(crate) fn new(fault: Fault) -> Self {
        Self(Arc::new(Mutex::new(State {
            fault,
            entries: BTreeMap::new(),
            next_lease: 0,
            queue: Vec::new(),
            requests: Vec::new(),
        })))
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        let mut state = self.state();
        if state.fault == Fault::Stopped {
            if fault == Fault::Down {
                state.queue.clear();
            }
            for handle in mem::take(&mut state.queue) {
                handle(&mut state);
            }
        }
        state.fault = fault;
    }

    pub(crate) fn wipe(&self) {
        self.state().entries.clear();
    }

    pub(crate) fn registered(&self) -> Vec<String> {
        let now = Instant::now();
        let state = self.state();
        let alive = state.entries.iter().filter(|(_, (_, at))| *at > now);
        alive.map(|(address, _)| address.to_string()).collect()
    }

    pub(crate) fn requests(&self) -> Vec<(Instant, &'static str)> {
        self.state().requests.clone()
    }

    pub(crate) fn count(&self, kind: &str) -> usize {
        let requests = self.requests();
        requests.iter().filter(|(_, of)| *of == kind).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn request<T: Send + 'static>(
        &self,
        kind: &'static str,
        handle: impl FnOnce(&mut State) -> T + Send + 'static,
    ) -> Result<T, RegistryError> {
        let (answer, response) = oneshot::channel();
        let handle = move |state: &mut State| {
            let _ = answer.send(handle(state));
        };
        let fault = {
            let mut state = self.state();
            state.requests.push((Instant::now(), kind));
            state.fault
        };
        match fault {
            Fault::Down => return Err("connection refused".into()),
            Fault::Panics => panic!("a bug"),
            Fault::Stopped => self.state().queue.push(Box::new(handle)),
            Fault::Healthy => {
                handle(&mut self.state());
                sleep(Duration::from_millis(2)).await;
            }
            Fault::Slow => {
                handle(&mut self.state());
                sleep(TTL).await;
            }
        }
        Ok(response.await?)
    }
}

impl State {
    fn insert(&mut self, address: Address) -> u64 {
        self.next_lease += 1;
        let entry = (self.next_lease, Instant::now() + TTL);
        self.entries.insert(address, entry);
        self.next_lease
    }

    fn entry(&mut self, address: &Address, lease: u64) -> Option<&mut (u64, Instant)> {
        let now = Instant::now();
        let entry = self.entries.get_mut(address)?;
        (entry.0 == lease && entry.1 > now).then_some(entry)
    }
}

impl Registry for ScriptedRegistry {
    type Lease = (Address, u64);

    fn ttl(&self) -> Duration {
        TTL
    }

    async fn register(&self, instance: &Instance) -> Result<Self::Lease, RegistryError> {
        let address = instance.address.clone();
        let register = move |state: &mut State| (address.clone(), state.insert(address));
        self.request("register", register).await
    }

    async fn renew(&self, lease: &mut Self::Lease) -> Result<LeaseStatus, RegistryError> {
        let (address, id) = lease.clone();
        let renew = move |state: &mut State| match state.entry(&address, id) {
            Some(entry) => {
                entry.1 = Instant::now() + TTL;
                LeaseStatus::Renewed
            }
            None => LeaseStatus::Lost,
        };
        self.request("renew", renew).await
    }

    async fn deregister(&self, lease: Self::Lease) -> Result<(), RegistryError> {
        let (address, id) = lease;
        let deregister = move |state: &mut State| {
            if state.entry(&address, id).is_some() {
                state.entries.remove(&address);
            }
        };
        self.request("deregister", deregister).await
    }
}

impl fmt::Debug for ScriptedRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ScriptedRegistry")
    }
}
