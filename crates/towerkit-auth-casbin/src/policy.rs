use std::{
    fmt, fs,
    path::{Path, PathBuf},
    pin::pin,
    sync::{Arc, LazyLock, Mutex, PoisonError},
    task::{Context, Poll, Waker},
};

use arc_swap::ArcSwap;
use casbin::{
    CoreApi, DefaultModel, Enforcer, Model, NullAdapter,
    rhai::{Dynamic, ImmutableString},
};
use regex::Regex;
use towerkit_auth::AuthError;
use towerkit_core::ConfigError;

use crate::{
    functions::{TOO_LONG, register, with_patterns},
    pattern::{PatternKind, Patterns},
    rules::rules,
};

/// A model and a policy of Casbin, with the enforcer that decides by them.
///
/// Clones share the policy: [`reload`](Self::reload) and [`replace`](Self::replace) change it for all.
#[derive(Clone)]
pub struct CasbinPolicy(Arc<Shared>);

struct Shared {
    current: ArcSwap<Snapshot>,
    files: Option<Files>,
    /// Held by one change at a time, so that the files that were read last are in use. Decisions do not take it.
    changes: Mutex<()>,
}

struct Files {
    model: PathBuf,
    policy: PathBuf,
}

/// One policy, which does not change.
struct Snapshot {
    enforcer: Enforcer,
    patterns: Arc<Patterns>,
    /// The number of elements of a request.
    elements: usize,
}

/// The effects that the enforcer knows; it panics at others.
const EFFECTS: [&str; 4] = [
    "some(where (p_eft == allow))",
    "!some(where (p_eft == deny))",
    "some(where (p_eft == allow)) && !some(where (p_eft == deny))",
    "priority(p_eft) || deny",
];

/// Calls whose second argument is a field of the policy or a text.
static PATTERN_CALLS: LazyLock<Regex> = LazyLock::new(|| {
    let calls = r#"\b(\w+)\([^(),]*,\s*(?:(p_\w+)|"([^"\\]*)")\s*[,)]"#;
    Regex::new(calls).expect("the expression is valid")
});

impl CasbinPolicy {
    /// The length in bytes to which each element of a request is limited.
    ///
    /// It bounds the time of a comparison with a pattern.
    pub const MAX_ARGUMENT: usize = 1024;

    /// Reads a model and a policy from texts: the contents of a `model.conf` and a `policy.csv`.
    ///
    /// # Errors
    ///
    /// Returns a [`ConfigError`] that names the fault if the model or a line of the policy is invalid; see the
    /// [crate documentation](crate#errors).
    pub fn parse(model: &str, policy: &str) -> Result<Self, ConfigError> {
        Ok(Self::new(Snapshot::parse(model, policy)?, None))
    }

    /// Reads a model and a policy from files, which [`reload`](Self::reload) reads again.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), and if a file cannot be read.
    pub fn open(
        model: impl Into<PathBuf>,
        policy: impl Into<PathBuf>,
    ) -> Result<Self, ConfigError> {
        let files = Files {
            model: model.into(),
            policy: policy.into(),
        };
        Ok(Self::new(files.read()?, Some(files)))
    }

    fn new(snapshot: Snapshot, files: Option<Files>) -> Self {
        Self(Arc::new(Shared {
            current: ArcSwap::from_pointee(snapshot),
            files,
            changes: Mutex::default(),
        }))
    }

    /// Reads the files again. Calls that come later are decided by the new model and the new policy.
    ///
    /// It blocks the thread while it reads. A policy from [`parse`](Self::parse) has no files, and stays as it is.
    ///
    /// # Errors
    ///
    /// As for [`open`](Self::open), and if requests of the new model have another number of elements. The old policy then stays in
    /// use.
    pub fn reload(&self) -> Result<(), ConfigError> {
        match &self.0.files {
            Some(files) => self.change(|| files.read()),
            None => Ok(()),
        }
    }

    /// Replaces model and policy by texts that come from elsewhere, such as a database.
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse), and if requests of the new model have another number of elements. The old policy then stays in
    /// use.
    pub fn replace(&self, model: &str, policy: &str) -> Result<(), ConfigError> {
        self.change(|| Snapshot::parse(model, policy))
    }

    fn change(
        &self,
        read: impl FnOnce() -> Result<Snapshot, ConfigError>,
    ) -> Result<(), ConfigError> {
        let changes = &self.0.changes;
        // The lock guards no data that a panic could leave half changed.
        let _one_at_a_time = changes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = read()?;
        let elements = self.request_elements();
        if new.elements != elements {
            let expected = format!("{elements}, as in the model before");
            let setting = "number of request elements";
            return Err(ConfigError::new(setting, new.elements, expected));
        }
        self.0.current.store(Arc::new(new));
        Ok(())
    }

    /// Decides a request: its elements, in the order of the model's request definition.
    ///
    /// # Errors
    ///
    /// Returns [`AuthError::forbidden`] if the policy denies the request, or if an element has more than
    /// [`MAX_ARGUMENT`](Self::MAX_ARGUMENT) bytes, and [`AuthError::unavailable`] if the number of elements is wrong or the matcher
    /// fails.
    pub fn enforce(&self, request: &[&str]) -> Result<(), AuthError> {
        if request.iter().any(|text| text.len() > Self::MAX_ARGUMENT) {
            return Err(AuthError::forbidden(
                "an element of the request is too long",
            ));
        }
        let snapshot = self.0.current.load();
        let allows = snapshot.evaluate(request).map_err(AuthError::unavailable)?;
        match allows {
            true => Ok(()),
            false => Err(AuthError::forbidden("the policy denies the request")),
        }
    }

    pub(crate) fn request_elements(&self) -> usize {
        self.0.current.load().elements
    }
}

