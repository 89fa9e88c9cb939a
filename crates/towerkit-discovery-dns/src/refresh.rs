use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt, future::join, stream};
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType, rdata::SRV};
use tokio::time::{Instant, sleep_until};
use towerkit_discovery::{Instance, InstanceSender};

use crate::{
    lookup::{Lookup, LookupError, NamedError, Records, look_up},
    srv,
};

/// The shortest time between two refreshes that succeed.
const MIN_INTERVAL: Duration = Duration::from_secs(1);
/// The shortest time between two attempts after a failure, for each query of the first.
const RETRY_PER_QUERY: Duration = Duration::from_millis(500);
/// The longest time between two attempts after a failure, if half a second for each query is shorter.
const MAX_RETRY: Duration = Duration::from_millis(1500);
/// The number of targets whose addresses are looked up at the same time.
const CONCURRENT_TARGETS: usize = 8;

/// The question to the name servers.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// SRV records, and the addresses of their targets.
    Service(Name),
    /// The addresses of a host, of which each is an instance with this port.
    Host(Name, u16),
}

/// Sends the instances at each refresh, for ever.
pub(crate) async fn run(
    mut refresher: Refresher<impl Lookup>,
    max_interval: Duration,
    sender: InstanceSender,
) {
    loop {
        let started = Instant::now();
        let result = refresher.refresh().await;
        let next = match result {
            Ok(refresh) => {
                sender.set(refresh.instances);
                Instant::now() + interval(refresh.ttl, max_interval, fastrand::f64())
            }
            Err(error) => {
                sender.fail(error);
                let pause = retry_interval(refresher.queries, max_interval, fastrand::f64());
                (started + pause).max(Instant::now())
            }
        };
        sleep_until(next).await;
    }
}

/// Returns the time until the next refresh; `random` is from 0 to 1.
fn interval(ttl: Option<u32>, max_interval: Duration, random: f64) -> Duration {
    let ttl = ttl.map_or(max_interval, |ttl| Duration::from_secs(ttl.into()));
    let interval = ttl.min(max_interval).max(MIN_INTERVAL);
    interval.mul_f64(1.0 + random / 10.0)
}

/// Returns the time from the begin of a failed attempt to the next; `random` is from 0 to 1.
fn retry_interval(queries: u32, max_interval: Duration, random: f64) -> Duration {
    let least = (RETRY_PER_QUERY * queries.max(1)).min(max_interval);
    let most = MAX_RETRY.max(least.mul_f64(1.25));
    least + (most - least).mul_f64(random)
}

/// The instances of a name, and how long they hold.
#[derive(Debug)]
pub(crate) struct Refresh {
    instances: Vec<Instance>,
    ttl: Option<u32>,
}

/// Looks up the instances of a name again and again.
pub(crate) struct Refresher<L> {
    question: Question,
    lookup: Arc<L>,
    /// The last answers about addresses, of the names that the last refresh used.
    known: HashMap<(Name, RecordType), Vec<IpAddr>>,
    /// The number of queries of the last refresh.
    queries: u32,
}

impl<L: Lookup> Refresher<L> {
    pub(crate) fn new(question: Question, lookup: Arc<L>) -> Self {
        Self {
            question,
            lookup,
            known: HashMap::new(),
            queries: 0,
        }
    }

    async fn refresh(&mut self) -> Result<Refresh, NamedError> {
        self.queries = 0;
        match self.question.clone() {
            Question::Host(name, port) => {
                let found = addresses(&*self.lookup, &name, &self.known).await;
                let mut known = HashMap::new();
                let found = self.accept(&name, found, &mut known);
                if let Some(error) = found.failed {
                    return Err(error);
                }
                self.known = known;
                let to_instance = |ip| Instance::from(SocketAddr::new(ip, port));
                Ok(Refresh {
                    instances: found.ips.into_iter().map(to_instance).collect(),
                    ttl: found.ttl,
                })
            }
            Question::Service(name) => self.refresh_service(&name).await,
        }
    }

    async fn refresh_service(&mut self, name: &Name) -> Result<Refresh, NamedError> {
        // At least this one, also if it fails.
        self.queries = 1;
        let found = look_up(&*self.lookup, name, RecordType::SRV).await;
        let found = found.map_err(|error| error.of(name, RecordType::SRV))?;
        self.queries = found.queries;
        let records: Vec<_> = found.records.iter().filter_map(as_srv).cloned().collect();
        let nothing = |ttl| Refresh {
            instances: Vec::new(),
            ttl,
        };
        if records.is_empty() || srv::is_not_available(&records) {
            return Ok(nothing(found.ttl));
        }
        let mut by_priority: BTreeMap<u16, Vec<SRV>> = BTreeMap::new();
        for record in records.into_iter().filter(srv::is_valid) {
            by_priority.entry(record.priority).or_default().push(record);
        }
        if by_priority.is_empty() {
            return Err(LookupError::NoValidRecord.of(name, RecordType::SRV));
        }
        let mut ttl = found.ttl;
        let mut known = HashMap::new();
        for records in by_priority.into_values() {
            let records = self.targets(records, &found, &mut ttl, &mut known).await?;
            let instances = srv::instances(&records);
            if !instances.is_empty() {
                self.known = known;
                return Ok(Refresh { instances, ttl });
            }
        }
        self.known = known;
        Ok(nothing(ttl))
    }

