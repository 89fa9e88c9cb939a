//! Tests of the public interface.

mod behaviour;
