/// How many samples fell into one bucket, in the current half of the window and in the one before it.
///
/// One word of an atomic: 16 bits for the epoch, which is the number of the current half, and 24 for each count. A count stops at
/// 16.7 million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) epoch: u16,
    pub(crate) before: u32,
    pub(crate) current: u32,
}

impl Bucket {
    const COUNT: u32 = 24;
    const MAX: u32 = (1 << Self::COUNT) - 1;

    pub(crate) fn unpack(word: u64) -> Self {
        let count = |shift| (word >> shift) as u32 & Self::MAX;
        Self {
            epoch: (word >> (2 * Self::COUNT)) as u16,
            before: count(Self::COUNT),
            current: count(0),
        }
    }

    pub(crate) fn pack(self) -> u64 {
        let Self {
            epoch,
            before,
            current,
        } = self;
        u64::from(epoch) << (2 * Self::COUNT)
            | u64::from(before) << Self::COUNT
            | u64::from(current)
    }

    /// Returns what is left of the counts in `epoch`. A bucket that is ahead stays as it is: whoever asks was held up.
    pub(crate) fn at(self, epoch: u16) -> Self {
        let before = match epoch.wrapping_sub(self.epoch) {
            0 | 0x8000.. => return self,
            1 => self.current,
            _ => 0,
        };
        Self {
            epoch,
            before,
            current: 0,
        }
    }

    pub(crate) fn plus_one(self) -> Self {
        Self {
            current: (self.current + 1).min(Self::MAX),
            ..self
        }
    }

    pub(crate) fn total(self) -> u32 {
        self.before + self.current
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fits_in_its_word_and_stops_when_it_is_full() {
        let full = Bucket {
            epoch: u16::MAX,
            before: Bucket::MAX,
            current: Bucket::MAX,
        };
        assert_eq!(full.pack(), u64::MAX);
        assert_eq!(Bucket::unpack(u64::MAX).plus_one(), full);
        assert_eq!(full.total(), 2 * Bucket::MAX);
    }

    #[test]
    fn counts_live_for_two_generations_also_where_the_number_wraps() {
        let counted = Bucket {
            epoch: u16::MAX,
            before: 1,
            current: 2,
        };
        assert_eq!(counted.at(u16::MAX).total(), 3);
        assert_eq!(counted.at(0).total(), 2);
        assert_eq!(counted.at(1).total(), 0);
        assert_eq!(counted.at(u16::MAX - 1), counted);
    }
}
