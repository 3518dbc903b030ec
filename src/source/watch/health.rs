//! What is known about the watches: what they wait for, how old their data are, what they had to leave out.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::metrics::WatchedKind;

/// Of objects that are left out, so many are named.
const NAMED: usize = 20;

/// One watch.
#[derive(Debug, Clone, Default)]
struct WatchHealth {
    is_listed: bool,
    /// When the API server was last heard of in a way that means: the data are complete up to now.
    heard: Option<Instant>,
    /// Why it does not go on, for people.
    problem: Option<String>,
    objects: usize,
    refused: Vec<(String, String)>,
    /// Left out although they can be decoded.
    uncompiled: Vec<(String, String)>,
}

impl WatchHealth {
    fn left_out(&self) -> usize {
        self.refused.len() + self.uncompiled.len()
    }
}

/// All watches, and whether what they said is in use.
#[derive(Debug, Default)]
pub struct Health {
    watches: Mutex<[WatchHealth; 4]>,
    /// The first change that is not in use yet.
    unpublished_since: Mutex<Option<Instant>>,
}

impl Health {
    fn watches(&self) -> MutexGuard<'_, [WatchHealth; 4]> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, kind: WatchedKind, change: impl FnOnce(&mut WatchHealth)) {
        let mut watches = self.watches();
        let of_kind = WatchedKind::ALL.iter().zip(&mut *watches).find(|(other, _)| **other == kind);
        if let Some((_, watch)) = of_kind {
            change(watch);
        }
    }

    /// The API server answered a call of this watch with success. That alone makes no data good.
    pub fn answered(&self, kind: WatchedKind) {
        let mut problem = None;
        self.change(kind, |watch| problem = watch.problem.take());
        if problem.is_some() {
            tracing::info!(kind = kind.as_str(), "the API server answers again");
        }
    }

    /// Its watch is up to date now: an event or a bookmark came, or a watch was resumed, after its list was complete.
    pub fn heard(&self, kind: WatchedKind, now: Instant) {
        self.change(kind, |watch| {
            if watch.is_listed {
                watch.heard = Some(now);
            }
        });
    }

    /// A call failed. Logged when it is another problem than before.
    pub fn failed(&self, kind: WatchedKind, problem: String) {
        let mut is_new = false;
        self.change(kind, |watch| {
            is_new = watch.problem.as_ref() != Some(&problem);
            watch.problem = Some(problem.clone());
        });
        if is_new {
            tracing::error!(kind = kind.as_str(), %problem, "the API server cannot be watched; it is tried again");
        }
    }

    /// The state of a store after it took events. `listed_at`: a list was completed then.
    pub fn stored(
        &self,
        kind: WatchedKind,
        objects: usize,
        refused: Vec<(String, String)>,
        listed_at: Option<Instant>,
    ) {
        self.change(kind, |watch| {
            watch.objects = objects;
            watch.refused = refused;
            if let Some(now) = listed_at {
                watch.is_listed = true;
                watch.heard = Some(now);
            }
        });
    }

    /// Something changed and is not in use yet.
    pub fn changed(&self, now: Instant) {
        self.unpublished().get_or_insert(now);
    }

    /// SidecarSets were compiled; those of `left_out` could not be.
    pub fn compiled(&self, left_out: Vec<(String, String)>) {
        self.change(WatchedKind::SidecarSet, |watch| watch.uncompiled = left_out);
    }

    /// How many objects of a kind are not in use.
    #[must_use]
    pub fn left_out(&self, kind: WatchedKind) -> usize {
        let mut count = 0;
        self.change(kind, |watch| count = watch.left_out());
        count
    }

    /// All changes up to here are in use or on the way; gives when the first of them came.
    pub fn taken(&self) -> Option<Instant> {
        self.unpublished().take()
    }

    fn unpublished(&self) -> MutexGuard<'_, Option<Instant>> {
        self.unpublished_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How old the data in use may be: since the quietest of the watches was last known to be complete, or since the first change
    /// that is not in use yet. A watch of which nothing changes is heard of about once a minute, by a bookmark. `None` before every
    /// first list is complete.
    #[must_use]
    pub fn age(&self, now: Instant) -> Option<Duration> {
        let heard = self.watches().iter().map(|watch| watch.heard).collect::<Option<Vec<_>>>()?;
        let oldest = heard.into_iter().chain(*self.unpublished()).min()?;
        Some(now.saturating_duration_since(oldest))
    }

    /// Whether every watch has had its first complete list.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.watches().iter().all(|watch| watch.is_listed)
    }

    /// What is waited for before the first Snapshot, in one line for people.
    #[must_use]
    pub fn awaited(&self) -> String {
        let watches = self.watches();
        let waiting = WatchedKind::ALL.iter().zip(&*watches).filter(|(_, watch)| !watch.is_listed);
        let told: Vec<String> = waiting
            .map(|(kind, watch)| match &watch.problem {
                Some(problem) => format!("{} ({problem})", kind.as_str()),
                None => kind.as_str().to_owned(),
            })
            .collect();
        if told.is_empty() {
            return "they are being compiled".to_owned();
        }
        format!("waiting for the first complete list of {}", told.join(", "))
    }

    /// Lines for `/readyz?verbose`.
    #[must_use]
    pub fn describe(&self, now: Instant) -> String {
        let mut text = String::new();
        for (kind, watch) in WatchedKind::ALL.iter().zip(&*self.watches()) {
            let kind = kind.as_str();
            // Writing to a String does not fail.
            let _ = match watch.heard {
                Some(heard) => {
                    let ago = now.saturating_duration_since(heard).as_secs();
                    writeln!(text, "{kind}: {} in use, up to date {ago} s ago", watch.objects)
                }
                None => writeln!(text, "{kind}: the first list is not complete"),
            };
            if let Some(problem) = &watch.problem {
                let _ = writeln!(text, "{kind}: {problem}");
            }
            for (name, reason) in watch.refused.iter().chain(&watch.uncompiled).take(NAMED) {
                let _ = writeln!(text, "{kind} {name:?} is left out: {reason}");
            }
            if watch.left_out() > NAMED {
                let _ = writeln!(text, "{kind}: {} more are left out", watch.left_out() - NAMED);
            }
        }
        if let Some(age) = self.age(now) {
            let _ = writeln!(text, "the data in use are {} s old at most", age.as_secs());
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    fn list_all(health: &Health, now: Instant) {
        for kind in WatchedKind::ALL {
            health.stored(kind, 1, Vec::new(), Some(now));
        }
    }

    #[test]
    fn data_are_as_old_as_the_quietest_watch() {
        let (health, start) = (Health::default(), Instant::now());
        health.heard(WatchedKind::Namespace, start);
        assert_eq!(health.age(start), None, "nothing is listed");
        list_all(&health, start);
        for kind in WatchedKind::ALL.into_iter().skip(1) {
            health.heard(kind, start + 40 * S);
        }
        assert_eq!(health.age(start + 50 * S), Some(50 * S));
        health.heard(WatchedKind::SidecarSet, start + 45 * S);
        assert_eq!(health.age(start + 50 * S), Some(10 * S));
        health.changed(start + 30 * S);
        assert_eq!(health.age(start + 50 * S), Some(20 * S), "a change waits to be used");
        assert_eq!(health.taken(), Some(start + 30 * S));
        assert_eq!(health.age(start + 50 * S), Some(10 * S));
    }

    #[test]
    fn what_is_awaited_and_left_out_is_named() {
        let (health, now) = (Health::default(), Instant::now());
        assert!(!health.is_complete());
        health.failed(WatchedKind::SidecarSet, "no CRD".to_owned());
        let names = "SidecarSet (no CRD), Namespace, ControllerRevision, ConfigMap";
        assert_eq!(health.awaited(), format!("waiting for the first complete list of {names}"));
        list_all(&health, now);
        health.stored(WatchedKind::SidecarSet, 2, vec![("odd".to_owned(), "spec: no".to_owned())], None);
        assert!(
            health.describe(now).contains("SidecarSet: no CRD\nSidecarSet \"odd\" is left out: spec: no\n")
        );
        health.compiled(vec![("pinned".to_owned(), "a defect".to_owned())]);
        assert_eq!(health.left_out(WatchedKind::SidecarSet), 2);
        let text = health.describe(now);
        assert!(text.contains("SidecarSet \"pinned\" is left out: a defect\n"), "{text}");
        health.compiled(Vec::new());
        assert_eq!(health.left_out(WatchedKind::SidecarSet), 1);
        health.answered(WatchedKind::SidecarSet);
        let text = health.describe(now + 7 * S);
        assert!(!text.contains("no CRD"), "{text}");
        assert!(text.starts_with("SidecarSet: 2 in use, up to date 7 s ago\n"), "{text}");
        assert!(text.ends_with("the data in use are 7 s old at most\n"), "{text}");
        assert!(health.is_complete());
    }
}
