use std::{
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tower::{Service, ServiceExt};
use towerkit_balance::{Balance, BalanceLayer, Picker};
use towerkit_core::{BoxError, Layer, LayerExt, Plain, RunPolicy};
use towerkit_discovery::{Address, Discovery, Endpoints, Instance, InstanceService};
use towerkit_test::tokio_clock;

pub(crate) fn address(number: u16) -> Address {
    let [high, low] = number.to_be_bytes();
    SocketAddr::from(([10, 0, high, low], 80)).into()
}

pub(crate) fn instance(number: u16) -> Instance {
    Instance::new(address(number))
}

pub(crate) fn instances(count: u16) -> impl Iterator<Item = Instance> {
    (0..count).map(instance)
}

pub(crate) fn number(instance: &Instance) -> u16 {
    match &instance.address {
        Address::Socket(SocketAddr::V4(address)) => {
            let [.., high, low] = address.ip().octets();
            u16::from_be_bytes([high, low])
        }
        address => panic!("{address} is no socket address"),
    }
}

/// A result and the time after which it is there.
pub(crate) type Reply = (Duration, Result<(), &'static str>);

/// An instance that replies to each call with its number, as a function of the number says.
#[derive(Clone)]
pub(crate) struct Replying {
    number: u16,
    reply: Arc<dyn Fn(u16) -> Reply + Send + Sync>,
}

impl Service<u64> for Replying {
    type Response = u16;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<u16, BoxError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _request: u64) -> Self::Future {
        let number = self.number;
        let (time, result) = (self.reply)(number);
        Box::pin(async move {
            if !time.is_zero() {
                sleep(time).await;
            }
            result
                .map(|()| number)
                .map_err(|error| error.to_owned() + &format!(" at {number}"))
                .map_err(BoxError::from)
        })
    }
}

/// Makes instances that reply as a function of their number says.
pub(crate) fn replying(
    discovery: &Discovery,
    reply: impl Fn(u16) -> Reply + Send + Sync + 'static,
) -> Endpoints<Replying> {
    let reply: Arc<dyn Fn(u16) -> Reply + Send + Sync> = Arc::new(reply);
    discovery.endpoints(move |instance| {
        InstanceService::new(Replying {
            number: number(instance),
            reply: reply.clone(),
        })
    })
}

/// Makes instances that succeed at once.
pub(crate) fn succeeding(discovery: &Discovery) -> Endpoints<Replying> {
    replying(discovery, |_| (Duration::ZERO, Ok(())))
}

/// A layer on tokio's clock, without ejection.
pub(crate) fn layer<C: towerkit_balance::BuildTable>(picker: C) -> BalanceLayer<C, Plain> {
    BalanceLayer::new(picker)
        .clock(tokio_clock())
        .outlier_ejection(None)
        .plain("test")
}

pub(crate) fn balance<C: Picker<u64>>(
    picker: C,
    endpoints: Endpoints<Replying>,
) -> Balance<Replying, (), C, Plain> {
    layer(picker).layer(endpoints)
}

/// Returns the number of the instance that a call went to, also if it failed.
pub(crate) async fn call<S>(service: &S, request: u64) -> u16
where
    S: Service<u64, Response = u16, Error = BoxError> + Clone,
{
    match service.clone().oneshot(request).await {
        Ok(number) => number,
        Err(error) => {
            let text = error.to_string();
            let number = text.rsplit(' ').next().and_then(|word| word.parse().ok());
            number.unwrap_or_else(|| panic!("rejected: {text}"))
        }
    }
}

/// Counts the calls to each instance, one after the other.
pub(crate) async fn count<S>(service: &S, instances: usize, calls: u64) -> Vec<usize>
where
    S: Service<u64, Response = u16, Error = BoxError> + Clone,
{
    let mut counts = vec![0; instances];
    for request in 0..calls {
        counts[usize::from(call(service, request).await)] += 1;
    }
    counts
}

/// The calls of a closed loop: the calls to each instance, and the sorted latencies.
pub(crate) struct Load {
    pub(crate) counts: Vec<usize>,
    pub(crate) latencies: Vec<Duration>,
}

impl Load {
    /// Calls from so many callers at a time, each of which calls again at once, until there were so many calls.
    pub(crate) async fn run<S>(service: &S, instances: usize, callers: u64, calls: u64) -> Self
    where
        S: Service<u64, Response = u16, Error = BoxError, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
    {
        let left = Arc::new(AtomicU64::new(calls));
        let seen = Arc::new(Mutex::new((vec![0; instances], Vec::new())));
        let mut tasks = tokio::task::JoinSet::new();
        for caller in 0..callers {
            let (service, left, seen) = (service.clone(), left.clone(), seen.clone());
            tasks.spawn(async move {
                while left
                    .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                    .is_ok()
                {
                    let start = Instant::now();
                    let number = call(&service, caller).await;
                    {
                        let mut seen = seen.lock().unwrap();
                        seen.0[usize::from(number)] += 1;
                        seen.1.push(start.elapsed());
                    }
                    // Failures at once would starve the other callers.
                    tokio::task::yield_now().await;
                }
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let (counts, mut latencies) = std::mem::take(&mut *seen.lock().unwrap());
        latencies.sort();
        Self { counts, latencies }
    }

    /// Returns the calls to an instance, relative to a fair share.
    pub(crate) fn share(&self, number: usize) -> f64 {
        let calls: usize = self.counts.iter().sum();
        self.counts[number] as f64 * self.counts.len() as f64 / calls as f64
    }

    pub(crate) fn p99(&self) -> Duration {
        self.latencies[self.latencies.len() * 99 / 100]
    }
}

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A type that services with guards share.
pub(crate) trait Guards: RunPolicy<u64> + Send + Sync + 'static {}
impl<R: RunPolicy<u64> + Send + Sync + 'static> Guards for R {}
