//! What came of every call.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::excuse::Gone;
use super::report::Report;

/// How long after an API server is ready again replicas may be behind, and callers may see it stumble: the longest pause of a watch, and
/// as long again for its new list on a busy machine.
const CATCHING_UP: Duration = Duration::from_secs(10);

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

impl Way {
    /// How many requests to replicas one call makes.
    pub(crate) fn requests(self) -> usize {
        match self {
            Self::ThroughApi | Self::Straight => 1,
            Self::Change => 2,
        }
    }
}

/// All calls of a run.
#[derive(Default)]
pub(crate) struct Tally(Mutex<Inner>);

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) calls: Vec<Call>,
    /// Replicas that were gone while clients went to them.
    pub(crate) gone: Vec<Gone>,
    /// When the API server was away; the last one may go on.
    pub(crate) away: Vec<(Instant, Option<Instant>)>,
    /// Calls that were sent again because the API server gave no answer, or one about itself.
    pub(crate) sent_again: Vec<(Instant, String)>,
    pub(crate) bursts: usize,
    pub(crate) events: Vec<String>,
}

/// A call from its beginning to its end.
pub(crate) struct Call {
    pub(crate) way: Way,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    pub(crate) end: Called,
}

/// A call's end.
pub(crate) enum Called {
    /// Answered, and all of the answer was checked.
    Good,
    /// Answered, and not what it has to be.
    Wrong(String),
    /// Not answered.
    Lost(String),
}

impl Inner {
    /// Whether the API server was away at some time, or replicas may still be catching up with it.
    pub(crate) fn around_outage(&self, from: Instant, to: Instant) -> bool {
        self.away
            .iter()
            .any(|(began, ended)| to >= *began && ended.is_none_or(|ended| from <= ended + CATCHING_UP))
    }
}

impl Tally {
    pub(crate) fn add(&self, way: Way, from: Instant, end: Called) {
        self.lock().calls.push(Call { way, from, to: Instant::now(), end });
    }

    /// A call has to be sent again, for this reason.
    pub(crate) fn sent_again(&self, why: String) {
        self.lock().sent_again.push((Instant::now(), why));
    }

    /// A burst has begun.
    pub(crate) fn burst(&self) {
        self.lock().bursts += 1;
    }

    /// Clients went to a replica that was gone, until they could know that it was.
    pub(crate) fn gone(&self, gone: Gone) {
        self.lock().gone.push(gone);
    }

    /// The API server is away from now on.
    pub(crate) fn away(&self) {
        self.lock().away.push((Instant::now(), None));
    }

    /// It is ready again.
    pub(crate) fn back(&self) {
        if let Some((_, ended)) = self.lock().away.last_mut() {
            *ended = Some(Instant::now());
        }
    }

    /// See [`Inner::around_outage`].
    pub(crate) fn around_outage(&self, from: Instant, to: Instant) -> bool {
        self.lock().around_outage(from, to)
    }

    /// A line about what was done to the replicas.
    pub(crate) fn event(&self, text: String) {
        self.lock().events.push(text);
    }

    /// Pods and reviews whose answer was checked and right.
    pub(crate) fn admissions(&self) -> usize {
        let is_one = |call: &&Call| call.way != Way::Change && matches!(call.end, Called::Good);
        self.lock().calls.iter().filter(is_one).count()
    }

    /// Sums it up.
    pub(crate) fn report(&self) -> Report {
        Report::new(&self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replicas_may_be_behind_while_the_api_server_is_away_and_a_little_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut inner = Inner { away: vec![(at(10), Some(at(20)))], ..Inner::default() };
        assert!(!inner.around_outage(at(1), at(9)));
        assert!(inner.around_outage(at(1), at(11)));
        assert!(inner.around_outage(at(30), at(31)));
        assert!(!inner.around_outage(at(31), at(32)));
        inner.away.push((at(40), None));
        assert!(inner.around_outage(at(99), at(100)), "it has not come back");
    }
}
