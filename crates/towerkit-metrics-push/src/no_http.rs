//! Stands in for HTTP without the feature `http`: there is none.

use std::fmt;

use crate::wire::{Failure, Wire};

#[derive(Debug, Clone)]
pub(crate) enum InfluxHttp {}

impl InfluxHttp {
    pub(crate) fn wire(&self) -> Wire {
        match *self {}
    }

    pub(crate) async fn send(&self, _text: &str) -> Result<(), Failure> {
        match *self {}
    }
}

impl fmt::Display for InfluxHttp {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
