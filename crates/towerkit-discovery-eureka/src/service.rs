use std::{fmt, sync::Arc, time::Duration};

use http::{Method, StatusCode};
use towerkit_discovery::{
    Instance, InstanceSender, LeaseStatus, Registry, RegistryError, RegistryRequest,
    RegistryResponse, Source,
};

use crate::{
    Eureka,
    cache::Answer,
    wire::{Registration, Selector, host},
};

/// One service of a [`Eureka`]: a source of its instances, and a registry for them.
#[derive(Clone)]
pub struct EurekaService {
    eureka: Eureka,
    selector: Selector,
    is_secure: bool,
}

/// A registration in Eureka: the id of an instance of an application.
#[derive(Debug)]
pub struct EurekaLease(String);

impl Eureka {
    /// Returns the service of an application, to discover it or to register in it. Eureka writes its name in upper case.
    #[must_use]
    pub fn service(&self, app: impl Into<Arc<str>>) -> EurekaService {
        EurekaService::new(self.clone(), Selector::App(app.into()))
    }

    /// Returns the service of a virtual address (`vipAddress`), which several applications may have.
    #[must_use]
    pub fn vip(&self, vip: impl Into<Arc<str>>) -> EurekaService {
        EurekaService::new(self.clone(), Selector::Vip(vip.into()))
    }
}

impl EurekaService {
    const fn new(eureka: Eureka, selector: Selector) -> Self {
        Self {
            eureka,
            selector,
            is_secure: false,
        }
    }

    /// Takes the secure port of the instances, and the secure virtual address.
    #[must_use]
    pub const fn secure(mut self) -> Self {
        self.is_secure = true;
        self
    }

    fn publish(&self, answer: &Answer, sender: &InstanceSender) {
        match answer {
            Ok(listed) => {
                let selected = listed
                    .iter()
                    .filter_map(|listed| listed.select(&self.selector, self.is_secure));
                sender.set(selected.cloned());
            }
            Err(error) => sender.fail(error.clone()),
        }
    }

    /// Sends a request about an instance of the application.
    async fn send(
        &self,
        method: Method,
        lease: &EurekaLease,
    ) -> Result<RegistryResponse, RegistryError> {
        let app = self.selector.app();
        let request = RegistryRequest::new(method, ["apps", &app, &lease.0]);
        Ok(self.eureka.client.send(request).await?)
    }
}

impl Source for EurekaService {
    async fn run(self, sender: InstanceSender) {
        let mut listing = self.eureka.cache.subscribe();
        loop {
            let known = listing.borrow_and_update().clone();
            if let Some(known) = known.filter(|known| self.eureka.cache.is_fresh(known)) {
                self.publish(&known.answer, &sender);
            }
            tokio::select! {
                // `self.eureka` has the sender.
                _ = listing.changed() => {}
                () = self.eureka.cache.keep_fetching() => {}
            }
        }
    }
}

impl Registry for EurekaService {
    type Lease = EurekaLease;

    fn ttl(&self) -> Duration {
        self.eureka.ttl
    }

    async fn register(&self, instance: &Instance) -> Result<EurekaLease, RegistryError> {
        let app = self.selector.app();
        let host = host(&instance.address);
        // The form that Spring gives them.
        let id = format!("{host}:{}:{}", app.to_lowercase(), instance.address.port());
        let registration = Registration::new(
            &self.selector,
            &id,
            instance,
            self.is_secure,
            self.eureka.ttl,
        );
        let request = RegistryRequest::new(Method::POST, ["apps", &app]).json(&registration)?;
        self.eureka.client.send(request).await?.success()?;
        Ok(EurekaLease(id))
    }

    async fn renew(&self, lease: &mut EurekaLease) -> Result<LeaseStatus, RegistryError> {
        let response = self.send(Method::PUT, lease).await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(LeaseStatus::Lost);
        }
        response.success()?;
        Ok(LeaseStatus::Renewed)
    }

    async fn deregister(&self, lease: EurekaLease) -> Result<(), RegistryError> {
        let response = self.send(Method::DELETE, &lease).await?;
        if response.status() != StatusCode::NOT_FOUND {
            response.success()?;
        }
        Ok(())
    }
}

impl fmt::Debug for EurekaService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EurekaService")
            .field("selector", &self.selector)
            .field("is_secure", &self.is_secure)
            .finish_non_exhaustive()
    }
}
