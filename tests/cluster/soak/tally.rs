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
    /// When a replica was gone and an endpoint still.
    gone_but_listed: Vec<(Instant, Instant)>,
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

    /// From a SIGKILL, or the end of a drain, until the replica was no endpoint any more.
    pub(crate) fn gone_but_listed(&self, from: Instant, to: Instant) {
        self.lock().gone_but_listed.push((from, to));
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
        let windows = &inner.gone_but_listed;
        let (gone, failed): (Vec<&Lost>, Vec<&Lost>) = inner
            .lost
            .iter()
            .partition(|lost| windows.iter().any(|(from, to)| lost.from < *to && lost.to > *from));
        Report {
            good: inner.good.clone(),
            failed: reasons(&failed),
            gone: reasons(&gone),
            windows: windows.iter().map(|(from, to)| *to - *from).collect(),
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
    gone: BTreeMap<String, usize>,
    windows: Vec<Duration>,
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
        let lost: usize = self.gone.values().sum();
        writeln!(f, "lost while a replica was gone and an endpoint still ({:.1?}): {lost}", self.windows)?;
        for (reason, times) in &self.gone {
            writeln!(f, "  {times} x {reason}")?;
        }
        writeln!(f, "failed: {}", self.failed.values().sum::<usize>())?;
        for (reason, times) in &self.failed {
            writeln!(f, "  {times} x {reason}")?;
        }
        writeln!(f, "wrong: {}", self.wrong.len())?;
        for wrong in self.wrong.iter().take(20) {
            writeln!(f, "  {wrong}")?;
        }
        Ok(())
    }
}
