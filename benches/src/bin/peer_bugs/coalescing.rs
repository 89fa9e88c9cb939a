use std::{future::poll_fn, pin::pin, time::Duration};

use tokio::{runtime::Handle, time::sleep};
use tower::{Layer, Service, service_fn};
use tower_resilience_coalesce::CoalesceLayer as TowerResilience;
use towerkit_coalesce::CoalesceLayer;
use towerkit_core::LayerExt;

use crate::Bug;

const PEER: &str = "tower-resilience-coalesce";

/// An error that can be cloned, as the peer demands.
#[derive(Debug, Clone)]
struct Failed;

pub(crate) fn bugs() -> Vec<Bug> {
    vec![spins(), leader_leaves()]
}

macro_rules! services {
    () => {{
        let nap = || {
            service_fn(|key: u64| async move {
                sleep(Duration::from_millis(50)).await;
                Ok::<_, Failed>(key)
            })
        };
        let peer = TowerResilience::new(|key: &u64| *key).layer(nap());
        let ours = CoalesceLayer::new(|key: &u64| Some(*key))
            .plain("nap")
            .layer(nap());
        (peer, ours)
    }};
}

/// One call waits 50 ms for another.
fn spins() -> Bug {
    async fn polls<S: Service<u64> + Clone>(mut service: S) -> String {
        let mut other = service.clone();
        let (Ok(()), Ok(())) = (ready(&mut service).await, ready(&mut other).await) else {
            return "not ready".to_owned();
        };
        let leader = service.call(1);
        let mut waiter = pin!(other.call(1));
        let mut polls = 0;
        let waiter = poll_fn(|cx| {
            polls += 1;
            waiter.as_mut().poll(cx)
        });
        let _ = futures_util::future::join(leader, waiter).await;
        if polls <= 3 {
            "at most 3".to_owned()
        } else {
            polls.to_string()
        }
    }
    let (peer, ours) = services!();
    Bug {
        id: "T-06",
        peer: PEER,
        what: "a call that waits 50 ms for another: polls",
        expected: "at most 3",
        observed: Handle::current().block_on(polls(peer)),
        ours: Handle::current().block_on(polls(ours)),
    }
}

/// The call that others wait for is dropped.
fn leader_leaves() -> Bug {
    async fn waiter<S: Service<u64> + Clone>(mut service: S) -> String {
        let mut other = service.clone();
        let (Ok(()), Ok(())) = (ready(&mut service).await, ready(&mut other).await) else {
            return "not ready".to_owned();
        };
        let mut leader = Box::pin(service.call(1));
        poll_fn(|cx| std::task::Poll::Ready(leader.as_mut().poll(cx).is_ready())).await;
        let waiter = other.call(1);
        drop(leader);
        match waiter.await {
            Ok(_) => "served".to_owned(),
            Err(_) => "an error".to_owned(),
        }
    }
    let (peer, ours) = services!();
    Bug {
        id: "T-03",
        peer: PEER,
        what: "the caller that leads goes away: one that waits gets",
        expected: "served",
        observed: Handle::current().block_on(waiter(peer)),
        ours: Handle::current().block_on(waiter(ours)),
    }
}

async fn ready<S: Service<u64>>(service: &mut S) -> Result<(), S::Error> {
    poll_fn(|cx| service.poll_ready(cx)).await
}
