use std::fmt;

use kube::{Client, Config};
use towerkit_core::ConfigError;

use crate::{KubernetesError, KubernetesService, access::Access, label::is_label};

/// An API server of Kubernetes, and the credentials for it. A clone shares them.
///
/// ```no_run
/// use towerkit_discovery_kubernetes::{Kubernetes, kube};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In a pod, by the service account that is mounted into it.
/// let kubernetes = Kubernetes::in_cluster()?;
/// // On a developer's machine, by the current context of `kubectl`.
/// let kubernetes = Kubernetes::from_kubeconfig().await?;
/// // The same for another context.
/// let options = kube::config::KubeConfigOptions { context: Some("staging".into()), ..Default::default() };
/// let kubernetes = Kubernetes::from_config(kube::Config::from_kubeconfig(&options).await?)?;
/// # drop(kubernetes); Ok(()) }
/// ```
#[derive(Clone)]
pub struct Kubernetes(Access);

impl Kubernetes {
    /// Uses the API server and the service account of the pod in which this process runs.
    ///
    /// # Errors
    ///
    /// Returns an error if the process does not run in a pod, or if no service account is mounted.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn in_cluster() -> Result<Self, KubernetesError> {
        let config = Config::incluster().map_err(|error| KubernetesError::in_cluster(&error))?;
        Self::from_config(config)
    }

    /// Uses the current context of the file in `KUBECONFIG`, or of `~/.kube/config`.
    ///
    /// # Errors
    ///
    /// Returns an error if the file is missing or not valid, or if its credentials cannot be loaded.
    pub async fn from_kubeconfig() -> Result<Self, KubernetesError> {
        let config = Config::from_kubeconfig(&kube::config::KubeConfigOptions::default()).await;
        Self::from_config(config.map_err(|error| KubernetesError::kubeconfig(&error))?)
    }

    /// Uses a configuration of kube.
    ///
    /// The timeouts and retries in it are not used: this crate has its own. If the API server refuses the credentials, they are
    /// loaded again from their file, or by the command of a kubeconfig.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate is not valid or a file cannot be read.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    pub fn from_config(config: Config) -> Result<Self, KubernetesError> {
        let access = Access::of_config(config).map_err(|error| KubernetesError::client(&error))?;
        Ok(Self(access))
    }

    /// Uses a client of kube, such as one with layers of its own.
    ///
    /// Requests that the client retries by itself are not counted towards two requests a second: turn
    /// [`default_retry`](kube::Config::default_retry) off. A dead connection is noticed after 90 seconds of silence,
    /// or earlier by the settings of the client.
    #[must_use]
    pub fn from_client(client: Client) -> Self {
        Self(Access::of_client(client))
    }

    /// Returns the service `name` in `namespace` as a source.
    ///
    /// # Errors
    ///
    /// Returns an error if a name is not a label of [RFC 1123]: at most 63 lower-case letters, digits and hyphens.
    ///
    /// [RFC 1123]: https://www.rfc-editor.org/rfc/rfc1123#section-2.1
    pub fn service(&self, namespace: &str, name: &str) -> Result<KubernetesService, ConfigError> {
        for (setting, text) in [("namespace", namespace), ("service", name)] {
            if !is_label(text) {
                let shown: String = text.chars().take(64).collect();
                let expected = "at most 63 lower-case letters, digits and hyphens";
                return Err(ConfigError::new(setting, shown, expected));
            }
        }
        Ok(KubernetesService::new(self.0.clone(), namespace, name))
    }
}

impl fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kubernetes").finish_non_exhaustive()
    }
}
