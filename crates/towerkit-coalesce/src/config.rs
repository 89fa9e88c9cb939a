use towerkit_core::{Outcome, ShareCondition};

/// The options of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) max_waits: usize,
    pub(crate) max_body: usize,
    pub(crate) share: ShareCondition,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_waits: 2,
            max_body: 256 << 10,
            share: ShareCondition::Outcomes(&[Outcome::Success, Outcome::ClientError]),
        }
    }
}
