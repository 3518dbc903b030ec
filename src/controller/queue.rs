//! The work that is to be done: names of SidecarSets, each at most once, each at its time, never two workers on one name.
//!
//! Rule: C-CTL-3, C-CTL-11, C-CTL-12, C-CTL-13, C-RUST-10.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

/// Pause after the first failure; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
/// Longest pause after failures.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// How a piece of work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is left to do until something happens.
    Done,
    /// To be looked at again after this time.
    Again(Duration),
    /// Somebody else wrote meanwhile: to be tried again, later each time.
    Conflict,
    /// To be tried again, later each time.
    Failed,
}

/// Which names wait for when, and which are being worked on.
#[derive(Debug, Default)]
struct Schedule {
    by_time: BTreeSet<(Instant, Arc<str>)>,
    times: HashMap<Arc<str>, Instant>,
    /// Being worked on; with the time for which it was asked for again meanwhile.
    busy: HashMap<Arc<str>, Option<Instant>>,
    failures: HashMap<Arc<str>, u32>,
}

impl Schedule {
    /// Asks for `name` at `at`, or earlier if that was asked before.
    fn add(&mut self, name: &Arc<str>, at: Instant) {
        if let Some(again) = self.busy.get_mut(name) {
            *again = Some(again.map_or(at, |earlier| earlier.min(at)));
            return;
        }
        if let Some(earlier) = self.times.get(name).copied() {
            if earlier <= at {
                return;
            }
            self.by_time.remove(&(earlier, Arc::clone(name)));
        }
        self.times.insert(Arc::clone(name), at);
        self.by_time.insert((at, Arc::clone(name)));
    }

    /// Takes the name whose time has come first; else says when the next one is.
    fn take(&mut self, now: Instant) -> Result<Arc<str>, Option<Instant>> {
        match self.by_time.first() {
            Some((at, _)) if *at <= now => {}
            other => return Err(other.map(|(at, _)| *at)),
        }
        let Some((_, name)) = self.by_time.pop_first() else { return Err(None) };
        self.times.remove(&name);
        self.busy.insert(Arc::clone(&name), None);
        Ok(name)
    }

    /// How many could be worked on now; those that wait for their time are not late.
    fn due(&self, now: Instant) -> usize {
        self.by_time.iter().take_while(|(at, _)| *at <= now).count()
    }

    fn finish(&mut self, name: &Arc<str>, outcome: Outcome, now: Instant) {
        let asked = self.busy.remove(name).flatten();
        let failures = match outcome {
            Outcome::Conflict | Outcome::Failed => {
                let failures = self.failures.entry(Arc::clone(name)).or_default();
                *failures = failures.saturating_add(1);
                *failures
            }
            Outcome::Done | Outcome::Again(_) => {
                self.failures.remove(name);
                0
            }
        };
        match outcome {
            Outcome::Done => {}
            Outcome::Again(after) => self.add(name, now + after),
            Outcome::Conflict | Outcome::Failed => self.add(name, now + pause(failures)),
        }
        if let Some(asked) = asked {
            // An event does not shorten the pause of a set that fails: the reason of the failure is still there.
            let not_before = if failures > 0 { now + pause(failures) } else { asked };
            self.add(name, asked.max(not_before));
        }
    }
}

fn pause(failures: u32) -> Duration {
    let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).unwrap_or(u32::MAX);
    FIRST_PAUSE.checked_mul(doubled).map_or(LONGEST_PAUSE, |pause| pause.min(LONGEST_PAUSE))
}

/// Names with their times, shared by the workers.
#[derive(Debug, Default)]
pub struct Queue {
    schedule: Mutex<Schedule>,
    changed: Notify,
}

impl Queue {
    /// Asks for `name` after `delay`, or earlier if that was asked before.
    pub fn add(&self, name: &Arc<str>, delay: Duration) {
        self.with(|schedule| schedule.add(name, Instant::now() + delay));
        self.changed.notify_one();
    }

