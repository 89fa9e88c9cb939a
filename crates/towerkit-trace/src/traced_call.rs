use std::{cell::RefCell, sync::Arc};

use towerkit_core::{Call, ProtocolKind, TraceIds};
use tracing::Span;

use crate::context::{Propagated, propagate};

/// The number of boxes that each thread keeps.
const POOL_SIZE: usize = 64;

thread_local! {
    /// The boxes of finished calls, for later ones, so that in the long run a call does not allocate.
    #[expect(clippy::vec_box, reason = "the pool keeps the boxes")]
    static POOL: RefCell<Vec<Box<TracedCall>>> = const { RefCell::new(Vec::new()) };
}

/// The state of a call that is sampled, or that continues a context.
#[derive(Debug)]
pub(crate) struct TracedCall {
    pub(crate) ids: TraceIds,
    pub(crate) span: Span,
    pub(crate) protocol: ProtocolKind,
    /// The requested gRPC method, until the end of the call shows if it exists.
    pub(crate) method: Option<Box<str>>,
    pub(crate) propagated: Option<Arc<Propagated>>,
}

impl TracedCall {
    pub(crate) fn new<Req>(
        ids: TraceIds,
        span: Span,
        call: &Call<'_, Req>,
        propagated: Option<Arc<Propagated>>,
    ) -> Box<Self> {
        let protocol = call.protocol_kind();
        let call = Self {
            ids,
            span,
            protocol,
            method: None,
            propagated,
        };
        // At the end of a thread there is no pool.
        match POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten() {
            Some(mut pooled) => {
                *pooled = call;
                pooled
            }
            None => Box::new(call),
        }
    }

    pub(crate) fn enter<R>(&self, poll: impl FnOnce() -> R) -> R {
        TraceIds::enter(Some(self.ids), || {
            let poll = || self.span.in_scope(poll);
            match &self.propagated {
                Some(propagated) => propagate(self.ids.span, propagated, poll),
                None => poll(),
            }
        })
    }

    /// Returns the box of a finished call to the pool.
    pub(crate) fn recycle(self: Box<Self>) {
        let _ = POOL.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < POOL_SIZE {
                pool.push(self);
            }
        });
    }
}
