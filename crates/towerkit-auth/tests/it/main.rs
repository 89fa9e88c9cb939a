//! Authentication and authorization: their laws, costs and behaviour.

mod behaviour;
