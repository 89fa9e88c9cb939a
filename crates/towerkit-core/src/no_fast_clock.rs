/// Replaces the processor's counter without the feature `fast-clock`. It has no values.
#[derive(Clone)]
pub(crate) enum FastClock {}

impl FastClock {
    pub(crate) fn shared() -> Option<Self> {
        None
    }

    pub(crate) fn now(&self) -> u64 {
        match *self {}
    }
}
