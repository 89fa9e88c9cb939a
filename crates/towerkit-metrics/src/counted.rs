use std::{fmt, sync::Arc};

/// A count that is kept elsewhere, and read when a scrape asks for it.
#[derive(Clone)]
pub(crate) struct Counted(Arc<dyn Fn() -> u64 + Send + Sync>);

impl Counted {
    pub(crate) fn new(read: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    pub(crate) fn value(&self) -> u64 {
        (self.0)()
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counted")
    }
}
