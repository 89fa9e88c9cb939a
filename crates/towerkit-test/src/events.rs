use std::time::Duration;

use towerkit_core::{Event, Name, Outcome};

/// Returns one [`Event`] of each kind with this name, to test an [`EventSink`](towerkit_core::EventSink).
///
/// ```
/// use towerkit_core::{Event, Name, EventSink};
///
/// let sink = |event: &Event| assert!(format!("{event:?}").contains("search"));
/// for event in towerkit_test::all_events("search") {
///     sink.emit(&event);
/// }
/// ```
#[must_use]
pub fn all_events(name: &'static str) -> Vec<Event> {
    let name = || Name::from(name);
    let outcome = Outcome::Failure;
    vec![
        Event::CircuitChanged {
            name: name(),
            from: "closed",
            to: "open",
        },
        Event::FallbackUsed {
            name: name(),
            from: outcome,
            to: Outcome::Success,
        },
        Event::Hedged {
            name: name(),
            number: 1,
        },
        Event::Retried {
            name: name(),
            number: 1,
            outcome,
            delay: Duration::ZERO,
        },
        Event::RetryGivenUp {
            name: name(),
            retries: 1,
            outcome,
            reason: "budget",
        },
        Event::KeyTableFull {
            name: name(),
            calls: 1,
            evicted: 1,
        },
        Event::ClientAddressMissing {
            name: name(),
            calls: 1,
        },
        Event::StoreChanged {
            name: name(),
            reachable: true,
        },
        Event::LimitChanged {
            name: name(),
            from: 1,
            to: 2,
        },
        Event::LimitReached {
            name: name(),
            limit: 2,
            rejected: 1,
        },
        Event::Other {
            layer: "other",
            name: name(),
            event: "happened",
            message: "something happened".into(),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads the kinds from the source, since an enum cannot list its variants.
    #[test]
    fn no_kind_is_forgotten() {
        let source = include_str!("../../towerkit-core/src/event.rs");
        let (_, body) = source.split_once("pub enum Event {\n").unwrap();
        let (body, _) = body.split_once("\n}").unwrap();
        let fields_and_docs = |line: &&str| line.starts_with("     ") || line.contains("//");
        let kinds = body.lines().filter(|line| !fields_and_docs(line));
        let kinds = kinds.filter_map(|line| line.trim().strip_suffix(" {"));
        let known = all_events("search");
        let known: Vec<_> = known.iter().map(|event| format!("{event:?}")).collect();
        let known = known.iter().map(|event| event.split(' ').next().unwrap());
        assert_eq!(kinds.collect::<Vec<_>>(), known.collect::<Vec<_>>());
    }
}
