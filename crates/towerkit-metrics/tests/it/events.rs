//! The metrics of events inside of policies (A8.4).

use std::{thread, time::Duration};

use allocation_counter::measure;
use towerkit_core::{Event, EventSink, Outcome};
use towerkit_metrics::{EventMetrics, Registry};

use crate::scrape::Scraped;

fn changed(from: &'static str, to: &'static str) -> Event {
    let name = "search";
    Event::CircuitChanged {
        name: name.into(),
        from,
        to,
    }
}

fn retried(outcome: Outcome) -> Event {
    Event::Retried {
        name: "search".into(),
        number: 1,
        outcome,
        delay: Duration::from_millis(5),
    }
}

fn given_up(reason: &'static str) -> Event {
    Event::RetryGivenUp {
        name: "search".into(),
        retries: 2,
        outcome: Outcome::Failure,
        reason,
    }
}

fn fell_back(from: Outcome, to: Outcome) -> Event {
    let name = "search";
    Event::FallbackUsed {
        name: name.into(),
        from,
        to,
    }
}

fn other(event: &'static str) -> Event {
    Event::Other {
        layer: "batcher",
        name: "search".into(),
        event,
        message: "12 items".into(),
    }
}

/// One event of every kind, and its metrics.
fn every_kind() -> Vec<(Event, &'static str)> {
    let name = "search";
    vec![
        (
            changed("closed", "open"),
            "towerkit_circuit_transitions_total{name=\"search\",from=\"closed\",to=\"open\"} 1\n\
             towerkit_circuits{name=\"search\",state=\"open\"} 1\n",
        ),
        (
            other("flushed"),
            "towerkit_events_total{name=\"search\",layer=\"batcher\",event=\"flushed\"} 1\n",
        ),
        (
            fell_back(Outcome::TimedOut, Outcome::Success),
            "towerkit_fallbacks_total{name=\"search\",from=\"timed_out\",to=\"success\"} 1\n",
        ),
        (
            Event::Hedged {
                name: name.into(),
                number: 2,
            },
            "towerkit_hedges_total{name=\"search\"} 1\n",
        ),
        (
            retried(Outcome::Overloaded),
            "towerkit_retries_total{name=\"search\",outcome=\"overloaded\"} 1\n",
        ),
        (
            given_up("budget"),
            "towerkit_retry_given_up_total{name=\"search\",reason=\"budget\"} 1\n",
        ),
        (
            Event::KeyTableFull {
                name: name.into(),
                calls: 7,
                evicted: 5,
            },
            "towerkit_key_table_evicted_keys_total{name=\"search\"} 5\n\
             towerkit_key_table_full_calls_total{name=\"search\"} 7\n",
        ),
        (
            Event::ClientAddressMissing {
                name: name.into(),
                calls: 7,
            },
            "towerkit_rate_limit_client_address_missing_total{name=\"search\"} 7\n",
        ),
        (
            Event::StoreChanged {
                name: name.into(),
                reachable: true,
            },
            "towerkit_store_reachable{name=\"search\"} 1\n",
        ),
        (
            Event::LimitChanged {
                name: name.into(),
                from: 10,
                to: 12,
            },
            "towerkit_concurrency_limit{name=\"search\"} 12\n",
        ),
        (
            Event::LimitReached {
                name: name.into(),
                limit: 20,
                rejected: 3,
            },
            "towerkit_concurrency_limit{name=\"search\"} 20\n\
             towerkit_concurrency_limit_rejected_total{name=\"search\"} 3\n",
        ),
    ]
}

#[test]
fn every_kind_of_event_has_its_metrics() {
    for (event, expected) in every_kind() {
        let [registry, other] = [Registry::new(), Registry::new()];
        registry.emit(&event);
        EventMetrics::new(other.clone()).emit(&event);
        let text = registry.render();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        assert_eq!(lines, expected);
        assert_eq!(other.render(), text);
        // It parses, and every metric has its help.
        let scraped = Scraped::of(&registry);
        assert!(
            scraped
                .names()
                .iter()
                .all(|name| scraped.help(name).is_some())
        );
    }
}

#[test]
fn the_samples_cover_every_kind_of_event() {
    let kind = |event: &Event| std::mem::discriminant(event);
    let known: Vec<_> = every_kind().iter().map(|(event, _)| kind(event)).collect();
    for event in towerkit_test::all_events("search") {
        assert!(known.contains(&kind(&event)), "{event:?}");
    }
}

