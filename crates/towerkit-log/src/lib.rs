//! One log event for each call of a tower service.
