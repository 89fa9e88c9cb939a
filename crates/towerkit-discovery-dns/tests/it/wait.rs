use std::time::Duration;

use tokio::time::timeout;
use towerkit_discovery::{Discovery, DiscoverySnapshot};

/// Waits until a snapshot is as expected, at most 20 seconds.
pub(crate) async fn until(
    discovery: &Discovery,
    mut is_expected: impl FnMut(&DiscoverySnapshot) -> bool,
) -> DiscoverySnapshot {
    let mut discovery = discovery.clone();
    let wait = async {
        loop {
            let snapshot = discovery.current();
            if is_expected(&snapshot) {
                return snapshot;
            }
            discovery.changed().await;
        }
    };
    match timeout(Duration::from_secs(20), wait).await {
        Ok(snapshot) => snapshot,
        Err(_) => panic!("{:?}", discovery.current()),
    }
}

/// Returns the addresses as text, in their order.
pub(crate) fn addresses(snapshot: &DiscoverySnapshot) -> Vec<String> {
    let instances = snapshot.instances.iter();
    instances
        .map(|instance| instance.address.to_string())
        .collect()
}
