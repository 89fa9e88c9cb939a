use std::{fmt, sync::Arc};

/// A set of operations, by name, for [`LayerExt::only`](crate::LayerExt::only).
///
/// The names are those in logs and metrics: [route templates](https://docs.rs/axum/latest/axum/struct.Router.html#method.route)
/// over HTTP, methods over gRPC, and the name given to [`plain`](crate::LayerExt::plain).
///
/// ```
/// use towerkit_core::OperationSet;
///
/// let operations = OperationSet::exact("/checkout")
///     .or(OperationSet::prefix("/admin/"))
///     .or(OperationSet::pattern("/v*/orders/{id}"));
/// assert!(operations.contains("/checkout"));
/// assert!(operations.contains("/admin/users"));
/// assert!(operations.contains("/v2/orders/{id}"));
/// assert!(!operations.contains("/checkout/now"));
/// assert!(OperationSet::exact("/health").not().contains("/checkout"));
/// ```
#[derive(Clone)]
pub struct OperationSet(Arc<Names>);

#[derive(Debug)]
enum Names {
    Exact(Box<str>),
    Prefix(Box<str>),
    Pattern(Box<str>),
    Either(OperationSet, OperationSet),
    Not(OperationSet),
}

impl OperationSet {
    /// Makes a set of the operation with this name.
    #[must_use]
    pub fn exact(name: &str) -> Self {
        Self(Arc::new(Names::Exact(name.into())))
    }

    /// Makes a set of all operations with this prefix.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self(Arc::new(Names::Prefix(prefix.into())))
    }

    /// Makes a set of all operations that match the pattern. `*` matches any text, also the empty text and slashes.
    #[must_use]
    pub fn pattern(pattern: &str) -> Self {
        Self(Arc::new(Names::Pattern(pattern.into())))
    }

    /// Returns the union of both sets.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(Arc::new(Names::Either(self, other)))
    }

    /// Returns the set of all other operations.
    #[must_use]
    #[expect(
        clippy::should_implement_trait,
        reason = "it reads after a dot, as the others do"
    )]
    pub fn not(self) -> Self {
        Self(Arc::new(Names::Not(self)))
    }

    /// Returns true if the operation is in the set.
    #[must_use]
    pub fn contains(&self, operation: &str) -> bool {
        match &*self.0 {
            Names::Exact(name) => **name == *operation,
            Names::Prefix(prefix) => operation.starts_with(&**prefix),
            Names::Pattern(pattern) => fits(operation, pattern),
            Names::Either(one, other) => one.contains(operation) || other.contains(operation),
            Names::Not(operations) => !operations.contains(operation),
        }
    }
}

/// Returns true if the name matches the pattern.
///
/// The first occurrence of a part is as good as any later one, so that the match needs no backtracking.
fn fits(name: &str, pattern: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return name == pattern;
    };
    let (middle, last) = rest.rsplit_once('*').unwrap_or(("", rest));
    let inside = name
        .strip_prefix(first)
        .and_then(|name| name.strip_suffix(last));
    let Some(mut inside) = inside else {
        return false;
    };
    for part in middle.split('*') {
        let Some(at) = inside.find(part) else {
            return false;
        };
        inside = &inside[at + part.len()..];
    }
    true
}

impl fmt::Debug for OperationSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition of a pattern, by trying everything.
    fn model(name: &[u8], pattern: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| model(&name[at..], rest)),
            Some((byte, rest)) => name.first() == Some(byte) && model(&name[1..], rest),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// A4.7
        #[test]
        fn a_pattern_fits_as_defined(name in "[ab/]{0,8}", pattern in "[ab/*]{0,6}") {
            let expected = model(name.as_bytes(), pattern.as_bytes());
            prop_assert_eq!(OperationSet::pattern(&pattern).contains(&name), expected);
        }
    }

    #[test]
    fn a_long_pattern_takes_no_longer_than_it_must() {
        let name = "a".repeat(20_000);
        let pattern = OperationSet::pattern(&"*a".repeat(30).replace("aa", "a*a"));
        assert!(pattern.contains(&name));
        assert!(!OperationSet::pattern("*a*a*a*a*a*a*a*a*a*b*a").contains(&name));
    }
}
