use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use sha2::{Digest, Sha256};
use tokio::sync::oneshot;
use towerkit_core::{
    Admission, CallView, Clock, ConfigError, Principal,
    sync::{AtomicU64, Ordering},
};

use super::{
    VerifyPassword,
    hashing_queue::{HashingQueue, Job, Origin},
    result_cache::{CachedResult, CredentialHash, ResultCache},
    user_pass::UserPass,
};
use crate::{
    AuthError, AuthFuture, Authenticator, Challenge,
    credentials::{self, random_bytes},
};

/// Authenticates calls by user names and passwords ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
///
/// Passwords are verified on one blocking thread of tokio, so that hashing takes at most one core. Valid credentials are cached for a
/// minute, and invalid ones for ten seconds, by a hash with a random key. A call with cached credentials is decided at once.
///
/// At most 256 calls wait for the thread. The clients take turns, by their addresses, and every other turn belongs to credentials that
/// were valid before: a flood of wrong passwords delays other callers by one verification each. If the queue is full, the client with
/// the most calls in it gets 503.
///
/// Use it over TLS only. User names and passwords are UTF-8 without control characters, and have at most 767 bytes together.
pub struct BasicAuth {
    challenge: Challenge,
    verification: Arc<Verification>,
    queue: Arc<HashingQueue>,
    client: FindClient,
}

type FindClient = Arc<dyn Fn(CallView<'_>) -> Option<IpAddr> + Send + Sync>;

/// The part that verifications share.
#[derive(Clone)]
struct Verification {
    verifier: Arc<dyn VerifyPassword>,
    clock: Clock,
    /// Apart, so that invalid credentials, of which there may be any number, displace no valid ones.
    valid: Arc<ResultCache>,
    invalid: Arc<ResultCache>,
    valid_for: Duration,
    invalid_for: Duration,
    /// SHA-256 after a block of random bytes: the hash of credentials behind it is a keyed one.
    keyed: Sha256,
    verified: Arc<AtomicU64>,
}

/// The state of a [`BasicAuth`] at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BasicSnapshot {
    /// The passwords that were verified, and not found in the cache.
    pub verified: u64,
    /// The passwords that wait to be verified.
    pub waiting: usize,
}

/// The sets of the caches, of four places each.
const VALID_SETS: usize = 2048;
const INVALID_SETS: usize = 512;

impl BasicAuth {
    /// Makes the scheme. The realm names the protected space; browsers show it to users.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if the realm has characters other than printable ASCII, or if the operating system has no random
    /// bytes.
    pub fn new(realm: &str, verifier: impl VerifyPassword) -> Result<Self, ConfigError> {
        let mut keyed = Sha256::new();
        keyed.update(random_bytes()?);
        keyed.update(random_bytes()?);
        Ok(Self {
            challenge: Challenge::new("Basic", realm)?.param("charset", "UTF-8")?,
            verification: Arc::new(Verification {
                verifier: Arc::new(verifier),
                clock: Clock::default(),
                valid: Arc::new(ResultCache::new(VALID_SETS)),
                invalid: Arc::new(ResultCache::new(INVALID_SETS)),
                valid_for: Duration::from_secs(60),
                invalid_for: Duration::from_secs(10),
                keyed,
                verified: Arc::default(),
            }),
            queue: Arc::new(HashingQueue::new(1, 256)),
            client: Arc::new(peer_network),
        })
    }

    /// Sets the times for which valid and invalid credentials are cached; 60 and 10 seconds by default. Zero disables a cache.
    ///
    /// A user that is removed from a [`PasswordFile`](crate::PasswordFile) is refused as soon as the file is reloaded. For another
    /// verifier, this is the time for which a changed password still works.
    #[must_use]
    pub fn cache(self, valid_for: Duration, invalid_for: Duration) -> Self {
        self.with(|verification| {
            verification.valid_for = valid_for;
            verification.invalid_for = invalid_for;
        })
    }

    /// Sets the number of passwords that are verified at a time, and the number of those that wait; 1 and 256 by default.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] if `threads` is not 1 to 64, or `waiting` not 1 to 65536.
    pub fn hashing(mut self, threads: usize, waiting: usize) -> Result<Self, ConfigError> {
        ConfigError::check_range("hashing threads", threads, 1..=64)?;
        ConfigError::check_range("waiting passwords", waiting, 1..=65_536)?;
        self.queue = Arc::new(HashingQueue::new(threads, waiting));
        Ok(self)
    }

    /// Reads time from `clock`; [`Clock::monotonic`] by default.
    #[must_use]
    pub fn clock(self, clock: Clock) -> Self {
        self.with(|verification| verification.clock = clock)
    }

