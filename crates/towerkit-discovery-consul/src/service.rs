use std::{fmt, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use towerkit_discovery::{
    Instance, InstanceSender, LeaseStatus, Pacer, Registry, RegistryClientError, RegistryError,
    RegistryRequest, Source,
};

use crate::{
    Consul,
    entry::{Registration, read_entries},
};

/// One service of a [`Consul`]: a source of its instances, and a registry for them.
#[derive(Clone)]
pub struct ConsulService {
    consul: Consul,
    name: Arc<str>,
    tags: Vec<String>,
}

/// A registration in Consul: the id of an instance of a service.
#[derive(Debug)]
pub struct ConsulLease(String);

impl Consul {
    /// Returns a service, to discover it or to register in it.
    #[must_use]
    pub fn service(&self, name: impl Into<Arc<str>>) -> ConsulService {
        ConsulService::new(self.clone(), name.into())
    }
}

impl ConsulService {
    const fn new(consul: Consul, name: Arc<str>) -> Self {
        Self {
            consul,
            name,
            tags: Vec::new(),
        }
    }

    /// Discovers only instances with this tag of Consul, and with those of other calls.
    #[must_use]
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Asks for the healthy instances, and returns them with the index of the answer.
    ///
    /// An `index` other than 0 waits until the answer would be another one than that of this index.
    async fn fetch(&self, index: u64) -> Result<(u64, Vec<Instance>), RegistryClientError> {
        let path = ["v1", "health", "service", &self.name];
        let mut request = RegistryRequest::new(Method::GET, path).query("passing", "true");
        for tag in &self.tags {
            request = request.query("tag", tag);
        }
        if let Some(datacenter) = &self.consul.datacenter {
            request = request.query("dc", datacenter);
        }
        if index > 0 {
            let wait = self.consul.wait;
            request = request
                .query("index", &index.to_string())
                .query("wait", &format!("{}ms", wait.as_millis()))
                // Consul adds up to a sixteenth, so that queries do not all end at once.
                .wait(wait + wait / 16);
        }
        let response = self.consul.client.send(request).await?.success()?;
        let index = response
            .header("x-consul-index")
            .and_then(|index| index.parse().ok());
        Ok((index.unwrap_or_default(), read_entries(response.json()?)))
    }

    /// Sends a command to the agent, and returns false if the agent does not know the id that it is about.
    async fn command<const N: usize>(&self, path: [&str; N]) -> Result<bool, RegistryClientError> {
        // Until 1.10 an unknown id is an internal error.
        let request =
            RegistryRequest::new(Method::PUT, path).expect(StatusCode::INTERNAL_SERVER_ERROR);
        let response = self.consul.client.send(request).await?;
        if response.status().is_success() {
            return Ok(true);
        }
        let text = response.text();
        let is_unknown = response.status() == StatusCode::NOT_FOUND
            || text.contains("does not have associated TTL")
            || text.starts_with("Unknown ");
        if is_unknown {
            return Ok(false);
        }
        Err(response.error())
    }
}

impl Source for ConsulService {
    async fn run(self, sender: InstanceSender) {
        let mut pacer = Pacer::new();
        let mut index = 0;
        loop {
            pacer.wait().await;
            match self.fetch(index).await {
                Ok((next, instances)) => {
                    pacer.succeeded();
                    // One that goes back, or that is 0, is of a registry that was restored: all is asked for at once.
                    index = if next < index { 0 } else { next };
                    sender.set(instances);
                }
                Err(error) => {
                    // The next answer must not wait for a change that came meanwhile.
                    index = 0;
                    if error.is_refusal() {
                        pacer.refused();
                    } else {
                        pacer.failed();
                    }
                    sender.fail(error);
                }
            }
        }
    }
}

impl Registry for ConsulService {
    type Lease = ConsulLease;

    fn ttl(&self) -> Duration {
        self.consul.ttl
    }

    async fn register(&self, instance: &Instance) -> Result<ConsulLease, RegistryError> {
        let id = format!("{}-{}", self.name, instance.address);
        let Consul {
            ttl,
            deregister_after,
            ..
        } = self.consul;
        let registration = Registration::new(&self.name, &id, instance, ttl, deregister_after);
        let path = ["v1", "agent", "service", "register"];
        let request = RegistryRequest::new(Method::PUT, path)
            .query("replace-existing-checks", "true")
            .json(&registration)?;
        self.consul.client.send(request).await?.success()?;
        Ok(ConsulLease(id))
    }

    async fn renew(&self, lease: &mut ConsulLease) -> Result<LeaseStatus, RegistryError> {
        let check = format!("service:{}", lease.0);
        let is_known = self.command(["v1", "agent", "check", "pass", &check]);
        Ok(if is_known.await? {
            LeaseStatus::Renewed
        } else {
            LeaseStatus::Lost
        })
    }

    async fn deregister(&self, lease: ConsulLease) -> Result<(), RegistryError> {
        let path = ["v1", "agent", "service", "deregister", &lease.0];
        self.command(path).await?;
        Ok(())
    }
}

impl fmt::Debug for ConsulService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConsulService")
            .field("name", &self.name)
            .field("tags", &self.tags)
            .finish_non_exhaustive()
    }
}
