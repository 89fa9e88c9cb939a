/// A set of names that match in every spelling, and at the end of longer names.
///
/// `api_key` matches `Api-Key`, `x-api-key`, `request.api_key` and `apiKey`. A name of five letters or more also matches inside a word:
/// `token` matches `accesstoken`.
#[derive(Debug, Clone, Default)]
pub(crate) struct NameSet {
    /// The names by the low bits of their last byte, which are equal for upper and lower case.
    by_end: [Vec<Box<[u8]>>; 32],
}

impl NameSet {
    /// Adds a name. An empty name is ignored, because it would match every name.
    pub(crate) fn add(&mut self, name: &str) {
        let folded: Box<[u8]> = name.bytes().map(fold).collect();
        if let Some(last) = folded.last() {
            self.by_end[usize::from(last & 31)].push(folded);
        }
    }

    /// Returns true if `name` is a name of the set, or ends with one as a word.
    #[inline]
    pub(crate) fn contains(&self, name: &[u8]) -> bool {
        let Some(last) = name.last() else {
            return false;
        };
        let listed = &self.by_end[usize::from(fold(*last) & 31)];
        listed.iter().any(|listed| is_suffix(listed, name))
    }
}

/// Returns true if `name` is `listed`, or ends with it as a word.
fn is_suffix(listed: &[u8], name: &[u8]) -> bool {
    let mut start = name.len();
    // From the end, where most names differ.
    for wanted in listed.iter().rev() {
        if start > 0 && fold(name[start - 1]) == *wanted {
            start -= 1;
        } else if *wanted != b'_' || !name.get(start).is_some_and(u8::is_ascii_uppercase) {
            // A separator may be missing only before a capital letter, as in `apiKey`.
            return false;
        }
    }
    let begins_word = || fold(name[start - 1]) == b'_' || name[start].is_ascii_uppercase();
    start == 0 || listed.len() >= DISTINCTIVE_LENGTH || begins_word()
}

/// A name of this length is unlikely to be a part of another word.
const DISTINCTIVE_LENGTH: usize = 5;

/// Maps upper and lower case to one letter, and all separators of words to `_`.
const fn fold(byte: u8) -> u8 {
    match byte {
        b'-' | b'.' | b' ' => b'_',
        byte => byte.to_ascii_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(list: &[&str]) -> NameSet {
        let mut names = NameSet::default();
        list.iter().for_each(|name| names.add(name));
        names
    }

    /// Returns all ways to write the name in lower case, with or without a separator before each capital letter.
    fn spellings(name: &str) -> Vec<String> {
        let mut all = vec![String::new()];
        for c in name.chars() {
            let ways = |prefix: &String| {
                let plain = format!("{prefix}{}", c.to_ascii_lowercase()).replace(['-', '.'], "_");
                let marked = format!("{prefix}_{}", c.to_ascii_lowercase());
                let is_marked = c.is_ascii_uppercase() && !prefix.is_empty();
                [Some(plain), is_marked.then_some(marked)]
            };
            all = all.iter().flat_map(ways).flatten().collect();
        }
        all
    }

    #[test]
    fn a_name_is_found_in_every_spelling_but_only_as_a_word() {
        let names = names(&["api_key", "token", "sig", ""]);
        for found in [
            "api_key",
            "API-KEY",
            "x-api-key",
            "request.header.x-api-key",
            "apiKey",
            "someApiKey",
            "ApiKey",
            "token",
            "Token",
            "access_token",
            "accessToken",
            "accesstoken",
            "X-Auth-Token",
            "JWTToken",
            "sig",
            "X-Sig",
            "aSig",
        ] {
            assert!(names.contains(found.as_bytes()), "{found}");
        }
        for other in [
            "",
            "key",
            "api_keys",
            "apikey",
            "tokens",
            "oken",
            "token_count",
            "_",
            "é",
            "asig",
            "sigs",
        ] {
            assert!(!names.contains(other.as_bytes()), "{other}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// LG-04: a name is found exactly if its last words are those of a listed name.
        #[test]
        fn names_are_found_in_every_spelling(
            listed in "[a-c]{1,3}(_[a-c]{1,3}){0,2}",
            name in "[a-cA-C_.-]{0,3}[a-cA-C]{0,3}[-_.]?[a-cA-C]{1,3}",
        ) {
            let names = names(&[&listed]);
            let word = format!("_{listed}");
            let is_found = |name: &String| {
                *name == listed || name.ends_with(&word) || listed.len() >= 5 && name.ends_with(&listed)
            };
            let is_expected = spellings(&name).iter().any(is_found);
            prop_assert_eq!(names.contains(name.as_bytes()), is_expected, "{} in {}", listed, name);
            prop_assert!(names.contains(listed.to_uppercase().as_bytes()));
            let prefixed = format!("x-{listed}");
            prop_assert!(names.contains(prefixed.as_bytes()));
        }
    }
}
