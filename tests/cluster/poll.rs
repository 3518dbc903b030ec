//! Waiting for a fact instead of for a time.

use std::thread;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(50);

/// Asks again and again until the answer is `Ok`.
///
/// # Errors
/// After `limit`: what was waited for, and the last answer.
pub(crate) fn until<T>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Result<T, String>,
) -> Result<T, String> {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(last) if start.elapsed() > limit => {
                return Err(format!("waited {} s for {what}; last seen: {last}", limit.as_secs()));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
