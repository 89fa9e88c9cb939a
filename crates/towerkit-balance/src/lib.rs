//! Balances.

mod alias_table;
mod balancer;
mod by_cookie;
mod config;
mod decay;
mod ejections;
mod future;
mod handle;
mod instance_policy;
mod instance_stats;
mod layer;
mod maglev;
mod outlier_ejection;
mod p2c;
mod peak_ewma;
mod picker;
mod placement;
mod random;
mod round_robin;
mod schedule;
mod service;
mod snapshot;
mod snapshot_cell;
mod waiting;
mod weighted_round_robin;

use towerkit_core::sync::watched as sync;

pub use by_cookie::ByCookie;
pub use future::BalanceFuture;
pub use handle::{BalanceHandle, BalanceSnapshot, InstanceSnapshot};
pub use instance_policy::InstancePolicy;
pub use layer::BalanceLayer;
pub use maglev::{Maglev, MaglevTable};
pub use outlier_ejection::OutlierEjection;
pub use p2c::{P2c, P2cTable};
pub use peak_ewma::PeakEwma;
pub use picker::{BuildTable, Candidates, Picker};
pub use random::{Random, RandomTable};
pub use round_robin::RoundRobin;
pub use service::Balance;
pub use towerkit_keyed::{ByHeader, ByText, KeyExtractor};
pub use weighted_round_robin::{TurnTable, WeightedRoundRobin};
