use std::{cell::RefCell, sync::Arc};

use casbin::{
    CoreApi, Enforcer,
    function_map::OperatorFunction,
    rhai::{Dynamic, ImmutableString},
};

use crate::pattern::{Pattern, PatternKind, Patterns};

/// The failure of a comparison with a text that is too long for the pattern.
pub(crate) const TOO_LONG: &str = "the text is too long for the pattern";

/// The state of the decision of this thread. Functions of Casbin are pointers, and find it here.
#[derive(Default)]
struct Evaluation {
    patterns: Arc<Patterns>,
    /// The first comparison that was not made. Functions of Casbin cannot return errors.
    failure: Option<String>,
}

thread_local! {
    static EVALUATION: RefCell<Evaluation> = RefCell::default();
}

/// Replaces the functions of Casbin that compare text.
///
/// Its own functions compile a pattern for each comparison, of up to 10 MB; they panic if a pattern is invalid, or if the length of a
/// prefix ends within a character.
pub(crate) fn register(enforcer: &mut Enforcer) {
    let functions: [(&str, OperatorFunction); 9] = [
        ("keyMatch", OperatorFunction::Arg2(key_match)),
        ("keyMatch2", OperatorFunction::Arg2(key_match2)),
        ("keyMatch3", OperatorFunction::Arg2(key_match3)),
        ("keyMatch4", OperatorFunction::Arg2(key_match4)),
        ("keyMatch5", OperatorFunction::Arg2(key_match5)),
        ("keyGet", OperatorFunction::Arg2(key_get)),
        ("keyGet2", OperatorFunction::Arg3(key_get2)),
        ("keyGet3", OperatorFunction::Arg3(key_get3)),
        ("regexMatch", OperatorFunction::Arg2(regex_match)),
    ];
    for (name, function) in functions {
        enforcer.add_function(name, function);
    }
}

/// Runs `evaluate` with these patterns.
///
/// # Errors
///
/// Returns the cause if a comparison was not made, so that the result is not that of the policy.
pub(crate) fn with_patterns<T>(
    patterns: &Arc<Patterns>,
    evaluate: impl FnOnce() -> T,
) -> Result<T, String> {
    EVALUATION.replace(Evaluation {
        patterns: Arc::clone(patterns),
        failure: None,
    });
    // If this panics, the state stays until the next decision of the thread.
    let result = evaluate();
    match EVALUATION.take().failure {
        Some(failure) => Err(failure),
        None => Ok(result),
    }
}

fn regex_match(text: Dynamic, pattern: Dynamic) -> Dynamic {
    is_match(PatternKind::Regex, text, pattern)
}

fn key_match(text: Dynamic, pattern: Dynamic) -> Dynamic {
    let (text, pattern) = (string(text), string(pattern));
    let matches = match pattern.split_once('*') {
        Some((prefix, _)) => text.starts_with(prefix),
        None => text == pattern,
    };
    matches.into()
}

fn key_match2(text: Dynamic, pattern: Dynamic) -> Dynamic {
    is_match(PatternKind::KeyMatch2, text, pattern)
}

fn key_match3(text: Dynamic, pattern: Dynamic) -> Dynamic {
    is_match(PatternKind::KeyMatch3, text, pattern)
}

fn key_match4(text: Dynamic, pattern: Dynamic) -> Dynamic {
    let (text, pattern) = (string(text), string(pattern));
    let matches = with_pattern(PatternKind::KeyMatch4, &text, &pattern, |pattern| {
        pattern.is_match_with_equal_names(&text)
    });
    matches.unwrap_or_default().into()
}

/// The query, which begins at the first `?`, is not compared.
fn key_match5(text: Dynamic, pattern: Dynamic) -> Dynamic {
    let text = string(text);
    let path = text.split_once('?').map_or(&*text, |(path, _)| path);
    is_match(PatternKind::KeyMatch5, path.into(), pattern)
}

fn key_get(text: Dynamic, pattern: Dynamic) -> Dynamic {
    let (text, pattern) = (string(text), string(pattern));
    let prefix = pattern.split_once('*').map(|(prefix, _)| prefix);
    let rest = prefix.and_then(|prefix| text.strip_prefix(prefix));
    rest.unwrap_or_default().into()
}

fn key_get2(text: Dynamic, pattern: Dynamic, name: Dynamic) -> Dynamic {
    variable(PatternKind::KeyGet2, text, pattern, name)
}

fn key_get3(text: Dynamic, pattern: Dynamic, name: Dynamic) -> Dynamic {
    variable(PatternKind::KeyGet3, text, pattern, name)
}

fn is_match(kind: PatternKind, text: Dynamic, pattern: Dynamic) -> Dynamic {
    let (text, pattern) = (string(text), string(pattern));
    let matches = with_pattern(kind, &text, &pattern, |pattern| pattern.is_match(&text));
    matches.unwrap_or_default().into()
}

fn variable(kind: PatternKind, text: Dynamic, pattern: Dynamic, name: Dynamic) -> Dynamic {
    let (text, pattern, name) = (string(text), string(pattern), string(name));
    let found = with_pattern(kind, &text, &pattern, |pattern| {
        pattern.variable(&text, &name).map(ToOwned::to_owned)
    });
    found.flatten().unwrap_or_default().into()
}

/// Uses a pattern of the policy, or compiles one that the matcher has computed.
fn with_pattern<T>(
    kind: PatternKind,
    text: &str,
    pattern: &str,
    use_pattern: impl FnOnce(&Pattern) -> T,
) -> Option<T> {
    EVALUATION.with_borrow_mut(|evaluation| {
        let compiled;
        let pattern = match evaluation.patterns.find(kind, pattern) {
            Some(pattern) => Ok(pattern),
            None => {
                compiled = Pattern::compile(kind, pattern);
                compiled.as_ref().map_err(Clone::clone)
            }
        };
        let too_long = || TOO_LONG.to_owned();
        match pattern {
            Ok(pattern) if pattern.is_cheap_for(text) => return Some(use_pattern(pattern)),
            Ok(_) => evaluation.failure.get_or_insert_with(too_long),
            Err(error) => evaluation.failure.get_or_insert(error),
        };
        None
    })
}

fn string(value: Dynamic) -> ImmutableString {
    if let Ok(text) = value.as_immutable_string_ref() {
        return text.clone();
    }
    value.to_string().into()
}
