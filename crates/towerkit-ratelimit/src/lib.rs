//! A rate limit for tower services.
