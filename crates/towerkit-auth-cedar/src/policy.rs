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
    /// Returns a [`ConfigError`] that names the fault if a policy is invalid, is a template, nests brackets or `if`
    /// deeper than 32, or has more than 2000 of the operators `.`, `[`, `+`, `-` and `*`.
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

/// The depth to which brackets and `if` may nest in a policy.
///
/// The parser recurses, and a stack that overflows ends the process.
const MAX_NESTING: usize = 32;

/// The limit of the operators `.`, `[`, `+`, `-` and `*` in a policy: a chain of them nests as well, in smaller steps.
const MAX_OPERATORS: usize = 2000;

fn policy_set(policies: &str) -> Result<PolicySet, ConfigError> {
    let invalid = |fault: String| {
        ConfigError::new(
            "cedar policy",
            fault,
            "static policies in the syntax of Cedar",
        )
    };
    if let Some((line, fault)) = too_deep(policies) {
        return Err(invalid(format!("line {line}: {fault}")));
    }
    let policies: PolicySet = policies
        .parse()
        .map_err(|errors| invalid(faults(policies, &errors)))?;
    // A template applies to no call before it is linked.
    if let Some(template) = policies.templates().next() {
        return Err(invalid(format!("{} is a template", template.id())));
    }
    Ok(policies)
}

/// Returns the line on which a policy is above one of the limits, and the limit.
///
/// Each `if` of a policy counts until its end, because an `else if` nests in the one before it.
fn too_deep(policies: &str) -> Option<(usize, String)> {
    let (mut line, mut brackets, mut ifs, mut operators) = (1, 0_usize, 0, 0);
    let mut rest = policies.as_bytes();
    while let [byte, tail @ ..] = rest {
        let mut length = 1;
        match byte {
            b'\n' => line += 1,
            b'(' | b'{' => brackets += 1,
            b'[' => (brackets, operators) = (brackets + 1, operators + 1),
            b'.' | b'+' | b'-' | b'*' => operators += 1,
            b')' | b']' | b'}' => brackets = brackets.saturating_sub(1),
            b';' => (brackets, ifs, operators) = (0, 0, 0),
            b'/' if tail.first() == Some(&b'/') => {
                length += tail.iter().take_while(|byte| **byte != b'\n').count();
            }
            b'"' => {
                length += string_length(tail);
                line += rest[..length].iter().filter(|byte| **byte == b'\n').count();
            }
            byte if is_word(*byte) => {
                length += tail.iter().take_while(|byte| is_word(**byte)).count();
                ifs += usize::from(&rest[..length] == b"if");
            }
            _ => {}
        }
        if brackets + ifs > MAX_NESTING {
            let fault = format!("brackets or `if` nested deeper than {MAX_NESTING}");
            return Some((line, fault));
        }
        if operators > MAX_OPERATORS {
            let fault = format!("more than {MAX_OPERATORS} operators in a policy");
            return Some((line, fault));
        }
        rest = &rest[length..];
    }
    None
}

/// Returns the length of a string after its first quote, with the last one.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    let end = text.iter().position(|byte| {
        let is_end = *byte == b'"' && !is_escaped;
        is_escaped = *byte == b'\\' && !is_escaped;
        is_end
    });
    end.map_or(text.len(), |end| end + 1)
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
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
