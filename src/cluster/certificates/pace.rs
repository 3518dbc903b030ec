//! How fast something is written again that does not stay as it was written, or cannot be written.

use std::time::{Duration, Instant};

const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// After so long without a write the next one waits for nothing.
const QUIET: Duration = Duration::from_secs(120);

/// The first write is made at once, each further one waits twice as long as the one before.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<(Instant, Duration)>,
}

impl Pace {
    /// How long to wait before the next write; zero if it may be made.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.last
            .map_or(Duration::ZERO, |(last, pause)| pause.saturating_sub(now.saturating_duration_since(last)))
    }

    /// Notes a write.
    pub(super) fn used(&mut self, now: Instant) {
        let pause = match self.last {
            Some((last, pause)) if now.saturating_duration_since(last) < QUIET => {
                pause.saturating_mul(2).min(LONGEST)
            }
            _ => FIRST,
        };
        self.last = Some((now, pause));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fight_slows_down_and_a_quiet_time_ends_it() {
        let (mut pace, mut now) = (Pace::default(), Instant::now());
        let mut waits = Vec::new();
        for _ in 0..9 {
            let wait = pace.wait(now);
            waits.push(wait.as_millis());
            now += wait;
            pace.used(now);
        }
        assert_eq!(waits, [0, 500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        now += QUIET;
        assert_eq!(pace.wait(now), Duration::ZERO);
        pace.used(now);
        assert_eq!(pace.wait(now), FIRST);
    }
}
