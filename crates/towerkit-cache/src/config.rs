use towerkit_core::{Clock, Outcome, ShareCondition};

/// The options of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) clock: Clock,
    pub(crate) max_body: usize,
    pub(crate) keep: ShareCondition,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            max_body: 256 << 10,
            keep: ShareCondition::Outcomes(&[Outcome::Success]),
        }
    }
}
