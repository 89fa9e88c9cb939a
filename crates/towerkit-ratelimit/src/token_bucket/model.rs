//! A bucket beside models that count each token.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn bucket(count: u32, per: Duration, burst: u32) -> TokenBucket {
    TokenBucket::new(Quota::new(count, per).unwrap().burst(burst).unwrap())
}

/// Returns the time after which a rejected call may be sent again, in nanoseconds.
fn wait(bucket: &TokenBucket, now: u64, cost: u32) -> Option<u64> {
    let insufficient = bucket.take(now, cost).err()?;
    let wait = insufficient.retry_after()?;
    Some(wait.as_nanos() as u64)
}

/// Returns the largest excess of any window over burst + rate × time, in tokens times the period.
fn worst_excess(admitted: &[(u64, u32)], count: u32, per: Duration, burst: u32) -> i128 {
    let (count, per) = (i128::from(count), per.as_nanos() as i128);
    let mut worst = i128::MIN;
    for (i, (first, _)) in admitted.iter().enumerate() {
        let mut tokens = 0;
        for (last, cost) in &admitted[i..] {
            tokens += i128::from(*cost);
            let time = i128::from(last - first);
            worst = worst.max((tokens - i128::from(burst)) * per - count * time);
        }
    }
    worst
}

fn quotas() -> impl Strategy<Value = (u32, Duration, u32)> {
    let rates = prop_oneof![
        Just((10, SECOND)),
        Just((1, 30 * 24 * 3600 * SECOND)),
        Just((1_000_000_000, SECOND)),
        (1..=u32::MAX, Just(SECOND)),
        (1..1000u32, 1..10 * SECOND),
    ];
    (rates, 1..20u32).prop_map(|((count, per), burst)| (count, Duration::from_nanos(per), burst))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// RL-01, RL-04, RL-05, RL-06: over every window, for any schedule and costs, also with timestamps out of order.
    #[test]
    fn no_window_admits_more_than_burst_plus_rate(
        (count, per, burst) in quotas(),
        steps in prop::collection::vec((0..=4u32, 0..100u64, 0..4u32), 1..60),
    ) {
        let bucket = bucket(count, per, burst);
        let interval = (per.as_nanos() as u64 / u64::from(count)).max(1);
        let mut now = 100 * SECOND;
        let mut admitted = Vec::new();
        for (kind, size, cost) in steps {
            now = match kind {
                0 => now,
                1 => now + size,
                2 => now + interval.saturating_mul(size) / 50,
                3 => now + interval.saturating_mul(1000).min(1 << 51),
                _ => now - size.min(now),
            };
            if bucket.take(now, cost).is_ok() {
                admitted.push((now, cost));
            }
        }
        admitted.sort_unstable();
        prop_assert!(worst_excess(&admitted, count, per, burst) <= 0);
    }

    /// RL-02, RL-07: the model counts tokens by the whole history.
    #[test]
    fn a_call_is_rejected_only_if_tokens_are_missing(
        count in 1..10_000u32,
        burst in 1..20u32,
        steps in prop::collection::vec((0..SECOND / 2, 0..25u32), 1..60),
    ) {
        let bucket = bucket(count, Duration::from_secs(1), burst);
        let full = i128::from(burst) * i128::from(SECOND);
        let (mut now, mut tokens) = (SECOND, full);
        for (step, cost) in steps {
            now += step;
            tokens = full.min(tokens + i128::from(step) * i128::from(count));
            let wanted = i128::from(cost) * i128::from(SECOND);
            match bucket.take(now, cost) {
                Ok(_) => {
                    prop_assert!(tokens >= wanted);
                    tokens -= wanted;
                }
                // Every token taken so far was rounded by a sixteenth of a nanosecond at most.
                Err(_) => prop_assert!(tokens - wanted < i128::from(count) * 20 * 60 / 16),
            }
        }
    }

    /// RL-03: rejected until the wait is over, to the nanosecond, and admitted then.
    #[test]
    fn retry_after_is_exact((count, per, burst) in quotas(), offset in 0..SECOND, cost in 1..20u32) {
        let bucket = bucket(count, per, burst);
        let cost = cost.min(burst);
        let now = SECOND + offset;
        let mut rejected = None;
        for _ in 0..=burst {
            rejected = wait(&bucket, now, cost);
        }
        let wait = rejected.expect("the burst is used up");
        prop_assert!(wait >= 1);
        prop_assert!(bucket.take(now + wait - 1, cost).is_err());
        prop_assert!(bucket.take(now + wait, cost).is_ok());
    }

    /// A change keeps the tokens, up to the new burst, and never makes more of them, however often it is changed.
    #[test]
    fn changes_of_the_quota_keep_the_tokens(
        quotas in prop::collection::vec((1..1000u32, 1..10 * SECOND, 1..50u32), 2..6),
        spent in 0..50u32,
    ) {
        let mut quotas = quotas.into_iter().map(|(count, per, burst)| {
            Quota::new(count, Duration::from_nanos(per)).unwrap().burst(burst).unwrap()
        });
        let first = quotas.next().unwrap();
        let bucket = TokenBucket::new(first);
        let mut tokens = first.burst_size() - spent.min(first.burst_size());
        if spent > 0 {
            bucket.take(SECOND, spent.min(first.burst_size())).unwrap();
        }
        for quota in quotas {
            bucket.set_quota(quota, SECOND);
            tokens = tokens.min(quota.burst_size());
            let available = bucket.available(SECOND);
            // Rounding is against the caller, by less than a token.
            prop_assert!(available <= tokens && available + 1 >= tokens);
            tokens = available;
        }
    }
}

