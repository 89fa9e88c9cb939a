use std::time::Duration;

use crate::quota::Spacing;

/// What a bucket holds after a call took from it, or could not.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Level {
    /// How far the word is ahead of the clock.
    pub(crate) ahead: u64,
    pub(crate) spacing: Spacing,
}

/// What a bucket holds that could not give so many tokens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Short {
    pub(crate) level: Level,
    pub(crate) price: u64,
    pub(crate) lost: bool,
}

/// When a bucket will have enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Enough {
    After(Duration),
    Never,
}

impl Level {
    /// Returns how many tokens there are.
    pub(crate) fn tokens(&self) -> u32 {
        let room = self.spacing.depth.saturating_sub(self.ahead);
        u32::try_from(room / self.spacing.interval).unwrap_or(u32::MAX)
    }

    /// Returns the nanoseconds after which there will be one more; 0 if the bucket is full.
    pub(crate) fn next_token(&self) -> u64 {
        let more = (u64::from(self.tokens()) + 1).saturating_mul(self.spacing.interval);
        let room = self.spacing.depth.saturating_sub(more);
        Spacing::nanos(self.ahead.saturating_sub(room))
    }
}

impl Short {
    const NOTHING: Self = Self {
        level: Level {
            ahead: u64::MAX,
            spacing: Spacing {
                interval: 2,
                depth: 2,
            },
        },
        price: 0,
        lost: false,
    };

    /// At the end of time the bucket stays shut.
    pub(crate) const AT_THE_END: Self = Self::NOTHING;

    /// The bucket has another owner by now.
    pub(crate) const LOST: Self = Self {
        lost: true,
        ..Self::NOTHING
    };

    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Returns when there will be enough.
    pub(crate) fn enough(&self) -> Enough {
        match self.level.spacing.depth.checked_sub(self.price) {
            None => Enough::Never,
            Some(room) => {
                let wait = Spacing::nanos(self.level.ahead.saturating_sub(room));
                Enough::After(Duration::from_nanos(wait))
            }
        }
    }
}
