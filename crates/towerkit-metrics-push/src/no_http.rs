//! The type of `http.rs` without the feature `http`, which has no values.

use std::fmt;

use crate::sockets::SendError;

#[derive(Debug, Clone)]
pub(crate) enum InfluxHttp {}

impl InfluxHttp {
    pub(crate) async fn send(&self, _text: &str) -> Result<(), SendError> {
        match *self {}
    }
}

impl fmt::Display for InfluxHttp {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