    /// Adds the addresses of their targets to records.
    async fn targets(
        &mut self,
        records: Vec<SRV>,
        answer: &Records,
        ttl: &mut Option<u32>,
        known: &mut HashMap<(Name, RecordType), Vec<IpAddr>>,
    ) -> Result<Vec<(SRV, Vec<IpAddr>)>, NamedError> {
        let (lookup, last) = (&*self.lookup, &self.known);
        let found: Vec<_> = stream::iter(records)
            .map(|record| async move {
                let found = match additional(&record.target, &answer.additionals) {
                    Some(found) => found,
                    None => addresses(lookup, &record.target, last).await,
                };
                (record, found)
            })
            .buffered(CONCURRENT_TARGETS)
            .collect()
            .await;
        let mut failed = None;
        let mut has_new = false;
        let mut with_addresses = Vec::with_capacity(found.len());
        for (record, found) in found {
            let found = self.accept(&record.target, found, known);
            *ttl = least(*ttl, found.ttl);
            has_new |= found.failed.is_none() && !found.ips.is_empty();
            failed = failed.or(found.failed);
            with_addresses.push((record, found.ips));
        }
        // A target that cannot be looked up must not hide the others.
        match failed {
            Some(error) if !has_new => Err(error),
            _ => Ok(with_addresses),
        }
    }

    /// Counts the queries of a lookup, and remembers its answers.
    fn accept(
        &mut self,
        name: &Name,
        found: HostAddresses,
        known: &mut HashMap<(Name, RecordType), Vec<IpAddr>>,
    ) -> HostAddresses {
        self.queries += found.queries;
        for (record_type, ips) in &found.by_type {
            known.insert((name.clone(), *record_type), ips.clone());
        }
        found
    }
}

/// The addresses of a host.
#[derive(Default)]
struct HostAddresses {
    ips: Vec<IpAddr>,
    by_type: Vec<(RecordType, Vec<IpAddr>)>,
    ttl: Option<u32>,
    queries: u32,
    /// Why the addresses are not new: a lookup failed, and the other has no addresses.
    failed: Option<NamedError>,
}

/// Looks up the addresses of a host. The last answer of a lookup that fails stays in use.
async fn addresses(
    lookup: &impl Lookup,
    name: &Name,
    known: &HashMap<(Name, RecordType), Vec<IpAddr>>,
) -> HostAddresses {
    const TYPES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];
    let (v4, v6) = join(
        look_up(lookup, name, TYPES[0]),
        look_up(lookup, name, TYPES[1]),
    )
    .await;
    let mut has_new = false;
    let mut found = HostAddresses::default();
    for (record_type, answer) in TYPES.into_iter().zip([v4, v6]) {
        let ips = match answer {
            Ok(answer) => {
                found.queries += answer.queries;
                let ips: Vec<_> = answer.records.iter().filter_map(ip).collect();
                // The TTL of the family that the host does not have says nothing of the other.
                if !ips.is_empty() {
                    found.ttl = least(found.ttl, answer.ttl);
                }
                has_new |= !ips.is_empty();
                ips
            }
            Err(error) => {
                found.queries += 1;
                found.failed = Some(error.of(name, record_type));
                let last = known.get(&(name.clone(), record_type));
                last.cloned().unwrap_or_default()
            }
        };
        found.ips.extend_from_slice(&ips);
        found.by_type.push((record_type, ips));
    }
    if has_new {
        found.failed = None;
    }
    found
}

/// Returns the addresses of a target that came with its record.
fn additional(target: &Name, additionals: &[Record]) -> Option<HostAddresses> {
    let mut found = HostAddresses::default();
    for record in additionals.iter().filter(|record| record.name == *target) {
        if let Some(ip) = ip(&record.data) {
            found.ips.push(ip);
            found.ttl = least(found.ttl, Some(record.ttl));
        }
    }
    (!found.ips.is_empty()).then_some(found)
}

fn as_srv(data: &RData) -> Option<&SRV> {
    match data {
        RData::SRV(record) => Some(record),
        _ => None,
    }
}

fn ip(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

/// Returns the shorter of two TTLs, of which either may be missing.
fn least(a: Option<u32>, b: Option<u32>) -> Option<u32> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: Duration = Duration::from_secs(30);

    /// SD-14
    #[test]
    fn a_refresh_follows_the_ttl_within_its_limits() {
        let seconds = |ttl, random| interval(ttl, MAX, random).as_secs_f64();
        assert_eq!(seconds(Some(0), 0.0), 1.0);
        assert_eq!(seconds(Some(10), 0.0), 10.0);
        assert_eq!(seconds(Some(10), 1.0), 11.0);
        assert_eq!(seconds(Some(3600), 0.0), 30.0);
        assert_eq!(seconds(None, 0.0), 30.0);
    }

    proptest! {
        #[test]
        fn attempts_make_at_most_two_queries_a_second(queries in 0_u32..60, random in 0.0..=1.0) {
            let interval = retry_interval(queries, MAX, random);
            prop_assert!(f64::from(queries) / interval.as_secs_f64() <= 2.0);
            prop_assert!(queries > 3 || interval <= MAX_RETRY.max(Duration::from_millis(1875)));
        }
    }
}