#[test]
fn events_of_one_kind_differ_by_their_labels() {
    let registry = Registry::new();
    for from in Outcome::ALL {
        registry.emit(&retried(from));
        for to in Outcome::ALL {
            registry.emit(&fell_back(from, to));
            registry.emit(&fell_back(from, to));
        }
    }
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.all("towerkit_retries_total"), [1.0; 6]);
    assert_eq!(scraped.all("towerkit_fallbacks_total"), [2.0; 36]);
}

/// A state that is left counts off, so that the gauge says where the circuits are now.
#[test]
fn circuits_are_counted_by_their_state() {
    let registry = Registry::new();
    let state = |state| {
        let labels = [("name", "search"), ("state", state)];
        Scraped::of(&registry).value("towerkit_circuits", &labels)
    };
    registry.emit(&changed("closed", "open"));
    registry.emit(&changed("closed", "open"));
    assert_eq!((state("open"), state("closed")), (Some(2.0), None));
    registry.emit(&changed("open", "half_open"));
    assert_eq!((state("open"), state("half_open")), (Some(1.0), Some(1.0)));
    registry.emit(&changed("half_open", "closed"));
    registry.emit(&changed("open", "half_open"));
    registry.emit(&changed("half_open", "closed"));
    assert_eq!((state("open"), state("half_open")), (Some(0.0), Some(0.0)));
    assert_eq!(state("closed"), None);
}

#[test]
fn a_state_before_the_first_event_is_not_subtracted() {
    let registry = Registry::new();
    registry.emit(&changed("forced_open", "closed"));
    assert_eq!(Scraped::of(&registry).all("towerkit_circuits"), [0.0]);
}

/// A storm of retries must not become one of allocations.
#[test]
fn a_known_event_allocates_nothing() {
    let registry = Registry::new();
    let metrics = EventMetrics::new(Registry::new());
    for (event, _) in every_kind() {
        let first = measure(|| registry.emit(&event)).count_total;
        metrics.emit(&event);
        assert!(first > 0, "the counter counts");
        let again = measure(|| {
            registry.emit(&event);
            metrics.emit(&event);
        });
        assert_eq!(again.count_total, 0, "{event:?}");
    }
}

/// The sink caches a limited number of series; the registry counts the others, up to its own limit.
#[test]
fn events_beyond_the_cached_series_are_counted() {
    let registry = Registry::new();
    for name in 0..600 {
        let name: &'static str = Box::leak(name.to_string().into_boxed_str());
        for _ in 0..2 {
            registry.emit(&Event::Hedged {
                name: name.into(),
                number: 1,
            });
        }
    }
    assert_eq!(
        Scraped::of(&registry).all("towerkit_hedges_total"),
        [2.0; 600]
    );
    let reasons: Vec<&'static str> = (0..20)
        .map(|n| &*Box::leak(format!("r{n}").into_boxed_str()))
        .collect();
    for reason in reasons.iter().chain(&reasons) {
        registry.emit(&given_up(reason));
    }
    let given_up = Scraped::of(&registry).all("towerkit_retry_given_up_total");
    assert_eq!(given_up, [2.0; 20]);
}

/// MT-05
#[test]
fn events_of_many_threads_are_counted_exactly() {
    let registry = Registry::new();
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                for outcome in Outcome::ALL.into_iter().cycle().take(600) {
                    registry.emit(&retried(outcome));
                    registry.emit(&changed("closed", "open"));
                    registry.emit(&changed("open", "closed"));
                }
            });
        }
    });
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.all("towerkit_retries_total"), [6400.0; 6]);
    assert_eq!(
        scraped.all("towerkit_circuit_transitions_total"),
        [38_400.0; 2]
    );
    assert_eq!(scraped.all("towerkit_circuits"), [0.0]);
}

#[test]
fn a_taken_name_loses_only_its_metric() {
    let registry = Registry::new();
    let taken = registry.counter("towerkit_hedges_total", "", &[]);
    taken.unwrap().add(7);
    registry.emit(&Event::Hedged {
        name: "search".into(),
        number: 1,
    });
    registry.emit(&retried(Outcome::Failure));
    let scraped = Scraped::of(&registry);
    assert_eq!(scraped.all("towerkit_hedges_total"), [7.0]);
    assert_eq!(scraped.all("towerkit_retries_total"), [1.0]);
}
