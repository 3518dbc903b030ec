//! Places for requests in flight, of which a request that waits for its body is only lent one.
//!
//! Otherwise a client that announces bodies and does not send them would hold all places for ten seconds each, and an API server would be
//! told to come again later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A place, until it is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

/// All places.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    lent: Mutex<Lent>,
    /// How long a body may be on its way before another request may take the place.
    patience: Duration,
}

#[derive(Debug, Default)]
struct Lent {
    /// By number, so the first is the one that has waited for longest.
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    since: Instant,
    slot: Slot,
    lost: Arc<Notify>,
}

impl Slots {
    pub(super) fn new(count: usize, patience: Duration) -> Self {
        Self { free: Arc::new(Semaphore::new(count)), lent: Mutex::default(), patience }
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// A place: a free one, else the one of the request that waits for its body for longest, if it has used up our patience.
    pub(super) fn take(&self) -> Option<Slot> {
        Arc::clone(&self.free).try_acquire_owned().ok().or_else(|| self.take_back())
    }

    fn take_back(&self) -> Option<Slot> {
        let mut lent = self.lock();
        let longest = lent.waiting.first_entry()?;
        if longest.get().since.elapsed() < self.patience {
            return None;
        }
        let Waiting { slot, lost, .. } = longest.remove();
        lost.notify_one();
        Some(slot)
    }

    /// Gives a place to a request that waits for its body.
    pub(super) fn lend(&self, slot: Slot) -> Loan<'_> {
        let lost = Arc::new(Notify::new());
        let waiting = Waiting { since: Instant::now(), slot, lost: Arc::clone(&lost) };
        let mut lent = self.lock();
        lent.last += 1;
        let number = lent.last;
        lent.waiting.insert(number, waiting);
        Loan { slots: self, number, lost }
    }

    fn lock(&self) -> MutexGuard<'_, Lent> {
        self.lent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place that another request may take; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Loan<'s> {
    slots: &'s Slots,
    number: u64,
    lost: Arc<Notify>,
}

impl Loan<'_> {
    /// Resolves when another request has taken the place.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// The place for good, if nobody has taken it.
    pub(super) fn keep(self) -> Option<Slot> {
        self.slots.lock().waiting.remove(&self.number).map(|waiting| waiting.slot)
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.slots.lock().waiting.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_slowest_body_loses_its_place_to_who_needs_it() {
        let slots = Slots::new(2, Duration::ZERO);
        let first = slots.lend(slots.take().expect("free"));
        let second = slots.lend(slots.take().expect("free"));
        let taken = slots.take().expect("taken from the first");
        first.lost().await;
        assert!(first.keep().is_none());
        let kept = second.keep().expect("nobody has taken it");
        assert!(slots.take().is_none(), "both are being answered");
        drop((taken, kept));
        assert_eq!(slots.free(), 2);
    }

    #[tokio::test]
    async fn a_body_has_its_time() {
        let slots = Slots::new(1, Duration::from_secs(3600));
        let loan = slots.lend(slots.take().expect("free"));
        assert!(slots.take().is_none());
        drop(loan);
        assert_eq!(slots.free(), 1, "a request that ends while it waits");
    }
}
