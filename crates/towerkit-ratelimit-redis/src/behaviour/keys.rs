//! Keys and their slots.

use super::*;

#[test]
fn each_key_has_a_quota_and_a_name_on_redis() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1)).key(request_key).prefix("shop");
        let service = service(&layer);
        let long = "long".repeat(40).leak();
        for key in ["Ann", "Bob", "", long] {
            assert!(call(&service, key).await.is_ok());
            assert!(call(&service, key).await.is_err());
        }
        let names: Vec<_> = memory
            .take_requests()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        assert_eq!(names[..3], ["shop:Ann", "shop:Bob", "shop:"]);
        assert_eq!(names[3], "shop#5b601c61387564323080f27464b69a47f63b602c");
    });
}

#[test]
fn calls_without_a_key_share_a_quota() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1));
        let service = service(&layer.key(ByHeader::new("none")));
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Bob").await.is_err());
    });
}

/// RL-09
#[test]
fn keys_take_no_more_slots_than_their_capacity() {
    run_paused(async {
        let memory = MemoryStore::new(Duration::ZERO);
        let layer = layer(&memory, quota(10, 10))
            .key(request_key)
            .capacity(100)
            .unwrap();
        let service = service(&layer);
        for key in 0..5000 {
            assert!(call(&service, key.to_string().leak()).await.is_ok());
        }
        assert!(layer.handle().snapshot().keys <= 200);
    });
}

#[test]
fn a_key_without_a_slot_bypasses_the_table_shares_a_lease_or_is_rejected() {
    run_paused(async {
        for when_full in [WhenFull::Bypass, WhenFull::Share, WhenFull::Reject] {
            let memory = MemoryStore::new(2 * MILLI);
            let layer = layer(&memory, quota(1000, 1000))
                .key(request_key)
                .capacity(4)
                .unwrap()
                .when_full(when_full);
            let service = service(&layer);
            let keys: Vec<&'static str> = (0..8).map(|key| &*key.to_string().leak()).collect();
            for _ in 0..10 {
                join_all(keys.iter().map(|key| call(&service, key))).await;
            }
            // All slots have tokens now.
            for _ in 0..3 {
                let result = call(&service, "Ann").await;
                if when_full == WhenFull::Reject {
                    assert_eq!(reasons([result]), [Some(RejectionReason::Overloaded)]);
                } else {
                    assert!(result.is_ok());
                }
            }
            sleep(SECOND).await;
            assert!(call(&service, "Ann").await.is_ok());
            assert_eq!(layer.handle().snapshot().keys, 8);
        }
    });
}

#[test]
fn a_handle_follows_later_setters() {
    run_paused(async {
        let memory = MemoryStore::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1));
        let handle = layer.handle();
        handle.set_quota(quota(1, 2)).unwrap();
        let layer = layer.key(request_key).capacity(100).unwrap().name("late");
        let service = service(&layer);
        for key in ["Ann", "Ann", "Bob"] {
            assert!(call(&service, key).await.is_ok());
        }
        assert!(call(&service, "Ann").await.is_err());
        assert_eq!((handle.snapshot().keys, handle.quota()), (2, quota(1, 2)));
        // Existing services keep their limiter, and so does the handle.
        let layer = layer.capacity(200).unwrap();
        assert_eq!(
            (handle.snapshot().keys, layer.handle().snapshot().keys),
            (2, 0)
        );
    });
}
