//! Which fault is told when: repetitions become the count of one Event, and nobody floods the API server. Pure: the time comes
//! in, what to write goes out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::faults::{Fault, Reason};

/// Most different faults that are remembered. With 300 bytes each this is a bound of memory, and far more than anyone reads.
const MOST: usize = 1000;
/// How often the count of an Event is brought up to date: often enough to see a fault going on, seldom enough to cost nothing.
const COUNT_EVERY: Duration = Duration::from_secs(60);
/// A fault that does not occur for so long is over, the next occurrence is a new Event; client-go and kube do the same.
const OVER_AFTER: Duration = Duration::from_secs(6 * 60);
/// All sets together: 20 writes a minute, 20 at once. An API server has better things to do while Pods are denied in masses.
const OF_ALL: Rate = Rate { every: Duration::from_secs(3), burst: 20 };
/// One set: 2 writes a minute, 4 at once, so that a set with many faults leaves room for others.
const OF_A_SET: Rate = Rate { every: Duration::from_secs(30), burst: 4 };

/// What makes two faults one Event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) set: Arc<str>,
    pub(super) reason: Reason,
    pub(super) rule: &'static str,
}

/// One call of the API server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Write {
    pub(super) key: Key,
    /// What was told first; an Event's note cannot be changed.
    pub(super) note: String,
    /// Occurrences up to now.
    pub(super) count: u64,
    /// Name of the Event whose count is to change, `None` for a new one.
    pub(super) event: Option<String>,
}

/// How a write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The Event of this name says it now.
    Written(String),
    /// Nothing was written; it is tried again with the next count.
    Failed,
    /// The set is gone, and with it whoever could read it.
    SetGone,
}

#[derive(Debug)]
struct Entry {
    note: String,
    count: u64,
    told: u64,
    last: Instant,
    not_before: Instant,
    event: Option<String>,
}

/// Faults that are going on.
#[derive(Debug)]
pub(super) struct Table {
    entries: FxHashMap<Key, Entry>,
    of_sets: FxHashMap<Arc<str>, Bucket>,
    of_all: Bucket,
}

impl Table {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            entries: FxHashMap::default(),
            of_sets: FxHashMap::default(),
            of_all: Bucket::new(OF_ALL, now),
        }
    }

    /// Takes a fault. False if there are too many different ones already.
    pub(super) fn add(&mut self, fault: Fault, now: Instant) -> bool {
        let Fault { set, reason, rule, note } = fault;
        let key = Key { set, reason, rule };
        if self.entries.len() >= MOST && !self.entries.contains_key(&key) {
            return false;
        }
        let entry = self.entries.entry(key).or_insert_with(|| Entry {
            note,
            count: 0,
            told: 0,
            last: now,
            not_before: now,
            event: None,
        });
        entry.count += 1;
        entry.last = now;
        true
    }

    /// Forgets what is over. Returns how many occurrences were never told.
    pub(super) fn forget(&mut self, now: Instant) -> u64 {
        let mut untold = 0;
        self.entries.retain(|_, entry| {
            let is_over = now.saturating_duration_since(entry.last) >= OVER_AFTER;
            if is_over {
                untold += entry.count.saturating_sub(entry.told);
            }
            !is_over
        });
        let entries = &self.entries;
        self.of_sets.retain(|set, bucket| bucket.next > now || entries.keys().any(|key| key.set == *set));
        untold
    }

    /// When there is something to write, `None` if there is not.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.waiting().map(|(_, at)| at).min()
    }

    /// The next write, if it is due. What is waiting for longest comes first.
    pub(super) fn take(&mut self, now: Instant) -> Option<Write> {
        let (key, _) = self.waiting().filter(|(_, at)| *at <= now).min_by_key(|(_, at)| *at)?;
        let key = key.clone();
        self.of_all.take(now);
        self.of_sets.entry(Arc::clone(&key.set)).or_insert_with(|| Bucket::new(OF_A_SET, now)).take(now);
        let entry = self.entries.get_mut(&key)?;
        entry.not_before = now + COUNT_EVERY;
        Some(Write { key, note: entry.note.clone(), count: entry.count, event: entry.event.clone() })
    }

    /// Notes how a write ended. Returns how many occurrences are told now that were not before.
    pub(super) fn done(&mut self, write: &Write, outcome: Outcome) -> u64 {
        let Some(entry) = self.entries.get_mut(&write.key) else { return 0 };
        match outcome {
            Outcome::Written(event) => {
                // An entry that was forgotten meanwhile and came again counts from one.
                let told = write.count.min(entry.count);
                let newly = told.saturating_sub(entry.told);
                entry.told = told;
                entry.event = Some(event);
                newly
            }
            Outcome::Failed => 0,
            Outcome::SetGone => {
                self.entries.remove(&write.key);
                0
            }
        }
    }

    fn waiting(&self) -> impl Iterator<Item = (&Key, Instant)> {
        self.entries.iter().filter(|(_, entry)| entry.count > entry.told).map(|(key, entry)| {
            let of_set = self.of_sets.get(&key.set).map_or(entry.not_before, Bucket::ready_at);
            (key, entry.not_before.max(of_set).max(self.of_all.ready_at()))
        })
    }
}

