use std::{error::Error, fmt, io};

use kube::config::{InClusterError, KubeconfigError, LoadDataError};

/// An error of a [`Kubernetes`](crate::Kubernetes) or of a [`KubernetesService`](crate::KubernetesService).
///
/// Its message has no credentials and no texts of the API server in it, so that it can be logged.
#[derive(Debug)]
pub struct KubernetesError(Kind);

#[derive(Debug)]
pub(crate) enum Kind {
    /// The configuration is missing or wrong.
    Config(String),
    /// No answer, because of the transport.
    Unreachable(String),
    /// No answer in time.
    Timeout,
    /// An answer with a status that is no success.
    Status {
        verb: Verb,
        status: u16,
    },
    /// An answer that is no list, or no event.
    Invalid(Verb),
    /// An answer that is too large.
    TooLarge,
    /// The server has no EndpointSlices.
    NoEndpointSlices,
    /// The rights are missing.
    Forbidden {
        verb: Verb,
        namespace: String,
    },
    Unauthorized,
    /// The port that was chosen, or a single one, is not there.
    Port(String),
}

/// A request to the API server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    List,
    Watch,
}

impl KubernetesError {
    pub(crate) fn in_cluster(error: &InClusterError) -> Self {
        let problem = match error {
            InClusterError::ReadEnvironmentVariable(_) => {
                "the process is in no pod: KUBERNETES_SERVICE_HOST or _PORT is not set".to_owned()
            }
            InClusterError::ReadDefaultNamespace(error)
            | InClusterError::ReadCertificateBundle(error) => {
                format!("the service account cannot be read: {error}")
            }
            InClusterError::ParseClusterPort(_) | InClusterError::ParseClusterUrl(_) => {
                "KUBERNETES_SERVICE_HOST and _PORT are no address".to_owned()
            }
            InClusterError::ParseCertificates(_) => {
                "the certificates of the service account are not in PEM".to_owned()
            }
        };
        Kind::Config(problem).into()
    }

    pub(crate) fn kubeconfig(error: &KubeconfigError) -> Self {
        // The message of a parser may quote the file, which has secrets.
        let problem = match error {
            KubeconfigError::ReadConfig(error, path) => {
                format!("{} cannot be read: {error}", path.display())
            }
            KubeconfigError::FindPath => "there is no home folder".to_owned(),
            KubeconfigError::Parse(_) => "it is no valid YAML of a kubeconfig".to_owned(),
            KubeconfigError::CurrentContextNotSet => "it has no current context".to_owned(),
            KubeconfigError::LoadContext(_) | KubeconfigError::LoadClusterOfContext(_) => {
                "its current context or the cluster of it is missing".to_owned()
            }
            KubeconfigError::MissingClusterUrl | KubeconfigError::ParseClusterUrl(_) => {
                "its cluster has no valid URL".to_owned()
            }
            KubeconfigError::LoadCertificateAuthority(LoadDataError::ReadFile(error, path))
            | KubeconfigError::LoadClientCertificate(LoadDataError::ReadFile(error, path))
            | KubeconfigError::LoadClientKey(LoadDataError::ReadFile(error, path)) => {
                format!("{} cannot be read: {error}", path.display())
            }
            _ => "it is not valid".to_owned(),
        };
        Kind::Config(format!("kubeconfig: {problem}")).into()
    }

    /// Describes an error of a client that could not be made, by the parts of it that have no secrets.
    pub(crate) fn client(error: &kube::Error) -> Self {
        let problem = match error {
            kube::Error::InferKubeconfig(error) => return Self::kubeconfig(error),
            kube::Error::ProxyProtocolDisabled { .. }
            | kube::Error::ProxyProtocolUnsupported { .. } => {
                "a proxy needs a feature of kube, `http-proxy` or `socks5`".to_owned()
            }
            kube::Error::RustlsTls(_) => "a certificate or key is not valid".to_owned(),
            kube::Error::Auth(kube::client::AuthError::ReadTokenFile(error, path)) => {
                format!("the token {} cannot be read: {error}", path.display())
            }
            _ => "the credentials cannot be loaded".to_owned(),
        };
        Kind::Config(problem).into()
    }

    /// Describes an error of a request.
    pub(crate) fn transport(error: &(dyn Error + 'static)) -> Self {
        let mut text = None;
        let mut next = Some(error);
        while let Some(error) = next {
            if error.is::<kube::client::AuthError>() {
                return Kind::Config("the credentials cannot be refreshed".to_owned()).into();
            }
            // The innermost says most: that of TLS, or of the operating system.
            if error.is::<io::Error>() || error.is::<hyper_util::client::legacy::Error>() {
                text = Some(error.to_string());
            }
            next = error.source();
        }
        Kind::Unreachable(text.unwrap_or_else(|| "the request failed".to_owned())).into()
    }
}

impl From<Kind> for KubernetesError {
    fn from(kind: Kind) -> Self {
        Self(kind)
    }
}

impl fmt::Display for KubernetesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Config(problem) | Kind::Port(problem) => f.write_str(problem),
            Kind::Unreachable(problem) => write!(f, "the API server is unreachable: {problem}"),
            Kind::Timeout => f.write_str("the API server did not answer in time"),
            Kind::Status { verb, status } => {
                write!(
                    f,
                    "the API server answered {status} to a {verb} of endpointslices"
                )
            }
            Kind::Invalid(verb) => {
                write!(f, "the answer to a {verb} of endpointslices is not valid")
            }
            Kind::TooLarge => f.write_str("the answer of the API server is too large"),
            Kind::NoEndpointSlices => f.write_str(
                "the API server has no endpointslices in discovery.k8s.io/v1 or v1beta1",
            ),
            Kind::Forbidden { verb, namespace } => write!(
                f,
                "forbidden (403): the account needs a role in the namespace {namespace} with the verb {verb} on the resource \
                 endpointslices of the group discovery.k8s.io"
            ),
            Kind::Unauthorized => {
                f.write_str("unauthorized (401): the API server does not accept the credentials")
            }
        }
    }
}

impl Error for KubernetesError {}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::List => "list",
            Self::Watch => "watch",
        })
    }
}

#[cfg(test)]
mod tests {
    use kube::config::Kubeconfig;

    use super::*;

    #[test]
    fn an_error_of_a_kubeconfig_does_not_quote_it() {
        // SD-16
        for yaml in ["users: [{name: a, user: {token: canary}", "users: canary"] {
            let error = Kubeconfig::from_yaml(yaml).unwrap_err();
            let error = KubernetesError::kubeconfig(&error);
            assert_eq!(
                error.to_string(),
                "kubeconfig: it is no valid YAML of a kubeconfig"
            );
            assert!(!format!("{error:?}").contains("canary"));
            assert!(error.source().is_none());
        }
    }
}
