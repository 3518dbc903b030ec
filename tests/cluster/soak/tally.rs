//! What came of every call, and what of that could not have been prevented.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How a Pod came to the webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// Created at the API server.
    ThroughApi,
    /// Posted over TLS as an API server does it.
    Straight,
    /// A change of a SidecarSet at the API server: defaulting and validation.
    Change,
}

/// All calls of a run.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    good: BTreeMap<Way, Vec<Duration>>,
    lost: Vec<Lost>,
    wrong: Vec<String>,
    /// When clients went to a replica that was gone, and why.
    gone: Vec<(&'static str, Instant, Instant)>,
    /// Creations that were sent again because the API server was away.
    sent_again: u64,
    events: Vec<String>,
}

struct Lost {
    way: Way,
    from: Instant,
    to: Instant,
    why: String,
}

/// A call's end.
pub(crate) enum Called {
    Good,
    /// Answered, and not what it has to be.
    Wrong(String),
    /// Not answered.
    Lost(String),
}

impl Tally {
    pub(crate) fn add(&self, way: Way, from: Instant, called: Called) {
        let to = Instant::now();
        let mut inner = self.lock();
        match called {
            Called::Good => inner.good.entry(way).or_default().push(to - from),
            Called::Wrong(why) => inner.wrong.push(format!("{way:?}: {why}")),
            Called::Lost(why) => inner.lost.push(Lost { way, from, to, why }),
        }
    }

    pub(crate) fn sent_again(&self) {
        self.lock().sent_again += 1;
    }

    /// Clients went to a replica that was gone, until they could know that it was.
    pub(crate) fn gone(&self, why: &'static str, from: Instant, to: Instant) {
        self.lock().gone.push((why, from, to));
    }

    /// A line about what was done to the replicas.
    pub(crate) fn event(&self, text: String) {
        self.lock().events.push(text);
    }

    /// Answers that were right.
    pub(crate) fn good(&self) -> usize {
        self.lock().good.values().map(Vec::len).sum()
    }

    /// Sums it up.
    pub(crate) fn report(&self) -> Report {
        let inner = self.lock();
        let mut failed = Vec::new();
        let mut gone: Vec<_> =
            inner.gone.iter().map(|(why, from, to)| (*why, *to - *from, Vec::new())).collect();
        for lost in &inner.lost {
            let window = inner.gone.iter().position(|(_, from, to)| lost.from < *to && lost.to > *from);
            match window.and_then(|at| gone.get_mut(at)) {
                Some((.., of_window)) => of_window.push(lost),
                None => failed.push(lost),
            }
        }
        Report {
            good: inner.good.clone(),
            failed: reasons(&failed),
            gone: gone.into_iter().map(|(why, length, lost)| (why, length, reasons(&lost))).collect(),
            wrong: inner.wrong.clone(),
            sent_again: inner.sent_again,
            events: inner.events.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How often each reason occurred, without ports and names, which differ each time.
fn reasons(lost: &[&Lost]) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for lost in lost {
        let text: String = lost.why.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
        *reasons.entry(format!("{:?}: {text}", lost.way)).or_default() += 1;
    }
    reasons
}

/// What a run has shown.
pub(crate) struct Report {
    good: BTreeMap<Way, Vec<Duration>>,
    pub(crate) failed: BTreeMap<String, usize>,
    gone: Vec<(&'static str, Duration, BTreeMap<String, usize>)>,
    pub(crate) wrong: Vec<String>,
    sent_again: u64,
    events: Vec<String>,
}

impl Report {
    /// Good answers on one way.
    pub(crate) fn good(&self, way: Way) -> usize {
        self.good.get(&way).map_or(0, Vec::len)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            writeln!(f, "  {event}")?;
        }
        for (way, latencies) in &self.good {
            let mut sorted = latencies.clone();
            sorted.sort_unstable();
            let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
            writeln!(
                f,
                "{way:?}: {} right, p50 {:.1} ms, p99 {:.1} ms, longest {:.0} ms",
                sorted.len(),
                at(0.5),
                at(0.99),
                at(1.0)
            )?;
        }
        writeln!(f, "sent again because the API server was away: {}", self.sent_again)?;
        for (why, length, reasons) in &self.gone {
            let lost: usize = reasons.values().sum();
            writeln!(
                f,
                "lost in the {length:.1?} in which clients went to a replica that was {why}: {lost}"
            )?;
            write_reasons(f, reasons)?;
        }
        writeln!(f, "failed: {}", self.failed.values().sum::<usize>())?;
        write_reasons(f, &self.failed)?;
        writeln!(f, "wrong: {}", self.wrong.len())?;
        for wrong in self.wrong.iter().take(20) {
            writeln!(f, "  {wrong}")?;
        }
        Ok(())
    }
}

fn write_reasons(f: &mut fmt::Formatter<'_>, reasons: &BTreeMap<String, usize>) -> fmt::Result {
    reasons.iter().try_for_each(|(reason, times)| writeln!(f, "  {times} x {reason}"))
}
