use std::{fmt, sync::Arc};

use towerkit_core::{CallEnd, Clock, Outcome};

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