impl Files {
    fn read(&self) -> Result<Snapshot, ConfigError> {
        let model = read("casbin model", &self.model)?;
        let policy = read("casbin policy", &self.policy)?;
        Snapshot::parse(&model, &policy)
    }
}

impl Snapshot {
    fn parse(model: &str, policy: &str) -> Result<Self, ConfigError> {
        let mut model = at_once(DefaultModel::from_str(model)).map_err(invalid_model)?;
        let elements = check_definitions(&model)?;
        quote_texts(&mut model);
        for (line, rule) in rules(policy) {
            add_rule(&mut model, line, rule)?;
        }
        sort_by_priority(&mut model);
        let patterns = compile_patterns(&model)?;
        let mut enforcer = at_once(Enforcer::new_raw(model, NullAdapter)).map_err(invalid_model)?;
        register(&mut enforcer);
        enforcer.build_role_links().map_err(invalid_model)?;
        let snapshot = Self {
            enforcer,
            patterns: Arc::new(patterns),
            elements,
        };
        snapshot.check_matcher()?;
        Ok(snapshot)
    }

    fn evaluate(&self, request: &[&str]) -> Result<bool, String> {
        let request = request.iter().map(|text| ImmutableString::from(*text));
        let request: Vec<Element> = request.map(Element).collect();
        let enforce = || self.enforcer.enforce(request);
        let result = with_patterns(&self.patterns, enforce)?;
        result.map_err(|error| error.to_string())
    }

    /// Evaluates the matcher for a request like the first rule, by which it finds unknown functions and variables.
    ///
    /// Without a rule there is no text for fields whose contents are evaluated.
    fn check_matcher(&self) -> Result<(), ConfigError> {
        let model = self.enforcer.get_model().get_model();
        let policy = &model["p"]["p"];
        let Some(rule) = policy.policy.front() else {
            return Ok(());
        };
        let like_rule = |element: &String| {
            let name = element.strip_prefix("r_");
            let field = |token: &String| token.strip_prefix("p_") == name;
            let at = policy.tokens.iter().position(field);
            at.map_or("", |at| &rule[at])
        };
        let request: Vec<&str> = model["r"]["r"].tokens.iter().map(like_rule).collect();
        match self.evaluate(&request) {
            // Patterns are in place of texts here, and may be longer than these.
            Err(error) if error != TOO_LONG => Err(invalid_model(error)),
            _ => Ok(()),
        }
    }
}

/// An element of a request, as the enforcer takes it.
#[derive(Clone, Hash)]
struct Element(ImmutableString);

impl From<Element> for Dynamic {
    fn from(element: Element) -> Self {
        element.0.into()
    }
}

/// Returns the number of elements of a request.
fn check_definitions(model: &DefaultModel) -> Result<usize, ConfigError> {
    let definition = |section: &str| {
        let assertions = model.get_model().get(section);
        assertions
            .and_then(|assertions| assertions.get(section))
            .ok_or_else(|| invalid_model(format!("no definition of {section}")))
    };
    definition("m")?;
    definition("p")?;
    let effect = &definition("e")?.value;
    if !EFFECTS.contains(&effect.as_str()) {
        let expected = "an effect that casbin for Rust knows";
        return Err(ConfigError::new("casbin policy effect", effect, expected));
    }
    Ok(definition("r")?.tokens.len())
}

/// Casbin skips rules of unknown kinds, cuts roles that have too many fields, and fails at each decision if another rule has.
fn add_rule(
    model: &mut DefaultModel,
    line: usize,
    rule: Option<Vec<String>>,
) -> Result<(), ConfigError> {
    let invalid =
        |expected: String| ConfigError::new("casbin policy", format!("line {line}"), expected);
    let mut rule = rule.ok_or_else(|| invalid("comma-separated values".to_owned()))?;
    let kind = rule.remove(0);
    let section = kind.get(..1).unwrap_or_default().to_owned();
    let assertion = ["p", "g"].contains(&&*section).then(|| {
        let assertions = model.get_model().get(&section);
        assertions.and_then(|assertions| assertions.get(&kind))
    });
    let Some(assertion) = assertion.flatten() else {
        return Err(invalid(
            "a rule of a kind that the model defines".to_owned(),
        ));
    };
    let fields = match &*section {
        "p" => assertion.tokens.len(),
        _ => assertion.value.matches('_').count(),
    };
    if rule.len() != fields {
        return Err(invalid(format!("a rule with {fields} fields after {kind}")));
    }
    let priority = assertion
        .tokens
        .iter()
        .position(|token| is_priority(&kind, token));
    if let Some(priority) = priority.filter(|at| rule[*at].parse::<i64>().is_err()) {
        let priority = &rule[priority];
        return Err(invalid(format!("a number for the priority {priority:?}")));
    }
    model.add_policy(&section, &kind, rule);
    Ok(())
}