/// RL-02: under saturation at most one call is lost.
#[test]
fn saturation_gets_the_whole_rate() {
    for (count, step) in [
        (10, 1_000_000),
        (1000, 100_000),
        (30_000, 3_000),
        (1_000_000, 100),
    ] {
        let bucket = bucket(count, Duration::from_secs(1), 10);
        let start = 5 * SECOND;
        let calls = (0..=10 * SECOND / step).filter(|i| bucket.take(start + i * step, 1).is_ok());
        let admitted = calls.count() as u64;
        assert!(
            admitted + 1 >= 10 + 10 * u64::from(count),
            "{count}: {admitted}"
        );
    }
}

/// RL-04: a pause does not fill the bucket beyond the burst.
#[test]
fn after_a_long_pause_exactly_the_burst_is_admitted() {
    let bucket = bucket(10, Duration::from_secs(1), 10);
    for now in [SECOND, 1000 * SECOND, Gcra::END - 1] {
        let calls = (0..100).filter(|_| bucket.take(now, 1).is_ok());
        assert_eq!(calls.count(), 10);
    }
}

/// RL-14: a process that was stopped for 3 s admits the burst at once, and not the calls that it missed.
#[test]
fn after_a_pause_of_the_process_no_more_than_the_burst_is_admitted() {
    let bucket = bucket(100, Duration::from_secs(1), 10);
    let at = |now| (0..1000).filter(|_| bucket.take(now, 1).is_ok()).count();
    assert_eq!(at(SECOND), 10);
    assert_eq!(at(SECOND + SECOND / 100), 1);
    assert_eq!(at(4 * SECOND + SECOND / 100), 10);
}

/// RL-06: after the latest time the bucket is empty instead of wrapping around.
#[test]
fn after_the_latest_time_no_call_is_admitted() {
    let bucket = bucket(1_000_000_000, Duration::from_secs(1), 10);
    for now in [Gcra::END, u64::MAX] {
        assert!((0..100).all(|_| bucket.take(now, 1).is_err()));
    }
}

/// RL-07
#[test]
fn a_cost_above_the_burst_is_never_admitted() {
    let bucket = bucket(10, Duration::from_secs(1), 5);
    for cost in [6, 1000, u32::MAX] {
        let insufficient = bucket.take(SECOND, cost).unwrap_err();
        assert_eq!(insufficient.retry_after(), None);
    }
    assert!(bucket.take(SECOND, 5).is_ok());
    assert!(bucket.take(SECOND, 0).is_ok());
    assert_eq!(wait(&bucket, SECOND, 5), Some(SECOND / 2));
}

#[test]
fn a_charge_leaves_a_debt_of_one_burst_at_most() {
    let bucket = bucket(10, Duration::from_secs(1), 5);
    bucket.charge(SECOND, 3);
    assert_eq!(bucket.available(SECOND), 2);
    bucket.charge(SECOND, 4);
    assert_eq!(wait(&bucket, SECOND, 1), Some(3 * SECOND / 10));
    for _ in 0..100 {
        bucket.charge(SECOND, u32::MAX);
    }
    assert_eq!(wait(&bucket, SECOND, 1), Some(6 * SECOND / 10));
    assert!(
        bucket.take(SECOND, 0).is_ok(),
        "a call that costs 0 is admitted"
    );
    assert_eq!(bucket.available(2 * SECOND), 5);
}

