//! A timeout for tower services.
