//! Probe services and the contract suite that every towerkit layer passes.
