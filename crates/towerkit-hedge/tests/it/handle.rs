//! The handle, and the reported events.

use std::sync::{Arc, Mutex};

use towerkit_core::Event;
use towerkit_hedge::Percentile;
use towerkit_test::tokio_clock;

use crate::{
    backend::{Backend, MS, reply},
    call, get, layer,
};

#[tokio::test(start_paused = true)]
async fn a_snapshot_counts_calls_hedges_and_wins() {
    let layer = layer();
    let handle = layer.handle();
    let (quick, slow) = (reply(10 * MS, 200), reply(300 * MS, 200));
    for replies in [[quick, quick], [slow, quick], [slow, slow]] {
        call(&layer, &Backend::new(replies), get()).await.unwrap();
    }
    let failing = [reply(10 * MS, 500), reply(10 * MS, 404)];
    call(&layer, &Backend::new(failing), get()).await.unwrap();
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.calls, snapshot.hedges, snapshot.wins), (4, 3, 1));
    assert_eq!((snapshot.rejected, snapshot.available), (0, 7));
    assert_eq!(snapshot.delay, 50 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_handle_changes_the_delay_of_later_calls() {
    let layer = layer().clock(tokio_clock());
    let handle = layer.handle();
    let sent = async || {
        let backend = Backend::new([reply(80 * MS, 200)]);
        call(&layer, &backend, get()).await.unwrap();
        backend.times()
    };
    assert_eq!(sent().await[1], 50 * MS);
    handle.set_delay(70 * MS).unwrap();
    assert_eq!(sent().await[1], 70 * MS);
    let percentile = Percentile::new(0.5).unwrap().between(20 * MS, 60 * MS);
    handle.set_percentile(percentile.unwrap().minimum_samples(1).unwrap());
    assert_eq!(sent().await[1], 60 * MS);
    handle.set_delay(90 * MS).unwrap();
    assert_eq!(sent().await.len(), 1);
    assert_eq!(handle.snapshot().delay, 90 * MS);
}

#[tokio::test(start_paused = true)]
async fn a_handle_changes_the_cap() {
    let layer = layer();
    let handle = layer.handle();
    handle.set_cap(0.5, 1).unwrap();
    let backend = Backend::new([reply(80 * MS, 200)]);
    for _ in 0..5 {
        call(&layer, &backend, get()).await.unwrap();
    }
    assert_eq!(handle.snapshot().hedges, 3);
}

#[tokio::test(start_paused = true)]
async fn every_hedge_is_reported() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = seen.clone();
    let layer = layer()
        .name("search")
        .max_hedges(2)
        .unwrap()
        .events(move |event: &Event| sink.lock().unwrap().push(event.clone()));
    let backend = Backend::new([reply(300 * MS, 200)]);
    call(&layer, &backend, get()).await.unwrap();
    let hedged = |number| Event::Hedged {
        name: "search".into(),
        number,
    };
    assert_eq!(*seen.lock().unwrap(), [hedged(1), hedged(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_follows_later_setters() {
    let layer = layer();
    let handle = layer.handle();
    let layer = layer.max_hedges(2).unwrap().name("search");
    handle.set_delay(20 * MS).unwrap();
    let slow = reply(300 * MS, 200);
    call(&layer, &Backend::new([slow, reply(10 * MS, 200)]), get())
        .await
        .unwrap();
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.calls, snapshot.hedges, snapshot.wins), (1, 1, 1));
    assert_eq!(snapshot.delay, 20 * MS);
}
