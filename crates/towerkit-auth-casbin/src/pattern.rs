use std::collections::HashMap;

use regex::{Regex, RegexBuilder};

/// The sizes of a compiled pattern, of which the smallest that is enough is its own.
const SIZES: [usize; 4] = [1 << 14, 1 << 15, 1 << 16, 1 << 17];

/// A comparison takes at most as many steps as the pattern has states, for each byte of the text: size and length bound it together.
const MAX_STEPS: usize = 1 << 24;

/// The functions whose second argument is a pattern that is compiled to a regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PatternKind {
    Regex,
    KeyMatch2,
    KeyMatch3,
    KeyMatch4,
    KeyMatch5,
    KeyGet2,
    KeyGet3,
}

/// A compiled pattern, and the names of its variables.
#[derive(Debug)]
pub(crate) struct Pattern {
    regex: Regex,
    max_text: usize,
    names: Vec<String>,
}

/// The patterns of one policy, by the function that compares with them.
#[derive(Debug, Default)]
pub(crate) struct Patterns(HashMap<PatternKind, HashMap<String, Pattern>>);

/// Splits a variable off the start of a pattern, if it starts with one: its name, and the rest.
type SplitVariable = fn(&str) -> Option<(&str, &str)>;

impl PatternKind {
    /// Returns the kind of the function with this name.
    pub(crate) fn of(function: &str) -> Option<Self> {
        Some(match function {
            "regexMatch" => Self::Regex,
            "keyMatch2" => Self::KeyMatch2,
            "keyMatch3" => Self::KeyMatch3,
            "keyMatch4" => Self::KeyMatch4,
            "keyMatch5" => Self::KeyMatch5,
            "keyGet2" => Self::KeyGet2,
            "keyGet3" => Self::KeyGet3,
            _ => return None,
        })
    }

    /// Translates a pattern: to a regular expression, and the names of its variables.
    fn translate(self, pattern: &str) -> (String, Vec<String>) {
        let (group, variable): (_, SplitVariable) = match self {
            Self::Regex => return (pattern.to_owned(), Vec::new()),
            Self::KeyMatch2 => ("[^/]+", colon_variable),
            Self::KeyGet2 => ("([^/]+)", colon_variable),
            Self::KeyMatch3 | Self::KeyMatch5 => ("[^/]+", brace_variable),
            Self::KeyMatch4 => ("([^/]+)", brace_variable),
            Self::KeyGet3 => ("([^/]+?)", brace_variable),
        };
        let pattern = pattern.replace("/*", "/.*");
        let (mut regex, mut names) = ("^".to_owned(), Vec::new());
        let mut rest = pattern.as_str();
        while let Some(first) = rest.chars().next() {
            if let Some((name, after)) = variable(rest) {
                regex.push_str(group);
                names.push(name.to_owned());
                rest = after;
            } else {
                regex.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
        regex.push('$');
        (regex, names)
    }
}

impl Pattern {
    pub(crate) fn compile(kind: PatternKind, pattern: &str) -> Result<Self, String> {
        let (regex, names) = kind.translate(pattern);
        let (regex, size) = build(&regex).map_err(|error| error.to_string())?;
        let has_groups = matches!(
            kind,
            PatternKind::KeyMatch4 | PatternKind::KeyGet2 | PatternKind::KeyGet3
        );
        if has_groups && regex.captures_len() != names.len() + 1 {
            return Err("a group beside the variables".to_owned());
        }
        let max_text = MAX_STEPS / size;
        Ok(Self {
            regex,
            max_text,
            names,
        })
    }

    /// Returns false if a comparison with `text` could take too long.
    pub(crate) fn is_cheap_for(&self, text: &str) -> bool {
        text.len() <= self.max_text
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Returns true if `text` matches, and equal names stand for equal parts of it.
    pub(crate) fn is_match_with_equal_names(&self, text: &str) -> bool {
        let Some(captures) = self.regex.captures(text) else {
            return false;
        };
        let mut values = HashMap::new();
        let mut parts = captures.iter().skip(1).zip(&self.names);
        parts.all(|(part, name)| {
            let part = part.map(|part| part.as_str());
            *values.entry(name).or_insert(part) == part
        })
    }

    /// Returns the part of `text` for which the variable `name` stands.
    pub(crate) fn variable<'a>(&self, text: &'a str, name: &str) -> Option<&'a str> {
        let at = self.names.iter().position(|own| own == name)?;
        Some(self.regex.captures(text)?.get(at + 1)?.as_str())
    }
}

impl Patterns {
    pub(crate) fn add(&mut self, kind: PatternKind, pattern: &str) -> Result<(), String> {
        let patterns = self.0.entry(kind).or_default();
        if !patterns.contains_key(pattern) {
            patterns.insert(pattern.to_owned(), Pattern::compile(kind, pattern)?);
        }
        Ok(())
    }

