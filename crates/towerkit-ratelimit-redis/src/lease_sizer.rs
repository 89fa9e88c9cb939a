use crate::lease::LeaseLimits;

/// Chooses the size of the next lease of a key: the number of tokens that the key spends in half the lease time.
///
/// The first lease has one token. A lease that is spent within half its time doubles the size, and tokens that expire unspent reduce it
/// to the number that was spent. A key with few calls takes no more tokens than it uses, and a busy key asks Redis a few times a
/// second.
#[derive(Debug)]
pub(crate) struct LeaseSizer {
    size: u32,
    last: Option<LastLease>,
}

#[derive(Debug)]
struct LastLease {
    started_at: u64,
    granted: u32,
    /// True if Redis granted all tokens that were requested.
    is_whole: bool,
}

impl LeaseSizer {
    pub(crate) fn new() -> Self {
        Self {
            size: 1,
            last: None,
        }
    }

    /// Returns the number of tokens to hold from now on. `unspent` tokens of the last leases were not spent.
    pub(crate) fn next_size(&mut self, now: u64, unspent: u32, limits: LeaseLimits) -> u32 {
        if let Some(last) = self.last.take() {
            let age = now.saturating_sub(last.started_at);
            if age >= limits.time {
                self.size = last.granted.saturating_sub(unspent).min(self.size);
            } else if last.is_whole && age < limits.time / 2 {
                self.size = self.size.saturating_mul(2);
            }
        }
        self.size = self.size.clamp(1, limits.size.max(1));
        self.size
    }

    /// Records a lease.
    pub(crate) fn record_grant(&mut self, started_at: u64, asked: u32, granted: u32) {
        self.last = Some(LastLease {
            started_at,
            granted,
            is_whole: granted >= asked,
        });
    }

    /// Returns the number of tokens below which the next lease is requested ahead; 0 if leases have one token.
    pub(crate) fn low_mark(&self) -> u32 {
        if self.size < 2 {
            0
        } else {
            (self.size / 4).max(1)
        }
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    const LIMITS: LeaseLimits = LeaseLimits {
        time: 1000,
        size: 20,
        timeout: 100,
    };

    /// Returns the sizes of leases, each requested at the given age of the last lease, of which so many tokens were not spent.
    fn sizes(steps: &[(u64, u32)]) -> Vec<u32> {
        let mut sizer = LeaseSizer::new();
        let mut now = 0;
        let mut sizes = Vec::new();
        for (age, unspent) in steps {
            now += age;
            let size = sizer.next_size(now, *unspent, LIMITS);
            sizer.record_grant(now, size, size);
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn a_busy_key_doubles_its_lease_up_to_the_limit() {
        assert_eq!(
            sizes(&[
                (0, 0),
                (10, 0),
                (10, 0),
                (499, 0),
                (10, 0),
                (10, 0),
                (10, 0)
            ]),
            [1, 2, 4, 8, 16, 20, 20]
        );
    }

    #[test]
    fn a_lease_that_lasts_for_half_its_time_keeps_its_size() {
        assert_eq!(sizes(&[(0, 0), (10, 0), (500, 0), (999, 1)]), [1, 2, 2, 2]);
    }

    #[test]
    fn tokens_that_expired_unspent_reduce_the_next_lease() {
        assert_eq!(
            sizes(&[(0, 0), (10, 0), (10, 0), (1000, 1), (1000, 3), (1000, 1)]),
            [1, 2, 4, 3, 1, 1]
        );
    }

    #[test]
    fn a_lease_that_the_quota_cut_short_does_not_change_the_size() {
        let mut sizer = LeaseSizer::new();
        sizer.record_grant(0, 1, 0);
        assert_eq!(sizer.next_size(1, 0, LIMITS), 1);
        sizer.record_grant(1, 1, 1);
        assert_eq!(sizer.next_size(2, 0, LIMITS), 2);
    }

    #[test]
    fn leases_of_one_token_are_not_requested_ahead() {
        let mut sizer = LeaseSizer::new();
        assert_eq!(sizer.low_mark(), 0);
        for (size, low_mark) in [(2, 1), (7, 1), (8, 2), (100, 25)] {
            sizer.size = size;
            assert_eq!(sizer.low_mark(), low_mark);
        }
    }
}
