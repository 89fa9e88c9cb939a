use std::{
    collections::VecDeque,
    fmt, mem,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot};
use towerkit_core::Principal;

use super::result_cache::CredentialHash;
use crate::AuthError;

/// The verifications that wait for a thread, and the number of threads that work on them.
///
/// Half of the turns belong to credentials that were valid before, and the other half to the clients in turn, whatever their number of
/// calls: a client that sends wrong passwords delays neither.
pub(super) struct HashingQueue {
    state: Mutex<State>,
    max_threads: usize,
    max_waiting: usize,
}

#[derive(Default)]
struct State {
    /// The threads that take jobs.
    threads: usize,
    /// Jobs of credentials that were valid before.
    renewals: VecDeque<Job>,
    /// The other jobs by client. The first client has the next turn.
    clients: VecDeque<Client>,
    /// The jobs of all clients.
    waiting: usize,
    renewals_had_last_turn: bool,
}

struct Client {
    address: Option<IpAddr>,
    jobs: VecDeque<Job>,
}

/// A verification.
pub(super) struct Job {
    /// The user name, a colon and the password.
    pub(super) user_pass: Box<str>,
    pub(super) colon: usize,
    pub(super) hash: CredentialHash,
    pub(super) generation: u64,
    pub(super) reply: oneshot::Sender<Result<Principal, AuthError>>,
}

/// Who waits for a verification.
pub(super) enum Origin {
    /// A caller whose credentials were valid before.
    Renewal,
    /// Any other caller, by its address.
    Client(Option<IpAddr>),
}

impl HashingQueue {
    pub(super) fn new(max_threads: usize, max_waiting: usize) -> Self {
        Self {
            state: Mutex::default(),
            max_threads,
            max_waiting,
        }
    }

    /// Returns the number of verifications that wait.
    pub(super) fn waiting(&self) -> usize {
        let state = self.state();
        state.waiting + state.renewals.len()
    }

