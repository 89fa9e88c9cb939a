//! Events of policies, as a subscriber sees them.

use std::time::Duration;

use towerkit_core::{Clock, Event, EventSink, Outcome};
use towerkit_log::EventLog;
use tracing::{Level, level_filters::LevelFilter};

use crate::capture::{Capture, Seen};

/// Every event there is, with its level and its fields.
fn all() -> Vec<(Event, Level, String)> {
    let name = "search";
    let outcome = Outcome::TimedOut;
    let case = |event, level, fields: &str| (event, level, fields.to_owned());
    vec![
        case(
            Event::CircuitChanged {
                name: name.into(),
                from: "closed",
                to: "open",
            },
            Level::WARN,
            "circuit changed|name=search|from=closed|to=open",
        ),
        case(
            Event::CircuitChanged {
                name: name.into(),
                from: "open",
                to: "half_open",
            },
            Level::INFO,
            "circuit changed|name=search|from=open|to=half_open",
        ),
        case(
            Event::FallbackUsed {
                name: name.into(),
                from: outcome,
                to: Outcome::Success,
            },
            Level::INFO,
            "fallback used|name=search|from=timed_out|to=success",
        ),
        case(
            Event::Hedged {
                name: name.into(),
                number: 1,
            },
            Level::DEBUG,
            "hedged|name=search|number=1",
        ),
        case(
            Event::Retried {
                name: name.into(),
                number: 2,
                outcome,
                delay: Duration::from_micros(1500),
            },
            Level::DEBUG,
            "retried|name=search|number=2|outcome=timed_out|delay_ms=1.5",
        ),
        case(
            Event::RetryGivenUp {
                name: name.into(),
                retries: 3,
                outcome,
                reason: "budget",
            },
            Level::WARN,
            "retry given up|name=search|retries=3|outcome=timed_out|reason=budget",
        ),
        case(
            Event::KeyTableFull {
                name: name.into(),
                calls: 4,
                evicted: 5,
            },
            Level::WARN,
            "key table full|name=search|calls=4|evicted=5",
        ),
        case(
            Event::ClientAddressMissing {
                name: name.into(),
                calls: 4,
            },
            Level::ERROR,
            "client address missing|name=search|calls=4",
        ),
        case(
            Event::StoreChanged {
                name: name.into(),
                reachable: false,
            },
            Level::WARN,
            "store changed|name=search|reachable=false",
        ),
        case(
            Event::StoreChanged {
                name: name.into(),
                reachable: true,
            },
            Level::INFO,
            "store changed|name=search|reachable=true",
        ),
        case(
            Event::LimitChanged {
                name: name.into(),
                from: 10,
                to: 12,
            },
            Level::INFO,
            "limit changed|name=search|from=10|to=12",
        ),
        case(
            Event::LimitReached {
                name: name.into(),
                limit: 12,
                rejected: 7,
            },
            Level::WARN,
            "limit reached|name=search|limit=12|rejected=7",
        ),
        case(
            Event::Other {
                layer: "auth",
                name: name.into(),
                event: "key_rotated",
                message: "a new key".into(),
            },
            Level::INFO,
            "a new key|layer=auth|name=search|event=key_rotated",
        ),
    ]
}

fn fields(seen: &Seen) -> String {
    let fields = seen
        .fields
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let fields: Vec<_> = fields.collect();
    fields.join("|").replace("message=", "")
}

#[test]
fn every_kind_of_event_is_logged_with_its_level_and_fields() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    for (event, level, expected) in all() {
        EventLog::new().emit(&event);
        let seen = log.only();
        assert_eq!((seen.level, seen.target), (level, "towerkit::event"));
        assert_eq!(fields(&seen), expected);
    }
}

/// Each needs a level and fields in `src/events.rs`, and a policy stack above.
#[test]
fn the_samples_cover_every_kind_of_event() {
    let kind = |event: &Event| std::mem::discriminant(event);
    let known: Vec<_> = all().iter().map(|(event, ..)| kind(event)).collect();
    for event in towerkit_test::all_events("search") {
        assert!(known.contains(&kind(&event)), "{event:?}");
    }
}

#[test]
fn events_of_calls_are_limited_per_second_and_counted() {
    let (log, _guard) = Capture::start(LevelFilter::TRACE);
    let (clock, clock_control) = Clock::manual();
    let sink = EventLog::new().clock(clock).per_second(3);
    let hedged = Event::Hedged {
        name: "search".into(),
        number: 1,
    };
    let opened = Event::CircuitChanged {
        name: "search".into(),
        from: "closed",
        to: "open",
    };
    for left_out in [None, Some("997"), Some("997")] {
        for _ in 0..1000 {
            // Clones share the count.
            sink.clone().emit(&hedged);
        }
        (0..5).for_each(|_| sink.emit(&opened));
        let seen = log.take();
        assert_eq!(seen.len(), 3 + 5, "others have no cap");
        assert_eq!(seen[0].field("left_out"), left_out);
        assert!(
            seen[1..]
                .iter()
                .all(|seen| seen.field("left_out").is_none())
        );
        clock_control.advance(Duration::from_secs(1));
    }
}

#[test]
fn events_that_are_not_enabled_are_not_counted() {
    let (log, _guard) = Capture::start(LevelFilter::INFO);
    let sink = EventLog::new();
    let hedged = Event::Hedged {
        name: "search".into(),
        number: 1,
    };
    (0..1000).for_each(|_| sink.emit(&hedged));
    assert_eq!(log.take(), []);
    let (log, _guard) = Capture::start(LevelFilter::DEBUG);
    sink.emit(&hedged);
    assert_eq!(log.only().field("left_out"), None);
}
