use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use cedar_policy::{Authorizer, Decision, Entities, ParseError, ParseErrors, PolicySet, Request};
use miette::Diagnostic;
use towerkit_auth::AuthError;
use towerkit_core::ConfigError;

/// A set of Cedar policies, and the engine that decides by them.
///
/// Clones share the policies: [`reload`](Self::reload) and [`replace`](Self::replace) change them for all.
#[derive(Clone)]
pub struct CedarPolicy(Arc<Shared>);

struct Shared {
    current: ArcSwap<PolicySet>,
    authorizer: Authorizer,
    file: Option<PathBuf>,
    /// Held by one change at a time, so that the file that was read last is in use. Decisions do not take it.
    changes: Mutex<()>,
}

impl CedarPolicy {
    /// Reads policies from a text in the syntax of Cedar.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] that names the fault if a policy is invalid, or is a template.
    pub fn parse(policies: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(policy_set(policies)?, None))
    }

    /// Reads policies from a file, which [`reload`](Self::reload) reads again.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), and if the file cannot be read.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, ConfigError> {
        let path = path.into();
        Ok(Self::new(policy_set(&read(&path)?)?, Some(path)))
    }

    fn new(policies: PolicySet, file: Option<PathBuf>) -> Self {
        Self(Arc::new(Shared {
            current: ArcSwap::from_pointee(policies),
            authorizer: Authorizer::new(),
            file,
            changes: Mutex::default(),
        }))
    }

    /// Reads the file again. Calls that come later are decided by the new policies.
    ///
    /// It blocks the thread while it reads. Policies from [`parse`](Self::parse) have no file, and stay as they are.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open). The old policies then stay in use.
    pub fn reload(&self) -> Result<(), ConfigError> {
        match &self.0.file {
            Some(path) => self.change(|| policy_set(&read(path)?)),
            None => Ok(()),
        }
    }

    /// Replaces the policies by a text that comes from elsewhere, such as a database.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse). The old policies then stay in use.
    pub fn replace(&self, policies: &str) -> Result<(), ConfigError> {
        self.change(|| policy_set(policies))
    }

    fn change(
        &self,
        read: impl FnOnce() -> Result<PolicySet, ConfigError>,
    ) -> Result<(), ConfigError> {
        let changes = &self.0.changes;
        // The lock guards no data that a panic could leave half changed.
        let _one_at_a_time = changes.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.current.store(Arc::new(read()?));
        Ok(())
    }

    /// Decides a request about these entities.
    ///
    /// # Errors
    ///
    /// Returns [`AuthError::unavailable`] if the evaluation of a policy fails, and otherwise [`AuthError::forbidden`] if the policies
    /// deny the request.
    pub fn is_authorized(&self, request: &Request, entities: &Entities) -> Result<(), AuthError> {
        let policies = self.0.current.load();
        let response = self
            .0
            .authorizer
            .is_authorized(request, &policies, entities);
        if let Some(error) = response.diagnostics().errors().next() {
            return Err(AuthError::unavailable(error.to_string()));
        }
        match response.decision() {
            Decision::Allow => Ok(()),
            Decision::Deny => Err(AuthError::forbidden("the policy denies the request")),
        }
    }
}

fn policy_set(policies: &str) -> Result<PolicySet, ConfigError> {
    let invalid = |fault: String| {
        ConfigError::new(
            "cedar policy",
            fault,
            "static policies in the syntax of Cedar",
        )
    };
    let policies: PolicySet = policies
        .parse()
        .map_err(|errors| invalid(faults(policies, &errors)))?;
    // A template applies to no call before it is linked.
    if let Some(template) = policies.templates().next() {
        return Err(invalid(format!("{} is a template", template.id())));
    }
    Ok(policies)
}

/// Describes each error, with the line on which it is.
fn faults(text: &str, errors: &ParseErrors) -> String {
    let fault = |error: &ParseError| {
        let offset = error.labels().and_then(|mut labels| labels.next());
        let before = offset.and_then(|label| text.get(..label.offset()));
        match before {
            Some(before) => format!("line {}: {error}", before.matches('\n').count() + 1),
            None => error.to_string(),
        }
    };
    errors.iter().map(fault).collect::<Vec<_>>().join("; ")
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let invalid = |error| ConfigError::new("cedar policy", path, format!("a text file ({error})"));
    fs::read_to_string(path).map_err(invalid)
}

impl fmt::Debug for CedarPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CedarPolicy")
            .field("policies", &self.0.current.load().policies().count())
            .field("file", &self.0.file)
            .finish()
    }
}