/// Puts the rules of a kind that has a field `priority` in its order, lowest first. Casbin for Rust leaves this out.
fn sort_by_priority(model: &mut DefaultModel) {
    let Some(kinds) = model.get_mut_model().get_mut("p") else {
        return;
    };
    for (kind, assertion) in kinds.iter_mut() {
        let mut tokens = assertion.tokens.iter();
        if let Some(at) = tokens.position(|token| is_priority(kind, token)) {
            let mut rules: Vec<_> = assertion.policy.drain().collect();
            rules.sort_by_key(|rule| rule[at].parse::<i64>().ok());
            assertion.policy.extend(rules);
        }
    }
}

fn is_priority(kind: &str, token: &str) -> bool {
    token.strip_prefix(kind) == Some("_priority")
}

/// Puts the texts of the matcher in double quotes. In single quotes, they are characters, which equal no text.
fn quote_texts(model: &mut DefaultModel) {
    let assertions = model.get_mut_model().get_mut("m");
    if let Some(matcher) = assertions.and_then(|assertions| assertions.get_mut("m")) {
        matcher.value = double_quotes(&matcher.value);
    }
}

fn double_quotes(matcher: &str) -> String {
    let mut quoted = String::with_capacity(matcher.len());
    let mut inside = None;
    let mut escaped = false;
    for character in matcher.chars() {
        match (inside, character) {
            _ if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some('\''), '"') => quoted.push('\\'),
            (Some('\''), '\'') | (None, '\'') => {
                inside = inside.xor(Some('\''));
                quoted.push('"');
                continue;
            }
            (Some('"'), '"') | (None, '"') => inside = inside.xor(Some('"')),
            _ => {}
        }
        quoted.push(character);
    }
    quoted
}

/// Compiles the patterns in the fields of the policy with which the matcher compares, and those in the matcher itself.
fn compile_patterns(model: &DefaultModel) -> Result<Patterns, ConfigError> {
    let mut patterns = Patterns::default();
    let mut add = |kind, pattern: &str| {
        let invalid = |error| ConfigError::new("casbin pattern", pattern, valid_pattern(error));
        patterns.add(kind, pattern).map_err(invalid)
    };
    let matcher = &model.get_model()["m"]["m"].value;
    let policy = &model.get_model()["p"]["p"];
    for call in PATTERN_CALLS.captures_iter(matcher) {
        let Some(kind) = PatternKind::of(&call[1]) else {
            continue;
        };
        if let Some(field) = call.get(2) {
            let at = policy
                .tokens
                .iter()
                .position(|token| token == field.as_str());
            for rule in &policy.policy {
                if let Some(pattern) = at.and_then(|at| rule.get(at)) {
                    add(kind, pattern)?;
                }
            }
        } else if let Some(text) = call.get(3) {
            add(kind, text.as_str())?;
        }
    }
    Ok(patterns)
}

fn valid_pattern(error: String) -> String {
    // The message of a regular expression has several lines, the last of which is the fault.
    let fault = error.lines().last().unwrap_or_default();
    let fault = fault.trim_start_matches("error: ");
    format!("a pattern of which casbin can make a regular expression of at most 128 KiB ({fault})")
}

fn invalid_model(error: impl fmt::Display) -> ConfigError {
    ConfigError::new(
        "casbin model",
        error.to_string(),
        "a model and a policy that casbin can evaluate",
    )
}

/// Runs a future of casbin that waits for nothing: texts are in memory.
fn at_once<T>(future: impl Future<Output = casbin::Result<T>>) -> Result<T, String> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result.map_err(|error| error.to_string()),
        Poll::Pending => Err("the model is not available at once".to_owned()),
    }
}

fn read(setting: &'static str, path: &Path) -> Result<String, ConfigError> {
    let invalid = |error| ConfigError::new(setting, path, format!("a text file ({error})"));
    fs::read_to_string(path).map_err(invalid)
}

impl fmt::Debug for CasbinPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.0.current.load();
        let rules = snapshot.enforcer.get_model().get_policy("p", "p").len();
        let files = self.0.files.as_ref();
        f.debug_struct("CasbinPolicy")
            .field("rules", &rules)
            .field("model", &files.map(|files| &files.model))
            .field("policy", &files.map(|files| &files.policy))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_put_in_double_quotes() {
        for (matcher, expected) in [
            (
                r#"r.sub == 'a' && r.obj == "b'c""#,
                r#"r.sub == "a" && r.obj == "b'c""#,
            ),
            (r#"'say "hi"' 'it\'s'"#, r#""say \"hi\"" "it\'s""#),
            (r#""\"'" '\\'"#, r#""\"'" "\\""#),
            ("r.sub", "r.sub"),
        ] {
            assert_eq!(double_quotes(matcher), expected);
        }
    }
}
