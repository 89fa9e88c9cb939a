//! Hedged calls: a second attempt when the first is slow.
