/// The number of samples in one bucket, for the current interval and the previous one.
///
/// Packed into one word: 16 bits for the generation, which is the number of the current interval, and 24 bits for each count. A count
/// saturates at 16.7 million.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    pub(crate) generation: u16,
    pub(crate) previous: u32,
    pub(crate) current: u32,
}

impl Bucket {
    const COUNT: u32 = 24;
    const MAX: u32 = (1 << Self::COUNT) - 1;

    pub(crate) fn unpack(word: u64) -> Self {
        let count = |shift| (word >> shift) as u32 & Self::MAX;
        Self {
            generation: (word >> (2 * Self::COUNT)) as u16,
            previous: count(Self::COUNT),
            current: count(0),
        }
    }

    pub(crate) fn pack(self) -> u64 {
        let Self {
            generation,
            previous,
            current,
        } = self;
        u64::from(generation) << (2 * Self::COUNT)
            | u64::from(previous) << Self::COUNT
            | u64::from(current)
    }

    /// Returns the counts that remain in `generation`. A bucket with a later generation is unchanged, because this thread was delayed.
    pub(crate) fn at(self, generation: u16) -> Self {
        let previous = match generation.wrapping_sub(self.generation) {
            0 | 0x8000.. => return self,
            1 => self.current,
            _ => 0,
        };
        Self {
            generation,
            previous,
            current: 0,
        }
    }

    pub(crate) fn increment(self) -> Self {
        Self {
            current: (self.current + 1).min(Self::MAX),
            ..self
        }
    }

    pub(crate) fn total(self) -> u32 {
        self.previous + self.current
    }
}

#[cfg(all(test, not(towerkit_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fits_in_its_word_and_its_counts_saturate() {
        let full = Bucket {
            generation: u16::MAX,
            previous: Bucket::MAX,
            current: Bucket::MAX,
        };
        assert_eq!(full.pack(), u64::MAX);
        assert_eq!(Bucket::unpack(u64::MAX).increment(), full);
        assert_eq!(full.total(), 2 * Bucket::MAX);
    }

    #[test]
    fn counts_live_for_two_generations_also_where_the_number_wraps() {
        let bucket = Bucket {
            generation: u16::MAX,
            previous: 1,
            current: 2,
        };
        assert_eq!(bucket.at(u16::MAX).total(), 3);
        assert_eq!(bucket.at(0).total(), 2);
        assert_eq!(bucket.at(1).total(), 0);
        assert_eq!(bucket.at(u16::MAX - 1), bucket);
    }
}
