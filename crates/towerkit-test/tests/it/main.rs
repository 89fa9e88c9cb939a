//! The suite, tried on layers that break its laws.

mod broken;
