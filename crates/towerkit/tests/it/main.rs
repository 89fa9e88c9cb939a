//! Several layers together, as the facade brings them.

mod pairs;
mod share;
