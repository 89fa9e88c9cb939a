//! Limits on the calls in flight: fixed, adaptive, queued, shed, partitioned.
