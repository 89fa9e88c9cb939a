use std::{pin::pin, sync::Arc};

use futures_util::StreamExt;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::{Mutex, mpsc};
use towerkit_discovery::{InstanceSender, Pacer, Source};

use crate::{
    KubernetesError,
    access::Access,
    api_service::{ApiService, Fault},
    endpoint_slice::{ApiVersion, EndpointSlice},
    error::{Kind, Verb},
    slices::Slices,
};

/// The slices in one answer to a list.
const PAGE: u32 = 100;

/// A service of Kubernetes as a [`Source`], made by [`Kubernetes::service`](crate::Kubernetes::service).
///
/// Each has a watch of its own, which is one connection.
#[derive(Debug, Clone)]
pub struct KubernetesService {
    access: Access,
    namespace: String,
    name: String,
    port: Option<String>,
}

impl KubernetesService {
    pub(crate) fn new(access: Access, namespace: &str, name: &str) -> Self {
        Self {
            access,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            port: None,
        }
    }

    /// Sets the port by its name in the service. Default: the only TCP port.
    ///
    /// The number is that of the pods, which may differ from that of the service. If the service has no such port, that is an error
    /// of the discovery, and the last set stays in use.
    #[must_use]
    pub fn port(mut self, name: impl Into<String>) -> Self {
        self.port = Some(name.into());
        self
    }
}

impl Source for KubernetesService {
    async fn run(self, sender: InstanceSender) {
        let mut watch = Watch {
            client: self.access.client(),
            version: ApiVersion::V1,
            is_other_missing: false,
            slices: Slices::new(self.port.clone()),
            pacer: Arc::new(Mutex::new(Pacer::new())),
            service: self,
            sender,
        };
        loop {
            let fault = watch.run().await;
            watch.recover(fault).await;
        }
    }
}

/// The state of a source that runs.
struct Watch {
    service: KubernetesService,
    sender: InstanceSender,
    pacer: Arc<Mutex<Pacer>>,
    client: Client,
    version: ApiVersion,
    /// True if the server does not have the other version, and has not answered a list of this one.
    is_other_missing: bool,
    slices: Slices,
}

impl Watch {
    /// Lists the slices, and then sends each change, until a fault.
    async fn run(&mut self) -> Fault {
        let (report, mut faults) = mpsc::unbounded_channel();
        let service = ApiService::new(self.client.clone(), self.pacer.clone(), report);
        let client = Client::new(service, self.service.namespace.as_str());
        let slices =
            Api::<EndpointSlice>::namespaced_with(client, &self.service.namespace, &self.version);
        let selector = format!("kubernetes.io/service-name={}", self.service.name);
        let config = watcher::Config::default().labels(&selector).page_size(PAGE);
        let mut events = pin!(watcher(slices, config));
        loop {
            tokio::select! {
                biased;
                Some(fault) = faults.recv() => return fault,
                Some(event) = events.next() => {
                    if let Err(fault) = self.handle(event) {
                        return fault;
                    }
                }
            }
        }
    }

    fn handle(&mut self, event: Result<Event<EndpointSlice>, watcher::Error>) -> Result<(), Fault> {
        match event.map_err(|error| fault_of(&error))? {
            Event::Init => {
                self.slices.clear();
                return Ok(());
            }
            Event::InitApply(slice) => {
                self.slices.apply(slice);
                return Ok(());
            }
            Event::InitDone => self.is_other_missing = false,
            Event::Apply(slice) => self.slices.apply(slice),
            Event::Delete(slice) => self.slices.delete(&slice),
        }
        match self.slices.instances() {
            Ok(instances) => self.sender.set(instances),
            Err(error) => self.sender.fail(error),
        }
        Ok(())
    }

    /// Reports a fault, and sets the time of the next list.
    async fn recover(&mut self, fault: Fault) {
        let error = match fault {
            Fault::WatchEnded => {
                // The next list shows whether the server is there.
                self.pacer.lock().await.failed();
                return;
            }
            Fault::NotFound if !self.is_other_missing => {
                self.version = self.version.other();
                self.is_other_missing = true;
                return;
            }
            Fault::Failed(error) => {
                self.pacer.lock().await.failed();
                self.sender.fail(error);
                return;
            }
            Fault::NotFound => {
                self.version = self.version.other();
                Kind::NoEndpointSlices
            }
            Fault::Unauthorized => {
                if let Some(client) = self.service.access.renewed_client().await {
                    self.client = client;
                }
                Kind::Unauthorized
            }
            Fault::Forbidden(verb) => Kind::Forbidden {
                verb,
                namespace: self.service.namespace.clone(),
            },
        };
        self.pacer.lock().await.refused();
        self.sender.fail(KubernetesError::from(error));
    }
}

/// Returns the fault of an error of the watcher. Failed requests do not come here.
fn fault_of(error: &watcher::Error) -> Fault {
    match error {
        // The version is gone, or the server closes the watch for another reason.
        watcher::Error::WatchError(_) => Fault::WatchEnded,
        watcher::Error::InitialListFailed(_) => Fault::Failed(Kind::Invalid(Verb::List).into()),
        watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => Fault::Failed(Kind::Invalid(Verb::Watch).into()),
    }
}
