use std::{error::Error, sync::Arc};

use tokio::time::Instant;

use crate::InstanceSet;

/// The instances of a service at one moment, and how far they can be trusted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct DiscoverySnapshot {
    /// The instances to which calls may go.
    pub instances: InstanceSet,
    /// How far the registry confirms them.
    pub status: DiscoveryStatus,
}

/// How far the registry confirms a set of instances.
///
/// So an empty set of a registry that lists no instances is told from that of a registry that does not answer.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum DiscoveryStatus {
    /// The registry has not answered yet: the set is empty.
    #[default]
    Pending,
    /// The registry lists these instances, or that there are none.
    Current,
    /// The registry does not answer: these instances are the last that it listed.
    Stale {
        /// The first error since it answered.
        error: Arc<dyn Error + Send + Sync>,
        /// When the instances are given up, if [`keep_for`](crate::DiscoveryOptions::keep_for) limits it.
        until: Option<Instant>,
    },
    /// The registry has not answered for longer than [`keep_for`](crate::DiscoveryOptions::keep_for): the set is empty.
    Lost {
        /// The first error since it answered.
        error: Arc<dyn Error + Send + Sync>,
    },
}

impl DiscoveryStatus {
    /// Returns the status as a word for logs and metrics: `pending`, `current`, `stale` or `lost`.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Current => "current",
            Self::Stale { .. } => "stale",
            Self::Lost { .. } => "lost",
        }
    }

    /// Returns the first error since the registry answered.
    #[must_use]
    pub fn error(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        match self {
            Self::Pending | Self::Current => None,
            Self::Stale { error, .. } | Self::Lost { error } => Some(&**error),
        }
    }
}
