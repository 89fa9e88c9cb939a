use std::{fmt, sync::Arc};

use towerkit_core::{CallEnd, ConfigError, Outcome};

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
            share: ShareCondition(None),
        }
    }
}

/// The condition under which responses are shared.
#[derive(Clone)]
pub(crate) struct ShareCondition(Option<Arc<Condition>>);

type Condition = dyn Fn(&CallEnd) -> bool + Send + Sync;

impl ShareCondition {
    pub(crate) fn new(share: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(share)))
    }

    /// Returns true if the response is shared. A rejection is for its own caller.
    pub(crate) fn shares(&self, end: &CallEnd) -> bool {
        let is_shareable = || match &self.0 {
            Some(share) => share(end),
            None => matches!(end.outcome(), Outcome::Success | Outcome::ClientError),
        };
        end.rejection_reason().is_none() && is_shareable()
    }
}

impl fmt::Debug for ShareCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "custom"
        } else {
            "default"
        })
    }
}

/// Returns `value` if it is from 1 to `max`.
pub(crate) fn in_range(
    setting: &'static str,
    value: usize,
    max: usize,
) -> Result<usize, ConfigError> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::new(
        setting,
        value,
        format!("a number from 1 to {max}"),
    ))
}
