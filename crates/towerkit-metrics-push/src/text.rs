//! Writing of names, labels and tags, whose text any caller may have chosen, so that they cannot end a word or a line.

use std::fmt::{Arguments, Write};

/// Writes `text`, with `_` in place of each character for which `keep` returns false.
pub(crate) fn write_replaced(out: &mut String, text: &str, keep: impl Fn(char) -> bool) {
    out.extend(text.chars().map(|c| if keep(c) { c } else { '_' }));
}

/// Writes a name, in which dots separate levels.
pub(crate) fn write_name(out: &mut String, text: &str) {
    write_replaced(out, text, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
    });
}

/// Writes one level of a name.
pub(crate) fn write_level(out: &mut String, text: &str) {
    write_replaced(out, text, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
    });
}

/// Writes tags and labels as levels of a name. Each value follows its name, so that an empty value does not shift the others.
pub(crate) fn write_levels(out: &mut String, tags: &[(String, String)], labels: &[(&str, &str)]) {
    for (name, value) in merge_tags(tags, labels) {
        out.push('.');
        write_level(out, name);
        out.push('.');
        write_level(out, value);
    }
}

/// Writes formatted text.
pub(crate) fn write_args(out: &mut String, text: Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = out.write_fmt(text);
}

/// Returns true if a character ends neither a line nor a word.
///
/// Some receivers split at all white space of Unicode, and not only of ASCII.
pub(crate) fn is_safe(c: char) -> bool {
    !c.is_control() && !c.is_whitespace()
}

/// Merges the tags of all lines and the labels of a series. A label replaces a tag of the same name; empty values are left out.
pub(crate) fn merge_tags<'a>(
    tags: &'a [(String, String)],
    labels: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let labels = labels
        .iter()
        .copied()
        .filter(|(_, value)| !value.is_empty());
    let is_label = |name: &str| labels.clone().any(|(label, _)| label == name);
    let tags = tags
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, value)| !value.is_empty() && !is_label(name));
    tags.chain(labels.clone()).collect()
}

/// Adds a tag, or replaces the tag of the same name. Characters that names cannot have become `_`.
pub(crate) fn set_tag(tags: &mut Vec<(String, String)>, name: &str, value: &str) {
    let mut safe_name = String::new();
    write_name(&mut safe_name, name);
    if safe_name.is_empty() {
        safe_name.push('_');
    }
    tags.retain(|(known, _)| *known != safe_name);
    tags.push((safe_name, value.to_owned()));
}
