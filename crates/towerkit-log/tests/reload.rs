//! The targets of a subscriber change while it runs. A process has one global subscriber, so this file has one test.

#[expect(dead_code, reason = "this test needs a part of it")]
#[path = "it/page.rs"]
mod page;

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use page::Page;
use towerkit_log::{Format, Targets, subscriber};
use tracing::{Level, level_filters::LevelFilter};

/// Logs at places that are the same every time, as their answers are remembered.
fn log() {
    tracing::debug!(target: "shop::orders", "shop");
    tracing::info!(target: "other", "other");
    tracing::error!(target: "other", "error");
}

#[test]
fn targets_change_while_threads_log() {
    let page = Page::default();
    let writer = page.clone();
    let subscriber = subscriber(Format::Logfmt).writer(move || writer.clone());
    let before = subscriber.handle();
    let subscriber = subscriber.level(Level::WARN);
    let handle = subscriber.handle();
    assert_eq!(before.targets(), handle.targets());
    subscriber.try_init().unwrap();
    let logged = || {
        log();
        let text = page.take();
        let messages = text.lines().map(|line| line.rsplit('=').next().unwrap());
        messages.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(logged(), "error");
    for (targets, level, expected) in [
        ("info,shop=debug", LevelFilter::DEBUG, "shop other error"),
        ("off", LevelFilter::OFF, ""),
        ("shop=trace", LevelFilter::TRACE, "shop"),
        ("info,other=error", LevelFilter::INFO, "error"),
        ("debug", LevelFilter::DEBUG, "shop other error"),
    ] {
        let targets: Targets = targets.parse().unwrap();
        handle.set_targets(targets.clone());
        assert_eq!(handle.targets(), targets);
        assert_eq!(LevelFilter::current(), level);
        assert_eq!(logged(), expected);
        // Another thread sees it as well, at its first and at its next look.
        let seen = thread::scope(|scope| scope.spawn(|| [logged(), logged()]).join().unwrap());
        assert_eq!(seen, [expected, expected]);
    }
    // A subscriber of a thread makes every place ask each time.
    let _other = tracing::subscriber::set_default(tracing_subscriber::registry());
    let ends = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !ends.load(Ordering::SeqCst) {
                log();
            }
        });
        for _ in 0..20 {
            handle.set_targets("off".parse().unwrap());
            handle.set_targets("trace".parse().unwrap());
        }
        ends.store(true, Ordering::SeqCst);
    });
    page.take();
    let seen = thread::scope(|scope| scope.spawn(logged).join().unwrap());
    assert_eq!(seen, "shop other error");
}