    /// The next name whose time has come. Whoever gets it has to [`finish`](Self::finish) it.
    pub async fn next(&self) -> Arc<str> {
        loop {
            let changed = self.changed.notified();
            match self.with(|schedule| schedule.take(Instant::now())) {
                Ok(name) => {
                    // Another worker may find more.
                    self.changed.notify_one();
                    return name;
                }
                Err(None) => changed.await,
                Err(Some(at)) => {
                    // Too early is as good as a change: it is looked at again.
                    let _ = tokio::time::timeout_at(at.into(), changed).await;
                }
            }
        }
    }

    /// Says how the work on `name` ended.
    pub fn finish(&self, name: &Arc<str>, outcome: Outcome) {
        self.with(|schedule| schedule.finish(name, outcome, Instant::now()));
        self.changed.notify_one();
    }

    /// Names that wait, and names that are being worked on.
    #[must_use]
    pub fn depth(&self) -> (usize, usize) {
        let now = Instant::now();
        self.with(|schedule| (schedule.due(now), schedule.busy.len()))
    }

    fn with<T>(&self, look: impl FnOnce(&mut Schedule) -> T) -> T {
        look(&mut self.schedule.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Arc<str> {
        Arc::from(text)
    }

    /// Rule: C-CTL-11.
    #[test]
    fn what_waits_for_its_time_is_not_due() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(&name("a"), now);
        schedule.add(&name("later"), now + Duration::from_secs(60));
        assert_eq!(schedule.due(now), 1);
        assert_eq!(schedule.due(now + Duration::from_secs(60)), 2);
    }

    #[test]
    fn a_name_waits_once_and_is_worked_on_by_one() {
        let (a, now) = (name("a"), Instant::now());
        let mut schedule = Schedule::default();
        schedule.add(&a, now + Duration::from_secs(5));
        schedule.add(&a, now);
        schedule.add(&a, now + Duration::from_secs(1));
        assert_eq!(schedule.take(now), Ok(a.clone()), "the earliest time counts");
        assert!(schedule.take(now).is_err(), "it was there once");
        schedule.add(&a, now);
        assert!(schedule.take(now).is_err(), "it is being worked on");
        schedule.finish(&a, Outcome::Done, now);
        assert_eq!(schedule.take(now), Ok(a), "what was asked meanwhile is not lost");
    }

    #[test]
    fn names_come_in_the_order_of_their_times() {
        let now = Instant::now();
        let mut schedule = Schedule::default();
        schedule.add(&name("later"), now + Duration::from_secs(2));
        schedule.add(&name("sooner"), now + Duration::from_secs(1));
        assert_eq!(schedule.take(now), Err(Some(now + Duration::from_secs(1))));
        assert_eq!(schedule.take(now + Duration::from_secs(3)), Ok(name("sooner")));
        assert_eq!(schedule.take(now + Duration::from_secs(3)), Ok(name("later")));
    }

    /// Rule: C-CTL-12, C-CTL-13.
    #[test]
    fn failures_make_the_pause_longer_and_success_forgets_them() {
        let (a, now) = (name("a"), Instant::now());
        let mut schedule = Schedule::default();
        schedule.add(&a, now);
        for expected in [5, 10, 20] {
            let at = schedule.take(now + LONGEST_PAUSE);
            assert_eq!(at, Ok(a.clone()));
            schedule.add(&a, now);
            let outcome = if expected == 10 { Outcome::Conflict } else { Outcome::Failed };
            schedule.finish(&a, outcome, now);
            assert_eq!(schedule.take(now), Err(Some(now + Duration::from_millis(expected))));
        }
        assert_eq!(schedule.take(now + LONGEST_PAUSE), Ok(a.clone()));
        schedule.finish(&a, Outcome::Again(Duration::from_secs(1)), now);
        assert_eq!(schedule.take(now), Err(Some(now + Duration::from_secs(1))));
        assert_eq!(schedule.take(now + LONGEST_PAUSE), Ok(a.clone()));
        schedule.finish(&a, Outcome::Failed, now);
        assert_eq!(schedule.take(now), Err(Some(now + FIRST_PAUSE)), "it counts from one again");
        assert_eq!(pause(40), LONGEST_PAUSE);
    }
}
