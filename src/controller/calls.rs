//! How the controller calls the API server: writes only while it leads, no faster than it may, and none for ever.
//!
//! Rule: C-CTL-16, C-RUST-10.

use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};

use super::Controller;

/// Longest time for one call. Webhooks that the API server asks about a write may take 30 s.
pub(super) const CALL_TIME: Duration = Duration::from_secs(35);
/// Longest pause that an API server may ask for.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

impl Controller {
    /// Makes one call that changes something. It begins in its turn, if this replica leads then, and it is given up when this
    /// replica does not lead any more. Without an answer it is not known whether the write happened.
    ///
    /// # Errors
    ///
    /// [`kube::Error::Service`] if there was no leadership or no answer in time; else what the API server says.
    pub(super) async fn write<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, kube::Error> {
        self.pace.turn().await;
        let limit = Instant::now() + CALL_TIME;
        let mut call = pin!(call);
        loop {
            let until = self.leadership.until().map_err(|error| kube::Error::Service(error.into()))?;
            match timeout_at(until.min(limit).into(), &mut call).await {
                Ok(result) => {
                    if let Err(error) = &result
                        && let Some(pause) = asked_pause(error)
                    {
                        self.pace.pause(pause);
                    }
                    return result;
                }
                Err(_) if Instant::now() >= limit => return Err(no_answer()),
                // The Lease was renewed meanwhile, or the next round of this loop says that it was not.
                Err(_) => {}
            }
        }
    }

    /// Makes one call that only reads.
    ///
    /// # Errors
    ///
    /// What the API server says, or that it said nothing for too long.
    pub(super) async fn read<T>(
        &self,
        call: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, kube::Error> {
        timeout(CALL_TIME, call).await.unwrap_or_else(|_| Err(no_answer()))
    }
}

pub(super) fn no_answer() -> kube::Error {
    kube::Error::Service(format!("no answer within {} s", CALL_TIME.as_secs()).into())
}

/// How long an API server that is too busy asks to be left alone. A webhook that refuses with 429 tells no time; a
/// PodDisruptionBudget, which tells a cause, is about one Pod only.
pub(super) fn asked_pause(error: &kube::Error) -> Option<Duration> {
    let kube::Error::Api(status) = error else { return None };
    let details = status.details.as_ref().filter(|details| details.causes.is_empty())?;
    let seconds = details.retry_after_seconds;
    (status.code == 429 && seconds > 0).then(|| Duration::from_secs(u64::from(seconds)).min(LONGEST_PAUSE))
}

/// A token bucket for all writes of the process.
#[derive(Debug)]
pub(super) struct Pace {
    /// Between two writes in the long run.
    interval: Duration,
    /// How far writes may be ahead of that.
    ahead: Duration,
    /// When the bucket is full again.
    full_at: Mutex<Instant>,
}

impl Pace {
    /// `qps` writes a second, `burst` at once after a rest. Neither is less than one.
    pub(super) fn new(qps: u32, burst: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / qps.max(1);
        Self { interval, ahead: interval.saturating_mul(burst.max(1) - 1), full_at: Mutex::new(now) }
    }

    /// Waits until one more write may begin.
    async fn turn(&self) {
        let now = Instant::now();
        let at = self.take(now);
        if at > now {
            tokio::time::sleep_until(at.into()).await;
        }
    }

    /// Takes a token; gives when it may be used.
    fn take(&self, now: Instant) -> Instant {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let from = (*full_at).max(now);
        *full_at = from + self.interval;
        from.checked_sub(self.ahead).map_or(now, |at| at.max(now))
    }

    /// Nobody begins for this long.
    fn pause(&self, pause: Duration) {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        *full_at = (*full_at).max(Instant::now() + pause + self.ahead);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Rule: C-RUST-10.
    #[test]
    fn a_burst_at_once_and_then_so_many_a_second() {
        let now = Instant::now();
        let pace = Pace::new(10, 3, now);
        let waits = |pace: &Pace, at: Instant| pace.take(at).duration_since(at).as_millis();
        let first: Vec<u128> = (0..6).map(|_| waits(&pace, now)).collect();
        assert_eq!(first, [0, 0, 0, 100, 200, 300]);
        let later = now + Duration::from_secs(10);
        let again: Vec<u128> = (0..4).map(|_| waits(&pace, later)).collect();
        assert_eq!(again, [0, 0, 0, 100], "a rest fills the bucket, and no more than that");
    }

    /// Rule: C-RUST-10.
    #[test]
    fn an_api_server_that_is_too_busy_is_left_alone() {
        let pace = Pace::new(1000, 100, Instant::now());
        pace.pause(Duration::from_secs(5));
        let now = Instant::now();
        let wait = pace.take(now).duration_since(now);
        assert!(wait > Duration::from_secs(4) && wait <= Duration::from_secs(5), "{wait:?}");
    }

    #[test]
    fn only_an_api_server_that_names_a_time_asks_for_a_pause() {
        let answer = |code: u16, details: Value| {
            let status = json!({"kind": "Status", "apiVersion": "v1", "code": code, "details": details});
            kube::Error::Api(serde_json::from_value(status).unwrap())
        };
        assert_eq!(asked_pause(&answer(429, json!({"retryAfterSeconds": 2}))), Some(Duration::from_secs(2)));
        assert_eq!(asked_pause(&answer(429, json!({"retryAfterSeconds": 4000}))), Some(LONGEST_PAUSE));
        assert_eq!(asked_pause(&answer(429, json!({}))), None, "a webhook refuses");
        let budget = json!({"retryAfterSeconds": 10, "causes": [{"reason": "DisruptionBudget"}]});
        assert_eq!(asked_pause(&answer(429, budget)), None, "a PodDisruptionBudget refuses");
        assert_eq!(asked_pause(&answer(500, json!({"retryAfterSeconds": 1}))), None);
    }
}
