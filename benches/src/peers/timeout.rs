use std::time::Duration;

use http::StatusCode;
use tower_resilience_timelimiter::{FixedTimeout, TimeLimiterLayer};

/// How long a call may take: longer than any benchmark does.
const LONG: Duration = Duration::from_secs(30);

/// Makes tower's timeout.
#[must_use]
pub fn tower_timeout() -> tower::timeout::TimeoutLayer {
    tower::timeout::TimeoutLayer::new(LONG)
}

/// Makes tower-http's timeout.
#[must_use]
pub fn tower_http_timeout() -> tower_http::timeout::TimeoutLayer {
    tower_http::timeout::TimeoutLayer::with_status_code(StatusCode::REQUEST_TIMEOUT, LONG)
}

/// Makes tower-resilience's timeout.
#[must_use]
pub fn tower_resilience_timeout() -> TimeLimiterLayer<FixedTimeout> {
    TimeLimiterLayer::builder()
        .timeout_duration(LONG)
        .cancel_running_future(true)
        .build()
}