    /// Finds the clients, which take turns, by a function.
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "for clients behind proxies")
    )]
    pub(crate) fn find_client(
        mut self,
        find: impl Fn(CallView<'_>) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.client = Arc::new(find);
        self
    }

    /// Returns the current state. Keep the scheme in an [`Arc`], which is an [`Authenticator`], too.
    #[must_use]
    pub fn snapshot(&self) -> BasicSnapshot {
        BasicSnapshot {
            verified: self.verification.verified.load(Ordering::Relaxed),
            waiting: self.queue.waiting(),
        }
    }

    fn with(mut self, set: impl FnOnce(&mut Verification)) -> Self {
        set(Arc::make_mut(&mut self.verification));
        self
    }

    /// Queues credentials that are not cached.
    #[cold]
    fn verify_later(
        &self,
        user_pass: &UserPass,
        hash: CredentialHash,
        generation: u64,
        origin: Origin,
    ) -> Result<AuthFuture<Principal>, AuthError> {
        let (reply, result) = oneshot::channel();
        let job = Job {
            user_pass: user_pass.as_str().into(),
            colon: user_pass.colon(),
            hash,
            generation,
            reply,
        };
        let verification = Arc::clone(&self.verification);
        self.queue
            .submit(job, origin, move |job| verification.run(job))?;
        Ok(Box::pin(async {
            let closed = |_| Err(AuthError::unavailable("the verification was aborted"));
            result.await.unwrap_or_else(closed)
        }))
    }
}

impl Authenticator for BasicAuth {
    fn authenticate(
        &self,
        call: CallView<'_>,
    ) -> Result<Admission<Principal, AuthFuture<Principal>>, AuthError> {
        let encoded = credentials::authorization(call, "Basic")?;
        let user_pass = UserPass::decode(encoded)
            .ok_or_else(|| AuthError::invalid("malformed Basic credentials"))?;
        let verification = &*self.verification;
        let hash = verification.hash(user_pass.as_str());
        let generation = verification.verifier.generation();
        let origin = match verification.cached(&hash, generation) {
            Cached::Fresh(result) => return result.map(Admission::Now),
            Cached::Expired => Origin::Renewal,
            Cached::Missing => Origin::Client((self.client)(call)),
        };
        let later = self.verify_later(&user_pass, hash, generation, origin)?;
        Ok(Admission::Later(later))
    }

    fn challenge(&self) -> Option<&Challenge> {
        Some(&self.challenge)
    }
}

enum Cached {
    Fresh(Result<Principal, AuthError>),
    /// The credentials were valid before.
    Expired,
    Missing,
}

impl Verification {
    fn hash(&self, user_pass: &str) -> CredentialHash {
        let mut keyed = self.keyed.clone();
        keyed.update(user_pass);
        keyed.finalize().into()
    }

    fn cached(&self, hash: &CredentialHash, generation: u64) -> Cached {
        let now = self.clock.now();
        let mut cached = Cached::Missing;
        for cache in [&self.valid, &self.invalid] {
            let Some(entry) = cache.find(hash) else {
                continue;
            };
            let Some(entry) = entry
                .as_ref()
                .filter(|entry| entry.generation == generation)
            else {
                continue;
            };
            match &entry.principal {
                Some(principal) if now < entry.expires => {
                    return Cached::Fresh(Ok(principal.clone()));
                }
                None if now < entry.expires => return Cached::Fresh(Err(wrong())),
                Some(_) => cached = Cached::Expired,
                None => {}
            }
        }
        cached
    }

    /// Verifies a password, and caches and sends the result.
    fn run(&self, job: Job) {
        let result = match self.cached(&job.hash, job.generation) {
            // An earlier job had the same credentials.
            Cached::Fresh(result) => result,
            _ => self.verify(&job),
        };
        // The caller may be gone.
        let _ = job.reply.send(result);
    }

    fn verify(&self, job: &Job) -> Result<Principal, AuthError> {
        // Relaxed: a count of its own.
        self.verified.fetch_add(1, Ordering::Relaxed);
        let (user, rest) = job.user_pass.split_at(job.colon);
        let verify = || self.verifier.verify(user, &rest[1..]);
        let verified = catch_unwind(AssertUnwindSafe(verify));
        let result =
            verified.unwrap_or_else(|_| Err(AuthError::unavailable("the verifier panicked")));
        let (cache, duration) = match &result {
            Ok(_) => (&self.valid, self.valid_for),
            Err(error) if error.is_invalid() => (&self.invalid, self.invalid_for),
            Err(_) => return result,
        };
        if !duration.is_zero() {
            let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
            cache.insert(CachedResult {
                hash: job.hash,
                generation: job.generation,
                expires: self.clock.now().saturating_add(nanos),
                principal: result.as_ref().ok().cloned(),
            });
        }
        result
    }
}

fn wrong() -> AuthError {
    AuthError::invalid("wrong user name or password")
}

/// Returns the IPv4 address of the peer, or its network of 64 bits, which one client has.
fn peer_network(call: CallView<'_>) -> Option<IpAddr> {
    Some(match call.peer()?.ip().to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    })
}

impl fmt::Debug for BasicAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BasicAuth")
            .field("challenge", &self.challenge)
            .field("valid_for", &self.verification.valid_for)
            .field("invalid_for", &self.verification.invalid_for)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}
