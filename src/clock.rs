//! The time of day, where the shell needs it. The core gets it as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Time since 1970, by the clock of this machine; zero if that is before it.
#[must_use]
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The same in whole seconds, as certificates, annotations and conditions have it.
#[must_use]
pub fn unix_now() -> i64 {
    i64::try_from(since_1970().as_secs()).unwrap_or(i64::MAX)
}
