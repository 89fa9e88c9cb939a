//! Several layers together, as the facade brings them.

mod axum_drivers;
mod pairs;
mod share;
