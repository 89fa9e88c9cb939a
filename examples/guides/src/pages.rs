//! The pages, each on an item of its own. They exist for doc tests only.

#[cfg(doctest)]
#[doc = include_str!("../../../docs/architecture.md")]
mod architecture {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/contract.md")]
mod contract {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-axum-prometheus.md")]
mod from_axum_prometheus {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-go-kit.md")]
mod from_go_kit {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-tower-governor.md")]
mod from_tower_governor {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-tower-http-trace.md")]
mod from_tower_http_trace {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-tower-otel.md")]
mod from_tower_otel {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/from-tower-resilience.md")]
mod from_tower_resilience {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/authentication.md")]
mod authentication {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/building-a-service.md")]
mod building_a_service {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/compile-errors.md")]
mod compile_errors {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/discovery-and-balancing.md")]
mod discovery_and_balancing {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/observability.md")]
mod observability {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/ordering-a-stack.md")]
mod ordering_a_stack {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/tuning.md")]
mod tuning {}

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/writing-a-layer.md")]
mod writing_a_layer {}

#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}
