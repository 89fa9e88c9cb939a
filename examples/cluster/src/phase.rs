/// A phase of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// All three instances are well.
    AllWell,
    /// One instance was killed.
    Killed,
    /// It was started again.
    Restarted,
    /// Another one takes twenty times as long for each call.
    Slow,
    /// It is as fast as before.
    Recovered,
}

impl Phase {
    /// The phases in order.
    pub const ALL: [Self; 5] = [
        Self::AllWell,
        Self::Killed,
        Self::Restarted,
        Self::Slow,
        Self::Recovered,
    ];

    /// Returns the name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllWell => "all well",
            Self::Killed => "b is killed",
            Self::Restarted => "b is back",
            Self::Slow => "c is slow",
            Self::Recovered => "all well again",
        }
    }
}
