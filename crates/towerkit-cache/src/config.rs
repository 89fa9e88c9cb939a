use std::{fmt, sync::Arc, time::Duration};

use towerkit_core::{CallEnd, Clock, ConfigError, Outcome};

/// The options of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) clock: Clock,
    pub(crate) max_body: usize,
    pub(crate) keep: KeepPolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            max_body: 256 << 10,
            keep: KeepPolicy(None),
        }
    }
}

/// Tells which answers are kept.
#[derive(Clone)]
pub(crate) struct KeepPolicy(Option<Arc<Ask>>);

type Ask = dyn Fn(&CallEnd) -> bool + Send + Sync;

impl KeepPolicy {
    pub(crate) fn asking(keep: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(keep)))
    }

    /// A rejection was meant for the caller who got it.
    pub(crate) fn keeps(&self, end: &CallEnd) -> bool {
        let is_wanted = || match &self.0 {
            Some(keep) => keep(end),
            None => end.outcome() == Outcome::Success,
        };
        end.rejection_reason().is_none() && is_wanted()
    }
}

impl fmt::Debug for KeepPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "asking"
        } else {
            "default"
        })
    }
}

/// Whether a call failed, so that an answer which is kept may stand in for it. Anything else is the callee's word, and overtakes
/// it.
pub(crate) fn is_error(end: &CallEnd) -> bool {
    let outcome = end.outcome();
    end.rejection_reason().is_some() || !matches!(outcome, Outcome::Success | Outcome::ClientError)
}

const MAX_TIME: Duration = Duration::from_secs(365 * 24 * 3600);

/// Returns a time to live in nanoseconds, if it is from 1 ns to 365 days.
pub(crate) fn check_ttl(ttl: Duration) -> Result<u64, ConfigError> {
    match nanos(ttl) {
        Some(nanos) if nanos > 0 => Ok(nanos),
        _ => Err(ConfigError::new("ttl", ttl, "a time from 1 ns to 365 days")),
    }
}

/// Returns a window in nanoseconds, if it is at most 365 days.
pub(crate) fn check_window(setting: &'static str, window: Duration) -> Result<u64, ConfigError> {
    nanos(window).ok_or_else(|| ConfigError::new(setting, window, "a time of at most 365 days"))
}

fn nanos(time: Duration) -> Option<u64> {
    if time > MAX_TIME {
        return None;
    }
    u64::try_from(time.as_nanos()).ok()
}

/// Returns `value` if it is from 1 to `max`.
pub(crate) fn in_range(setting: &'static str, value: u64, max: u64) -> Result<u64, ConfigError> {
    if (1..=max).contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::new(
        setting,
        value,
        format!("a number from 1 to {max}"),
    ))
}
