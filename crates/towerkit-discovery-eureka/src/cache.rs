use std::{collections::HashMap, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use tokio::{
    sync::{Mutex, watch},
    time::{Instant, sleep_until},
};
use towerkit_discovery::{Pacer, RegistryClient, RegistryClientError, RegistryRequest};

use crate::wire::{Change, Listed, Response, hash};

/// How much the time between two fetches varies, as a share of it.
const JITTER: f64 = 0.1;

/// All instances of a Eureka, fetched once for all services.
///
/// There is no task of its own: the source that has the lock fetches for all.
pub(crate) struct Cache {
    client: RegistryClient,
    interval: Duration,
    fetcher: Mutex<Fetcher>,
    listing: watch::Sender<Option<Listing>>,
}

/// The last answer.
#[derive(Clone)]
pub(crate) struct Listing {
    pub(crate) answer: Answer,
    at: Instant,
}

pub(crate) type Answer = Result<Arc<[Listed]>, RegistryClientError>;

#[derive(Default)]
struct Fetcher {
    instances: Instances,
    /// Whether the instances are those of an answer, so that a delta can be applied.
    is_synced: bool,
    pacer: Pacer,
    next: Option<Instant>,
}

/// The instances by application and id.
#[derive(Debug, Default)]
struct Instances(HashMap<(String, String), Listed>);

impl Cache {
    pub(crate) fn new(client: RegistryClient, interval: Duration) -> Self {
        Self {
            client,
            interval,
            fetcher: Mutex::default(),
            listing: watch::Sender::new(None),
        }
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Option<Listing>> {
        self.listing.subscribe()
    }

    /// False for an answer from before a time in which there was no source.
    pub(crate) fn is_fresh(&self, listing: &Listing) -> bool {
        listing.at.elapsed() < 2 * self.interval
    }

    /// Fetches for ever, while no other source does.
    ///
    /// If it is dropped, another one goes on where it was.
    pub(crate) async fn keep_fetching(&self) {
        let mut fetcher = self.fetcher.lock().await;
        loop {
            if let Some(next) = fetcher.next {
                sleep_until(next).await;
            }
            let answer = self.fetch(&mut fetcher).await;
            let pause = match &answer {
                Ok(_) => {
                    fetcher.pacer.succeeded();
                    self.interval.mul_f64(1.0 - JITTER * fastrand::f64())
                }
                Err(error) => {
                    if error.is_refusal() {
                        fetcher.pacer.refused();
                    } else {
                        fetcher.pacer.failed();
                    }
                    Duration::ZERO
                }
            };
            let at = Instant::now();
            fetcher.next = Some(at + pause);
            self.listing.send_replace(Some(Listing { answer, at }));
        }
    }

    /// Fetches the changes, and all instances if those do not lead to the hash of the server.
    async fn fetch(&self, fetcher: &mut Fetcher) -> Answer {
        if fetcher.is_synced {
            // Until it has worked. After an outage the server may have forgotten changes.
            fetcher.is_synced = false;
            if let Some(response) = self.request(fetcher, &["apps", "delta"]).await? {
                let (expected, changes) = response.read();
                fetcher.instances.apply(changes);
                fetcher.is_synced = fetcher.instances.hash() == expected;
            }
        }
        if !fetcher.is_synced {
            let response = self.request(fetcher, &["apps"]).await?;
            let (_, instances) = response.map(Response::read).unwrap_or_default();
            fetcher.instances = Instances::default();
            fetcher.instances.apply(instances);
            fetcher.is_synced = true;
        }
        Ok(fetcher.instances.0.values().cloned().collect())
    }

    /// Sends a request; `None` for a delta that the server does not offer.
    async fn request(
        &self,
        fetcher: &mut Fetcher,
        path: &[&str],
    ) -> Result<Option<Response>, RegistryClientError> {
        fetcher.pacer.wait().await;
        let request = RegistryRequest::new(Method::GET, path.iter().copied());
        let response = self.client.send(request).await?;
        let is_delta = path.len() > 1;
        if is_delta && [StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&response.status()) {
            return Ok(None);
        }
        response.success()?.json().map(Some)
    }
}

impl Instances {
    fn apply(&mut self, changes: Vec<Listed>) {
        for listed in changes {
            let key = (listed.app.clone(), listed.id.clone());
            match listed.change {
                Change::Put => self.0.insert(key, listed),
                Change::Deleted => self.0.remove(&key),
            };
        }
    }

    fn hash(&self) -> String {
        hash(self.0.values())
    }
}
