use std::{cell::RefCell, time::Duration};

use towerkit_core::{Call, ProtocolKind};

/// What is kept of one call: nothing, where it will not be logged.
#[derive(Debug, Default)]
pub struct LogHeld(Option<Box<Kept>>);

/// What the end of a call no longer knows.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) start: u64,
    pub(crate) kind: Option<ProtocolKind>,
    pub(crate) operation: String,
    /// Empty where there is none.
    pub(crate) method: String,
    /// What was left until the deadline, where there is one.
    pub(crate) left: Option<Duration>,
}

thread_local! {
    static SPARE: RefCell<Vec<LogHeld>> = const { RefCell::new(Vec::new()) };
}

impl LogHeld {
    /// As many are kept for later calls, by each thread.
    const SPARES: usize = 64;
    /// A name that was longer than this is freed, not kept for the next.
    const LONG: usize = 1024;

    /// Keeps nothing.
    #[inline(always)]
    pub(crate) const fn nothing() -> Self {
        Self(None)
    }

    /// Keeps what is needed of a call, in memory of an earlier one if there is any.
    pub(crate) fn keep<Req>(call: &Call<'_, Req>, start: u64) -> Self {
        let mut held = Self::spare();
        let kept = held.0.get_or_insert_with(Kept::new);
        kept.start = start;
        kept.kind = Some(call.protocol());
        kept.left = call.deadline().map(|deadline| deadline.left());
        kept.operation.push_str(call.operation());
        if call.protocol() == ProtocolKind::Http {
            kept.method.push_str(call.method().unwrap_or_default());
        }
        held
    }

    /// Whether nothing was kept.
    #[inline(always)]
    pub(crate) const fn is_nothing(&self) -> bool {
        self.0.is_none()
    }

    /// Returns what was kept, if anything.
    pub(crate) fn kept(&self) -> Option<&Kept> {
        self.0.as_deref()
    }

    fn spare() -> Self {
        SPARE
            .try_with(|spare| spare.borrow_mut().pop())
            .ok()
            .flatten()
            .unwrap_or_default()
    }

    /// Keeps the memory for a later call.
    pub(crate) fn give_back(mut self) {
        let Some(kept) = &mut self.0 else { return };
        if kept.operation.capacity().max(kept.method.capacity()) > Self::LONG {
            return;
        }
        kept.operation.clear();
        kept.method.clear();
        // At the end of a thread there is no later call.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < Self::SPARES {
                spare.push(self);
            }
        });
    }
}

impl Kept {
    fn new() -> Box<Self> {
        Box::new(Self {
            start: 0,
            kind: None,
            operation: String::new(),
            method: String::new(),
            left: None,
        })
    }
}