/// How often something may happen.
#[derive(Debug, Clone, Copy)]
struct Rate {
    every: Duration,
    /// How many may come at once; at least 1.
    burst: u32,
}

/// A token bucket, kept as the time at which it is full again.
#[derive(Debug)]
struct Bucket {
    rate: Rate,
    next: Instant,
}

impl Bucket {
    fn new(rate: Rate, now: Instant) -> Self {
        Self { rate, next: now }
    }

    /// When there is a token.
    fn ready_at(&self) -> Instant {
        let ahead = self.rate.every * (self.rate.burst - 1);
        self.next.checked_sub(ahead).unwrap_or(self.next)
    }

    fn take(&mut self, now: Instant) {
        self.next = self.next.max(now) + self.rate.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn mk_fault(set: &str, rule: &'static str, note: &str) -> Fault {
        Fault { set: set.into(), reason: Reason::PodDenied, rule, note: note.to_owned() }
    }

    /// All that is written from `from` on, until nothing is waiting; times in seconds after `from`.
    fn run(table: &mut Table, from: Instant) -> Vec<(u64, String, u64, bool)> {
        let mut writes = Vec::new();
        while let Some(due) = table.next_due() {
            let now = due.max(from);
            let write = table.take(now).expect("it is due");
            writes.push((
                now.duration_since(from).as_secs(),
                format!("{} {}", write.key.set, write.key.rule),
                write.count,
                write.event.is_some(),
            ));
            table.done(&write, Outcome::Written("event".to_owned()));
        }
        writes
    }

    #[test]
    fn a_hundred_denials_are_one_event_with_a_count() {
        let start = Instant::now();
        let mut table = Table::new(start);
        assert_eq!(table.next_due(), None);
        assert!(table.add(mk_fault("logging", "I-REV-9", "first"), start));
        assert_eq!(run(&mut table, start), [(0, "logging I-REV-9".to_owned(), 1, false)]);
        for n in 1..100 {
            table.add(mk_fault("logging", "I-REV-9", "another"), start + SECOND * n / 10);
        }
        assert_eq!(run(&mut table, start), [(60, "logging I-REV-9".to_owned(), 100, true)]);
    }

    #[test]
    fn the_note_is_the_first_one() {
        let start = Instant::now();
        let mut table = Table::new(start);
        for note in ["first", "second"] {
            table.add(mk_fault("a", "r", note), start);
        }
        let write = table.take(start).expect("due at once");
        assert_eq!((write.note.as_str(), write.count), ("first", 2));
    }

    #[test]
    fn one_set_leaves_room_for_others() {
        let start = Instant::now();
        let mut table = Table::new(start);
        for rule in ["r1", "r2", "r3", "r4", "r5", "r6"] {
            table.add(mk_fault("noisy", rule, ""), start);
        }
        let mut at_once = Vec::new();
        while let Some(write) = table.take(start) {
            table.done(&write, Outcome::Written(String::new()));
            at_once.push(write.key.rule);
        }
        assert_eq!(at_once.len(), 4, "{at_once:?}");
        table.add(mk_fault("quiet", "r1", ""), start);
        assert_eq!(&*table.take(start).expect("room").key.set, "quiet");
        assert_eq!(run(&mut table, start).iter().map(|write| write.0).collect::<Vec<_>>(), [30, 60, 60]);
    }

    #[test]
    fn all_sets_together_are_limited() {
        let start = Instant::now();
        let mut table = Table::new(start);
        for n in 0..30 {
            table.add(mk_fault(&format!("set-{n}"), "r", ""), start);
        }
        let times: Vec<u64> = run(&mut table, start).iter().map(|write| write.0).collect();
        assert_eq!(times.iter().filter(|at| **at == 0).count(), 20);
        assert_eq!(times.get(20..), Some(&[3, 6, 9, 12, 15, 18, 21, 24, 27, 30][..]));
    }

    #[test]
    fn a_failed_write_is_tried_again_and_nothing_is_lost() {
        let start = Instant::now();
        let mut table = Table::new(start);
        table.add(mk_fault("a", "r", ""), start);
        let write = table.take(start).expect("due");
        assert_eq!(table.take(start), None, "not twice at a time");
        table.add(mk_fault("a", "r", ""), start + SECOND);
        assert_eq!(table.done(&write, Outcome::Failed), 0);
        assert_eq!(table.next_due(), Some(start + COUNT_EVERY));
        let again = table.take(start + COUNT_EVERY).expect("due");
        assert_eq!((again.count, again.event.clone()), (2, None));
        assert_eq!(table.done(&again, Outcome::Written("e".to_owned())), 2);
    }

    #[test]
    fn what_is_over_is_forgotten_and_begins_anew() {
        let start = Instant::now();
        let mut table = Table::new(start);
        table.add(mk_fault("told", "r", ""), start);
        run(&mut table, start);
        table.add(mk_fault("untold", "r", ""), start + SECOND);
        assert_eq!(table.forget(start + OVER_AFTER), 0);
        assert_eq!(table.entries.len(), 1);
        assert_eq!(table.forget(start + SECOND + OVER_AFTER), 1, "counted as lost");
        assert!(table.entries.is_empty() && table.of_sets.is_empty());
        let later = start + OVER_AFTER * 2;
        table.add(mk_fault("told", "r", ""), later);
        assert_eq!(table.take(later).map(|write| (write.count, write.event)), Some((1, None)));
    }

    #[test]
    fn a_write_that_outlives_its_fault_tells_no_more_than_there_is() {
        let start = Instant::now();
        let mut table = Table::new(start);
        for _ in 0..3 {
            table.add(mk_fault("a", "r", ""), start);
        }
        let write = table.take(start).expect("due");
        let later = start + OVER_AFTER;
        assert_eq!(table.forget(later), 3);
        table.add(mk_fault("a", "r", ""), later);
        assert_eq!(table.done(&write, Outcome::Written("e".to_owned())), 1);
        assert_eq!(table.forget(later + OVER_AFTER), 0);
    }

    #[test]
    fn memory_is_bounded() {
        let start = Instant::now();
        let mut table = Table::new(start);
        for n in 0..MOST {
            assert!(table.add(mk_fault(&format!("set-{n}"), "r", ""), start));
        }
        assert!(!table.add(mk_fault("one-more", "r", ""), start));
        assert!(table.add(mk_fault("set-7", "r", ""), start), "a known one still counts");
    }

    #[test]
    fn a_set_that_is_gone_is_dropped() {
        let start = Instant::now();
        let mut table = Table::new(start);
        table.add(mk_fault("a", "r", ""), start);
        let write = table.take(start).expect("due");
        table.done(&write, Outcome::SetGone);
        assert_eq!(table.next_due(), None);
    }
}
