/// How many tokens to lease for one key: as many as are spent in half the time for which they are leased.
///
/// It begins with one. Tokens that are spent within half their time double it; tokens that end unspent bring it down to what was
/// spent. So a key that is asked for now and then costs no more tokens than it uses, and a busy one asks Redis a few times a second.
#[derive(Debug)]
pub(crate) struct Pace {
    size: u32,
    /// The last lease: when it was asked for, how many tokens it brought, and whether these were all that it asked for.
    last: Option<Last>,
}

#[derive(Debug)]
struct Last {
    asked_at: u64,
    brought: u32,
    whole: bool,
}

impl Pace {
    pub(crate) fn new() -> Self {
        Self {
            size: 1,
            last: None,
        }
    }

    /// Returns how many tokens to hold from now on. `unspent` of what the leases brought was not spent.
    pub(crate) fn next(&mut self, now: u64, unspent: u32, time: u64, most: u32) -> u32 {
        if let Some(last) = self.last.take() {
            let age = now.saturating_sub(last.asked_at);
            if age >= time {
                self.size = last.brought.saturating_sub(unspent).min(self.size);
            } else if last.whole && age < time / 2 {
                self.size = self.size.saturating_mul(2);
            }
        }
        self.size = self.size.clamp(1, most.max(1));
        self.size
    }

    /// Takes note of what a lease brought.
    pub(crate) fn brought(&mut self, asked_at: u64, asked: u32, brought: u32) {
        self.last = Some(Last {
            asked_at,
            brought,
            whole: brought >= asked,
        });
    }

    /// Fewer tokens than this are few: the next lease is asked for before they are spent. 0 where one token is leased at a time.
    pub(crate) fn mark(&self) -> u32 {
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

    /// Leases at the given ages of the last lease, of which so many tokens were not spent.
    fn sizes(steps: &[(u64, u32)]) -> Vec<u32> {
        let mut pace = Pace::new();
        let mut now = 0;
        let mut sizes = Vec::new();
        for (age, unspent) in steps {
            now += age;
            let size = pace.next(now, *unspent, 1000, 20);
            pace.brought(now, size, size);
            sizes.push(size);
        }
        sizes
    }

    #[test]
    fn a_busy_key_leases_twice_as_much_up_to_the_most() {
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
    fn a_lease_that_lasts_for_half_its_time_is_right() {
        assert_eq!(sizes(&[(0, 0), (10, 0), (500, 0), (999, 1)]), [1, 2, 2, 2]);
    }

    #[test]
    fn tokens_that_ended_unspent_are_leased_no_more() {
        assert_eq!(
            sizes(&[(0, 0), (10, 0), (10, 0), (1000, 1), (1000, 3), (1000, 1)]),
            [1, 2, 4, 3, 1, 1]
        );
    }

    #[test]
    fn a_lease_cut_short_by_the_quota_says_nothing_about_demand() {
        let mut pace = Pace::new();
        pace.brought(0, 1, 0);
        assert_eq!(pace.next(1, 0, 1000, 20), 1);
        pace.brought(1, 1, 1);
        assert_eq!(pace.next(2, 0, 1000, 20), 2);
    }

    #[test]
    fn one_at_a_time_is_never_asked_for_ahead() {
        let mut pace = Pace::new();
        assert_eq!(pace.mark(), 0);
        for (size, mark) in [(2, 1), (7, 1), (8, 2), (100, 25)] {
            pace.size = size;
            assert_eq!(pace.mark(), mark);
        }
    }
}