    /// Adds a job, and starts a thread for it if there may be one more. `work` does a job.
    ///
    /// If the queue is full, the client with the most jobs loses its latest: the new one, if that client adds it.
    pub(super) fn submit(
        self: &Arc<Self>,
        job: Job,
        origin: Origin,
        work: impl Fn(Job) + Send + 'static,
    ) -> Result<(), AuthError> {
        let runtime = Handle::try_current()
            .map_err(|_| AuthError::unavailable("passwords need the runtime of tokio"))?;
        let mut state = self.state();
        let displaced = match origin {
            Origin::Renewal if state.renewals.len() == self.max_waiting => Some(job),
            Origin::Renewal => {
                state.renewals.push_back(job);
                None
            }
            Origin::Client(address) => state.push(address, job, self.max_waiting),
        };
        let starts = displaced.is_none() && state.threads < self.max_threads;
        if starts {
            state.threads += 1;
        }
        drop(state);
        if let Some(job) = displaced {
            // A caller that is gone needs no reply.
            let _ = job.reply.send(Err(full()));
        }
        if starts {
            // Dropped without a run if the runtime is shutting down.
            let worker = Worker(Arc::clone(self));
            runtime.spawn_blocking(move || worker.run(work));
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn full() -> AuthError {
    AuthError::overloaded("the queue of passwords is full")
}

impl State {
    /// Adds a job of a client, and returns the job that finds no place.
    fn push(&mut self, address: Option<IpAddr>, job: Job, max: usize) -> Option<Job> {
        let own = { self.clients.iter() }.position(|client| client.address == address);
        let own_jobs = own.map_or(0, |at| self.clients[at].jobs.len());
        let mut displaced = None;
        if self.waiting == max {
            let longest = self
                .clients
                .iter_mut()
                .max_by_key(|client| client.jobs.len());
            match longest.filter(|client| client.jobs.len() > own_jobs + 1) {
                // Two at least, so that the client keeps its turn.
                Some(client) => displaced = client.jobs.pop_back(),
                None => return Some(job),
            }
        } else {
            self.waiting += 1;
        }
        match own {
            Some(at) => self.clients[at].jobs.push_back(job),
            None => self.clients.push_back(Client {
                address,
                jobs: VecDeque::from([job]),
            }),
        }
        displaced
    }

    fn pop(&mut self) -> Option<Job> {
        let is_renewal = self.clients.is_empty() || !self.renewals_had_last_turn;
        self.renewals_had_last_turn = is_renewal && !self.renewals.is_empty();
        if self.renewals_had_last_turn {
            return self.renewals.pop_front();
        }
        let mut client = self.clients.pop_front()?;
        let job = client.jobs.pop_front();
        self.waiting -= 1;
        if !client.jobs.is_empty() {
            self.clients.push_back(client);
        }
        job
    }
}

/// A thread that takes jobs until there are none.
struct Worker(Arc<HashingQueue>);

impl Worker {
    fn run(self, work: impl Fn(Job)) {
        loop {
            let mut state = self.0.state();
            let Some(job) = state.pop() else {
                // The thread leaves under the lock, so that the next job starts another one.
                state.threads -= 1;
                drop(state);
                mem::forget(self);
                return;
            };
            drop(state);
            // The caller of a dropped job is gone.
            if !job.reply.is_closed() {
                work(job);
            }
        }
    }
}

/// Reached only if the thread never ran, or if it panicked.
impl Drop for Worker {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.threads -= 1;
        let left = (state.threads == 0).then(|| {
            state.waiting = 0;
            (
                mem::take(&mut state.renewals),
                mem::take(&mut state.clients),
            )
        });
        drop(state);
        // Their callers see that the reply is closed.
        drop(left);
    }
}

impl fmt::Debug for HashingQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashingQueue")
            .field("max_threads", &self.max_threads)
            .field("max_waiting", &self.max_waiting)
            .field("waiting", &self.waiting())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(name: u8) -> (Job, oneshot::Receiver<Result<Principal, AuthError>>) {
        let (reply, receiver) = oneshot::channel();
        let job = Job {
            user_pass: ":".into(),
            colon: 0,
            hash: [name; 32],
            generation: 0,
            reply,
        };
        (job, receiver)
    }

    fn client(number: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, number]))
    }

    fn pop(state: &mut State) -> Option<u8> {
        state.pop().map(|job| job.hash[0])
    }

    #[test]
    fn clients_take_turns_and_renewals_have_every_other() {
        let mut state = State::default();
        for name in 0..5 {
            assert!(state.push(client(1), job(name).0, 10).is_none());
        }
        assert!(state.push(client(2), job(20).0, 10).is_none());
        assert!(state.push(None, job(30).0, 10).is_none());
        state.renewals.extend([job(40).0, job(41).0]);
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut state)).collect();
        assert_eq!(order, [40, 0, 41, 20, 30, 1, 2, 3, 4]);
        assert_eq!(state.waiting, 0);
        assert!(state.clients.is_empty());
    }

    #[test]
    fn the_client_with_the_most_jobs_loses_its_latest() {
        let mut state = State::default();
        for name in 0..4 {
            assert!(state.push(client(1), job(name).0, 4).is_none());
        }
        let name = |job: Option<Job>| job.map(|job| job.hash[0]);
        assert_eq!(name(state.push(client(1), job(4).0, 4)), Some(4));
        assert_eq!(name(state.push(client(2), job(20).0, 4)), Some(3));
        assert_eq!(name(state.push(client(3), job(30).0, 4)), Some(2));
        // Each of the others has one, and the first two: no client may take more from it.
        assert_eq!(name(state.push(client(2), job(21).0, 4)), Some(21));
        assert_eq!(name(state.push(client(4), job(40).0, 4)), Some(1));
        assert_eq!(name(state.push(client(5), job(50).0, 4)), Some(50));
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut state)).collect();
        assert_eq!(order, [0, 20, 30, 40]);
    }
}
