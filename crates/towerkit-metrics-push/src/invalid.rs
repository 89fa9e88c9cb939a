use std::{error::Error, fmt, time::Duration};

/// A setting with which a pusher would not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting(pub(crate) Problem);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Problem {
    Interval(Duration),
    Timeout(Duration),
    Packet(usize, usize),
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "found by what the feature adds")
    )]
    Url,
    #[cfg_attr(
        not(feature = "http"),
        expect(dead_code, reason = "found by what the feature adds")
    )]
    Credentials,
}

impl fmt::Display for InvalidSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Problem::Interval(time) => {
                write!(f, "an interval of {time:?} is not 10 ms up to a day")
            }
            Problem::Timeout(time) => {
                write!(f, "a timeout of {time:?} is not 1 ms up to an hour")
            }
            Problem::Packet(bytes, most) => {
                write!(f, "a packet of {bytes} bytes is not 64 to {most}")
            }
            // Neither is shown: there may be a password in them.
            Problem::Url => f.write_str(
                "the address of influxdb is not like http://host:8086, without user, password and query",
            ),
            Problem::Credentials => {
                f.write_str("the credentials have a character that no header can have")
            }
        }
    }
}

impl Error for InvalidSetting {}