    pub(crate) fn find(&self, kind: PatternKind, pattern: &str) -> Option<&Pattern> {
        self.0.get(&kind)?.get(pattern)
    }
}

fn build(regex: &str) -> Result<(Regex, usize), regex::Error> {
    let mut result = Err(regex::Error::CompiledTooBig(0));
    for size in SIZES {
        result = RegexBuilder::new(regex).size_limit(size).build();
        if !matches!(result, Err(regex::Error::CompiledTooBig(_))) {
            return result.map(|regex| (regex, size));
        }
    }
    result.map(|regex| (regex, SIZES[SIZES.len() - 1]))
}

/// Splits off `:name`, which ends at the next `/`.
fn colon_variable(text: &str) -> Option<(&str, &str)> {
    let text = text.strip_prefix(':')?;
    let end = text.find('/').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Splits off `{name}`; the name has no `/`.
fn brace_variable(text: &str) -> Option<(&str, &str)> {
    let (name, after) = text.strip_prefix('{')?.split_once('}')?;
    (!name.is_empty() && !name.contains('/')).then_some((name, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(kind: PatternKind, text: &str, pattern: &str) -> bool {
        Pattern::compile(kind, pattern).unwrap().is_match(text)
    }

    #[test]
    fn variables_match_one_segment_and_stars_the_rest() {
        use PatternKind::{KeyMatch2, KeyMatch3};
        let cases = [
            (KeyMatch2, "/foo/bar", "/foo/*", true),
            (KeyMatch2, "/foo/", "/foo/*", true),
            (KeyMatch2, "/foo", "/foo/*", false),
            (KeyMatch2, "/1/info", "/:id/info", true),
            (KeyMatch2, "/1/2/info", "/:id/info", false),
            (KeyMatch2, "//info", "/:id/info", false),
            (KeyMatch2, "/é", "/:id", true),
            (KeyMatch2, "/", "/:", false),
            (KeyMatch3, "/a-b", "/{x}-{y}", true),
            (KeyMatch3, "/ab", "/{x}-{y}", false),
            (KeyMatch3, "/a/b", "/{x}", false),
            (KeyMatch3, "/a/b/c", "/{x}/*", true),
        ];
        for (kind, text, pattern, expected) in cases {
            assert_eq!(matches(kind, text, pattern), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn equal_names_stand_for_equal_text() {
        let pattern = Pattern::compile(PatternKind::KeyMatch4, "/p/{id}/c/{id}/{other}").unwrap();
        assert!(pattern.is_match_with_equal_names("/p/1/c/1/2"));
        assert!(!pattern.is_match_with_equal_names("/p/1/c/2/2"));
    }

    #[test]
    fn a_variable_is_found_by_its_name() {
        let pattern = Pattern::compile(PatternKind::KeyGet2, "/:a/x/:b").unwrap();
        assert_eq!(pattern.variable("/1/x/2", "b"), Some("2"));
        assert_eq!(pattern.variable("/1/x/2", "c"), None);
        assert_eq!(pattern.variable("/1/y/2", "b"), None);
        let pattern = Pattern::compile(PatternKind::KeyGet3, "p/proj_{p}_admin/").unwrap();
        assert_eq!(pattern.variable("p/proj_x_admin/", "p"), Some("x"));
    }

    /// CA-05
    #[test]
    fn a_pattern_that_compiles_to_much_is_an_error() {
        for pattern in [r"(\w{50}){50}", r"((a{99}){99}){99}", r"\p{L}{1000}"] {
            assert!(
                Pattern::compile(PatternKind::Regex, pattern).is_err(),
                "{pattern}"
            );
        }
    }

    /// CA-05: `(a{1,30}){40}b` has 1,200 states that are all active for a text of `a`.
    #[test]
    fn a_large_pattern_is_compared_with_short_texts_only() {
        let small = Pattern::compile(PatternKind::Regex, "^/a+$").unwrap();
        assert!(small.is_cheap_for(&"a".repeat(1024)));
        let large = Pattern::compile(PatternKind::Regex, "(a{1,30}){40}b").unwrap();
        assert!(large.is_cheap_for(&"a".repeat(128)));
        assert!(!large.is_cheap_for(&"a".repeat(256)));
    }

    #[test]
    fn groups_beside_variables_are_an_error() {
        assert!(Pattern::compile(PatternKind::KeyMatch4, "/(a|b)/{id}").is_err());
        assert!(Pattern::compile(PatternKind::KeyMatch3, "/(a|b)/{id}").is_ok());
    }
}
