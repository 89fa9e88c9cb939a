//! Pushes to real receivers.
