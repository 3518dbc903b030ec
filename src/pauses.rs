//! How long a watch of the API server rests after a failure.
//!
//! The client's own pauses grow to thirty seconds and more. Then a replica goes on for long with old SidecarSets after the API server
//! has come back. Ours end at five: a refused connection every few seconds costs an API server nothing.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use kube::runtime::utils::Backoff;

/// The longest of the first pause. Each further one may be twice as long.
const FIRST: Duration = Duration::from_secs(1);
/// The longest of all pauses.
pub const LONGEST: Duration = Duration::from_secs(5);

/// The pauses of one watch, for [`kube::runtime::WatchStreamExt::backoff`] or by hand. Each is between half of its longest and that, by
/// chance: replicas that lost the same API server at the same time do not come back to it at the same time.
#[derive(Debug, Default)]
pub struct Pauses {
    failures: u32,
    chance: RandomState,
}

impl Pauses {
    /// The pause after one more failure.
    pub fn after_failure(&mut self) -> Duration {
        let doubled = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let longest = FIRST.saturating_mul(doubled).min(LONGEST);
        // The upper half of the bits is more than enough.
        let chance = f64::from((self.chance.hash_one(self.failures) >> 32) as u32) / f64::from(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(0.5 + chance / 2.0)
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    /// Never the end: a watch is never given up.
    fn next(&mut self) -> Option<Duration> {
        Some(self.after_failure())
    }
}

impl Backoff for Pauses {
    fn reset(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_five_seconds_and_begin_anew_after_a_success() {
        let mut pauses = Pauses::default();
        for longest in [1, 2, 4, 5, 5, 5].map(Duration::from_secs) {
            let pause = pauses.after_failure();
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
        }
        pauses.failures = u32::MAX;
        assert!(pauses.next().is_some_and(|pause| pause <= LONGEST), "an API server that is away for a day");
        pauses.reset();
        assert!(pauses.after_failure() <= FIRST);
    }

    #[test]
    fn replicas_do_not_come_back_together() {
        let mut pauses: Vec<Duration> = (0..50).map(|_| Pauses::default().after_failure()).collect();
        pauses.sort_unstable();
        assert!(pauses[45] - pauses[4] > FIRST / 5, "{pauses:?}");
    }
}
