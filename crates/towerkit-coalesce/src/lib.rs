//! One call for many that ask the same at the same time.
