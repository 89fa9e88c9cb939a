use std::{fmt, sync::Arc};

use towerkit_core::{CallEnd, Outcome};

/// The options of a layer.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) waits: usize,
    pub(crate) max_body: usize,
    pub(crate) share: SharePolicy,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            waits: 2,
            max_body: 256 << 10,
            share: SharePolicy(None),
        }
    }
}

/// Tells which answers are shared.
#[derive(Clone)]
pub(crate) struct SharePolicy(Option<Arc<Ask>>);

type Ask = dyn Fn(&CallEnd) -> bool + Send + Sync;

impl SharePolicy {
    pub(crate) fn asking(share: impl Fn(&CallEnd) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(share)))
    }

    /// A rejection was meant for the caller who got it.
    pub(crate) fn shares(&self, end: &CallEnd) -> bool {
        let is_wanted = || match &self.0 {
            Some(share) => share(end),
            None => matches!(end.outcome(), Outcome::Success | Outcome::ClientError),
        };
        end.rejection_reason().is_none() && is_wanted()
    }
}

impl fmt::Debug for SharePolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "asking"
        } else {
            "default"
        })
    }
}
