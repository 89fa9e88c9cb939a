use std::{fmt, sync::Arc};

use towerkit_core::{EventQueue, Name, OperationSet};

use crate::{Authenticator, Authorizer, claim_headers::ClaimHeaders};

/// The options of an [`AuthLayer`](crate::AuthLayer).
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) schemes: Vec<Arc<dyn Authenticator>>,
    pub(crate) authorizer: Option<Arc<dyn Authorizer>>,
    pub(crate) public: Option<OperationSet>,
    pub(crate) claim_headers: ClaimHeaders,
    pub(crate) name: Name,
    pub(crate) events: EventQueue,
}

impl Config {
    pub(crate) fn new(scheme: Arc<dyn Authenticator>) -> Self {
        Self {
            schemes: vec![scheme],
            authorizer: None,
            public: None,
            claim_headers: ClaimHeaders::default(),
            name: Name::new("auth"),
            events: EventQueue::default(),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("name", &self.name)
            .field("schemes", &self.schemes.len())
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}