/// Tokens that would have overflowed in the meantime are not returned.
#[test]
fn a_refund_raises_no_window_above_its_bound() {
    let bucket = bucket(10, Duration::from_secs(1), 5);
    bucket.take(SECOND, 3).unwrap();
    bucket.refund(SECOND, SECOND, 3);
    assert_eq!(bucket.available(SECOND), 5);
    bucket.take(SECOND, 3).unwrap();
    let later = SECOND + SECOND / 10;
    bucket.take(later, 3).unwrap();
    assert_eq!(bucket.available(later), 0);
    bucket.refund(SECOND, later, 3);
    assert_eq!(bucket.available(later), 2);
}

/// A debt stays, and tokens above the new burst go.
#[test]
fn a_change_of_the_quota_keeps_debts_and_clamps_tokens() {
    let bucket = bucket(10, Duration::from_secs(1), 5);
    let slower = Quota::per_second(1).unwrap().burst(2).unwrap();
    bucket.set_quota(slower, SECOND);
    assert_eq!(bucket.available(SECOND), 2);
    bucket.charge(SECOND, 3);
    assert_eq!(wait(&bucket, SECOND, 1), Some(2 * SECOND));
    bucket.set_quota(Quota::per_second(100).unwrap(), SECOND);
    assert_eq!(wait(&bucket, SECOND, 1), Some(2 * SECOND / 100));
    assert_eq!(bucket.quota(), Quota::per_second(100).unwrap());
}

/// T-07: from the fastest quota to the slowest, with the largest debt, at any time.
#[test]
fn no_change_of_the_quota_overflows() {
    let fast = Quota::per_second(1_000_000_000)
        .unwrap()
        .burst(u32::MAX)
        .unwrap();
    let year = Duration::from_secs(365 * 24 * 3600);
    let slow = Quota::new(1, 2 * year).unwrap();
    for now in [0, SECOND, Gcra::END - 1, Gcra::END, u64::MAX] {
        let bucket = TokenBucket::new(fast);
        bucket.charge(now, u32::MAX);
        bucket.charge(now, u32::MAX);
        for quota in [slow, fast, slow, slow.burst(1).unwrap(), fast] {
            bucket.set_quota(quota, now);
            assert_eq!(bucket.available(now), 0);
            assert!(bucket.take(now, 1).is_err());
            bucket.charge(now, u32::MAX);
            bucket.refund(now, now, 1);
        }
    }
}

/// RL-01, RL-05: eight threads advance a clock at random and make a million calls.
#[test]
fn threads_share_one_bucket() {
    use std::sync::atomic::AtomicU64;

    let bucket = bucket(10, Duration::from_secs(1), 10);
    let clock = AtomicU64::new(SECOND);
    let admitted: u64 = std::thread::scope(|threads| {
        let threads: Vec<_> = (1..=8u64)
            .map(|mut random| {
                let (bucket, clock) = (&bucket, &clock);
                threads.spawn(move || {
                    let calls = (0..125_000).filter(|_| {
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1);
                        let step = random >> 46;
                        let now = clock.fetch_add(step, Ordering::SeqCst);
                        bucket.take(now, 1).is_ok()
                    });
                    calls.count() as u64
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).sum()
    });
    let spent = clock.into_inner() - SECOND;
    assert!(admitted <= 10 + 10 * spent / SECOND);
    assert!(admitted + 2 >= 10 * spent / SECOND);
}

#[test]
fn the_available_tokens_can_be_taken() {
    let bucket = bucket(10, Duration::from_secs(1), 5);
    for left in (0..5).rev() {
        let level = bucket.take(SECOND, 1).unwrap();
        assert_eq!((level.tokens(), level.next_token()), (left, SECOND / 10));
        assert_eq!(bucket.available(SECOND), left);
    }
    assert_eq!(bucket.available(SECOND + 99_999_999), 0);
    assert_eq!(bucket.available(SECOND + 100_000_000), 1);
    assert_eq!(bucket.available(100 * SECOND), 5);
}
