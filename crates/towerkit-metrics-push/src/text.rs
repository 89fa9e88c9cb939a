//! Texts that anyone may have chosen, made harmless for the formats that they go into.

/// Writes `text` with `_` in the place of every character that is not kept.
pub(crate) fn clean(out: &mut String, text: &str, keep: impl Fn(char) -> bool) {
    out.extend(text.chars().map(|c| if keep(c) { c } else { '_' }));
}

/// Writes a name, in which dots make levels.
pub(crate) fn name(out: &mut String, text: &str) {
    clean(out, text, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
    });
}

/// Writes one level of a name.
pub(crate) fn level(out: &mut String, text: &str) {
    clean(out, text, |c| {
        c.is_ascii_alphanumeric() || matches!(c, '_' | '-')
    });
}

/// Whether a character stands for itself in a line, and ends neither a line nor a word.
///
/// Some receivers split at what Unicode calls white space, which is more than ASCII does.
pub(crate) fn is_plain(c: char) -> bool {
    !c.is_control() && !c.is_whitespace()
}

/// Tags that every line has, and the labels of a series, which take their place where names are the same. Empty ones are none.
pub(crate) fn tags<'a>(
    global: &'a [(String, String)],
    labels: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let labels = labels
        .iter()
        .copied()
        .filter(|(_, value)| !value.is_empty());
    let is_label = |name: &str| labels.clone().any(|(label, _)| label == name);
    let global = global
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .filter(|(name, value)| !value.is_empty() && !is_label(name));
    global.chain(labels.clone()).collect()
}

/// Adds a tag, or changes it. Its name gets the characters of names.
pub(crate) fn add_tag(tags: &mut Vec<(String, String)>, tag: &str, value: &str) {
    let mut clean = String::new();
    name(&mut clean, tag);
    if clean.is_empty() {
        clean.push('_');
    }
    tags.retain(|(known, _)| *known != clean);
    tags.push((clean, value.to_owned()));
}
