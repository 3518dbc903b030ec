//! When to compile after a change: not at each of many that come together, and not all the time.

use std::time::{Duration, Instant};

/// How long it has to be quiet: an apply of several sets arrives within a few milliseconds, and nobody notices a Pod that is so much
/// earlier than a set.
pub const QUIET: Duration = Duration::from_millis(50);
/// Longest wait after the first change if it is never quiet: somebody who changes a set and then makes a Pod takes longer.
pub const LATEST: Duration = Duration::from_millis(500);
/// Rest after a compile, in times of what it took: under constant change it has at most a quarter of one core, so that admissions
/// have the rest.
pub const REST: u32 = 3;

/// Decides when the next compile is due.
#[derive(Debug, Default)]
pub struct Debounce {
    /// The first and the last change that no compile has seen.
    waiting: Option<(Instant, Instant)>,
    rest_until: Option<Instant>,
}

impl Debounce {
    /// Something changed.
    pub fn changed(&mut self, now: Instant) {
        let first = self.waiting.map_or(now, |(first, _)| first);
        self.waiting = Some((first, now));
    }

    /// When to compile, `None` if nothing changed.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        let (first, last) = self.waiting?;
        let due = (last + QUIET).min(first + LATEST);
        Some(self.rest_until.map_or(due, |rest| due.max(rest)))
    }

    /// A compile has taken all changes up to here.
    pub fn taken(&mut self) {
        self.waiting = None;
    }

    /// The compile has ended; it took `cost`.
    pub fn compiled(&mut self, now: Instant, cost: Duration) {
        self.rest_until = Some(now + cost * REST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_change_waits_until_it_is_quiet() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        assert_eq!(debounce.due(), None);
        debounce.changed(start);
        assert_eq!(debounce.due(), Some(start + QUIET));
        debounce.changed(start + 30 * MS);
        assert_eq!(debounce.due(), Some(start + 30 * MS + QUIET));
        debounce.taken();
        assert_eq!(debounce.due(), None);
    }

    #[test]
    fn a_stream_of_changes_waits_no_longer_than_the_limit() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        for n in 0..40 {
            debounce.changed(start + n * 20 * MS);
        }
        assert_eq!(debounce.due(), Some(start + LATEST));
        debounce.taken();
        debounce.changed(start + 900 * MS);
        assert_eq!(debounce.due(), Some(start + 900 * MS + QUIET), "the count starts afresh");
    }

    #[test]
    fn a_costly_compile_is_followed_by_a_rest() {
        let (mut debounce, start) = (Debounce::default(), Instant::now());
        debounce.compiled(start, 200 * MS);
        assert_eq!(debounce.due(), None);
        debounce.changed(start + 10 * MS);
        assert_eq!(debounce.due(), Some(start + 600 * MS));
        debounce.changed(start + 700 * MS);
        assert_eq!(debounce.due(), Some(start + 600 * MS), "past the limit and the rest: at once");
    }
}
