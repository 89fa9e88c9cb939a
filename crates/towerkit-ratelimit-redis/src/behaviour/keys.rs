//! Keys, and the room that they take.

use super::*;

#[test]
fn each_key_has_a_quota_of_its_own_and_a_name_on_redis() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1)).key(who).prefix("shop");
        let service = service(&layer);
        let long = "long".repeat(40).leak();
        for key in ["Ann", "Bob", "", long] {
            assert!(call(&service, key).await.is_ok());
            assert!(call(&service, key).await.is_err());
        }
        let names: Vec<_> = memory.asked().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names[..3], ["shop:Ann", "shop:Bob", "shop:"]);
        assert_eq!(names[3], "shop#5b601c61387564323080f27464b69a47f63b602c");
    });
}

#[test]
fn calls_without_a_key_share_a_quota() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1));
        let service = service(&layer.key(|call: &Call<'_, &'static str>| call.header("none")));
        assert!(call(&service, "Ann").await.is_ok());
        assert!(call(&service, "Bob").await.is_err());
    });
}

/// RL-09
#[test]
fn keys_take_no_more_room_than_they_are_given() {
    run_paused(async {
        let memory = Memory::new(Duration::ZERO);
        let layer = layer(&memory, quota(10, 10))
            .key(who)
            .capacity(100)
            .unwrap();
        let service = service(&layer);
        for key in 0..5000 {
            assert!(call(&service, key.to_string().leak()).await.is_ok());
        }
        assert!(layer.handle().snapshot().keys <= 128);
    });
}

#[test]
fn a_key_that_finds_no_room_asks_for_each_call_or_is_rejected() {
    run_paused(async {
        for overflow in [Overflow::Ask, Overflow::Reject] {
            let memory = Memory::new(2 * MILLI);
            let layer = layer(&memory, quota(1000, 1000))
                .key(who)
                .capacity(16)
                .unwrap()
                .overflow(overflow);
            let service = service(&layer);
            let keys: Vec<&'static str> = (0..16).map(|key| &*key.to_string().leak()).collect();
            for _ in 0..10 {
                join_all(keys.iter().map(|key| call(&service, key))).await;
            }
            // All of them hold tokens now.
            for _ in 0..3 {
                let result = call(&service, "Ann").await;
                match overflow {
                    Overflow::Ask => assert!(result.is_ok()),
                    Overflow::Reject => {
                        assert_eq!(reasons([result]), [Some(RejectionReason::Overloaded)]);
                    }
                }
            }
            sleep(SECOND).await;
            assert!(call(&service, "Ann").await.is_ok());
            assert_eq!(layer.handle().snapshot().keys, 16);
        }
    });
}

#[test]
fn a_handle_follows_later_setters() {
    run_paused(async {
        let memory = Memory::new(2 * MILLI);
        let layer = layer(&memory, quota(1, 1));
        let handle = layer.handle();
        handle.change_quota(quota(1, 2)).unwrap();
        let layer = layer.key(who).capacity(100).unwrap().name("late");
        let service = service(&layer);
        for key in ["Ann", "Ann", "Bob"] {
            assert!(call(&service, key).await.is_ok());
        }
        assert!(call(&service, "Ann").await.is_err());
        assert_eq!((handle.snapshot().keys, handle.quota()), (2, quota(1, 2)));
        // Services keep what they have, and so does the handle.
        let layer = layer.capacity(200).unwrap();
        assert_eq!(
            (handle.snapshot().keys, layer.handle().snapshot().keys),
            (2, 0)
        );
    });
}
