//! Places for requests in flight and memory for their bodies. A request that waits for its body is only lent both.
//!
//! Otherwise a client that announces bodies and does not send them would hold all places for ten seconds each, one that sends most of
//! large bodies all the memory, and an API server would be told to come again later.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// A place, until it is dropped.
pub(super) type Slot = OwnedSemaphorePermit;

/// How many bytes of a body come with its request's place and are not counted. So reviews of usual Pods take no memory that others
/// could have used up, and cost no accounting; `in_flight` times this is what they take at most.
pub(super) const WITH_PLACE: usize = 32 << 10;

/// The step in which the memory of a larger body grows, in bytes.
const STEP: usize = 64 << 10;

/// All places, and all memory.
#[derive(Debug)]
pub(super) struct Slots {
    free: Arc<Semaphore>,
    book: Mutex<Book>,
    /// Bytes for bodies, beyond [`WITH_PLACE`] of each.
    bytes: usize,
    /// How long a body may be on its way before another request may take its place or its memory.
    patience: Duration,
    /// Shows how many of `bytes` are taken.
    taken: Gauge,
}

#[derive(Debug)]
struct Book {
    free_bytes: usize,
    /// By number, so the first is the one that has waited for longest.
    waiting: BTreeMap<u64, Waiting>,
    last: u64,
}

/// A request whose body is on its way.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// What is taken of [`Slots::bytes`]. Counted as it comes: what is only announced costs nothing.
    bytes: usize,
    slot: Slot,
    lost: Arc<Notify>,
}

/// Why a body gets no more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoRoom {
    /// All of it is taken.
    Spent,
    /// Another request has taken what this one was lent.
    Lost,
}

impl Slots {
    /// `count` places and `bytes` for bodies. `taken` shows how many of those bytes are in use.
    pub(super) fn new(count: usize, bytes: usize, patience: Duration, taken: Gauge) -> Arc<Self> {
        let book = Book { free_bytes: bytes, waiting: BTreeMap::new(), last: 0 };
        Arc::new(Self {
            free: Arc::new(Semaphore::new(count)),
            book: Mutex::new(book),
            bytes,
            patience,
            taken,
        })
    }

    /// How many are free.
    pub(super) fn free(&self) -> usize {
        self.free.available_permits()
    }

    /// How long a body may be on its way before another request may take what it was lent.
    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// A place: a free one, else the one of the request that waits for its body for longest, if it has used up our patience.
    pub(super) fn take(&self) -> Option<Slot> {
        Arc::clone(&self.free).try_acquire_owned().ok().or_else(|| self.take_back())
    }

    fn take_back(&self) -> Option<Slot> {
        let mut book = self.lock();
        let (number, _) = self.late(&book).next()?;
        self.evict(&mut book, number)
    }

    /// Those that have used up our patience, the one that has waited for longest first.
    fn late<'b>(&self, book: &'b Book) -> impl Iterator<Item = (u64, &'b Waiting)> + use<'b> {
        let (now, patience) = (Instant::now(), self.patience);
        let late = move |waiting: &Waiting| now.saturating_duration_since(waiting.since) >= patience;
        book.waiting.iter().map(|(number, waiting)| (*number, waiting)).take_while(move |(_, w)| late(w))
    }

    /// Ends a request that waits; its place is returned, its memory is free.
    fn evict(&self, book: &mut Book, number: u64) -> Option<Slot> {
        let Waiting { bytes, slot, lost, .. } = book.waiting.remove(&number)?;
        self.give_back(book, bytes);
        lost.notify_one();
        Some(slot)
    }

    fn give_back(&self, book: &mut Book, bytes: usize) {
        book.free_bytes += bytes;
        self.show(book);
    }

    /// Gives a place to a request that waits for its body.
    pub(super) fn lend(self: &Arc<Self>, slot: Slot) -> Loan<'_> {
        let lost = Arc::new(Notify::new());
        let waiting = Waiting { since: Instant::now(), bytes: 0, slot, lost: Arc::clone(&lost) };
        let mut book = self.lock();
        book.last += 1;
        let number = book.last;
        book.waiting.insert(number, waiting);
        Loan { slots: self, number, lost }
    }

    /// Makes `bytes` free, at the cost of the other requests than `own` that wait for their bodies. Whether there are so many.
    fn make_free(&self, book: &mut Book, bytes: usize, own: Option<u64>) -> bool {
        while book.free_bytes < bytes {
            let holds = |(number, waiting): &(u64, &Waiting)| Some(*number) != own && waiting.bytes > 0;
            let Some((number, _)) = self.late(book).find(holds) else { return false };
            // Its memory is free a moment later, when its task has been told.
            drop(self.evict(book, number));
        }
        true
    }

    /// Memory for `bytes` that a request needs besides the `own` ones that it has, but never more than there would be if nobody else had
    /// any: who is alone is always answered. `None` if it is taken.
    pub(super) fn hold(self: &Arc<Self>, bytes: usize, own: usize) -> Option<Share> {
        let bytes = bytes.min(self.bytes.saturating_sub(own));
        let mut book = self.lock();
        if !self.make_free(&mut book, bytes, None) {
            return None;
        }
        book.free_bytes -= bytes;
        self.show(&book);
        Some(Share { slots: Arc::clone(self), bytes })
    }

    fn show(&self, book: &Book) {
        self.taken.set(i64::try_from(self.bytes.saturating_sub(book.free_bytes)).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What counts of a body of `length` bytes.
pub(super) fn counted(length: usize) -> usize {
    length.saturating_sub(WITH_PLACE).next_multiple_of(STEP)
}

/// A place that another request may take, with the memory of the body so far; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Loan<'s> {
    slots: &'s Arc<Slots>,
    number: u64,
    lost: Arc<Notify>,
}

impl Loan<'_> {
    /// Takes the memory for a body that is now `length` bytes long. If it is spent, from the request that waits for its body for longest and
    /// has used up our patience.
    ///
    /// # Errors
    ///
    /// Nothing is free, or this loan was lost.
    pub(super) fn grow_to(&self, length: usize) -> Result<(), NoRoom> {
        if length <= WITH_PLACE {
            return Ok(());
        }
        let mut book = self.slots.lock();
        let had = book.waiting.get(&self.number).ok_or(NoRoom::Lost)?.bytes;
        // A body never needs more than all there is, however it is rounded.
        let more = counted(length).min(self.slots.bytes).saturating_sub(had);
        if !self.slots.make_free(&mut book, more, Some(self.number)) {
            return Err(NoRoom::Spent);
        }
        book.waiting.get_mut(&self.number).ok_or(NoRoom::Lost)?.bytes += more;
        book.free_bytes -= more;
        self.slots.show(&book);
        Ok(())
    }

    /// Gives the memory back.
    pub(super) fn shrink(&self) {
        let mut book = self.slots.lock();
        let had = book.waiting.get_mut(&self.number).map(|waiting| std::mem::take(&mut waiting.bytes));
        self.slots.give_back(&mut book, had.unwrap_or_default());
    }

    /// Resolves when another request has taken the place or the memory.
    pub(super) async fn lost(&self) {
        self.lost.notified().await;
    }

    /// The place for good, and the memory if there is any, unless somebody has taken them.
    pub(super) fn keep(self) -> Option<(Slot, Option<Share>)> {
        let Waiting { bytes, slot, .. } = self.slots.lock().waiting.remove(&self.number)?;
        let share = (bytes > 0).then(|| Share { slots: Arc::clone(self.slots), bytes });
        Some((slot, share))
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let mut book = self.slots.lock();
        if let Some(Waiting { bytes, .. }) = book.waiting.remove(&self.number) {
            self.slots.give_back(&mut book, bytes);
        }
    }
}

/// Memory of a body that has arrived, or of its answer; free again when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    slots: Arc<Slots>,
    bytes: usize,
}

impl Share {
    /// How much it is.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.slots.give_back(&mut self.slots.lock(), self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENT: Duration = Duration::from_secs(3600);

    fn mk_slots(count: usize, bytes: usize, patience: Duration) -> Arc<Slots> {
        Slots::new(count, bytes, patience, Gauge::default())
    }

    fn lend(slots: &Arc<Slots>) -> Loan<'_> {
        slots.lend(slots.take().expect("free"))
    }

    /// The length of a body that counts `steps` steps.
    fn long(steps: usize) -> usize {
        WITH_PLACE + steps * STEP
    }

    #[tokio::test]
    async fn the_slowest_body_loses_its_place_to_who_needs_it() {
        let slots = mk_slots(2, 0, Duration::ZERO);
        let first = lend(&slots);
        let second = lend(&slots);
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
        let slots = mk_slots(1, 0, PATIENT);
        let loan = lend(&slots);
        assert!(slots.take().is_none());
        drop(loan);
        assert_eq!(slots.free(), 1, "a request that ends while it waits");
    }

    #[test]
    fn memory_is_counted_in_steps_beyond_what_comes_with_the_place() {
        for (length, steps) in [(0, 0), (WITH_PLACE, 0), (WITH_PLACE + 1, 1), (long(1), 1), (long(1) + 1, 2)]
        {
            assert_eq!(counted(length), steps * STEP, "{length}");
        }
    }

    #[test]
    fn memory_is_free_again_however_the_request_ends() {
        let slots = mk_slots(3, 5 * STEP, PATIENT);
        let (first, second, third) = (lend(&slots), lend(&slots), lend(&slots));
        first.grow_to(long(2)).expect("free");
        first.grow_to(long(1)).expect("it has that");
        second.grow_to(long(3)).expect("free");
        third.grow_to(WITH_PLACE).expect("comes with the place");
        assert_eq!((third.grow_to(WITH_PLACE + 1), slots.taken.get()), (Err(NoRoom::Spent), 5 * STEP as i64));
        second.shrink();
        assert_eq!(slots.taken.get(), 2 * STEP as i64, "it is refused");
        second.grow_to(long(3)).expect("free");
        drop(second);
        assert_eq!(slots.taken.get(), 2 * STEP as i64, "it ended while it waited");
        let (slot, share) = first.keep().expect("nobody has taken it");
        drop(slot);
        assert_eq!(slots.taken.get(), 2 * STEP as i64, "the body is still there");
        drop(share);
        let (_slot, share) = third.keep().expect("nobody has taken it");
        assert!(share.is_none());
        assert_eq!(slots.taken.get(), 0);
    }

    #[tokio::test]
    async fn the_slowest_large_body_loses_its_memory_to_who_needs_it() {
        let slots = mk_slots(4, 3 * STEP, Duration::ZERO);
        let (small, slow, fast) = (lend(&slots), lend(&slots), lend(&slots));
        slow.grow_to(long(2)).expect("free");
        fast.grow_to(long(1)).expect("free");
        fast.grow_to(long(3)).expect("taken from the slow one");
        slow.lost().await;
        assert_eq!(slow.grow_to(long(3)), Err(NoRoom::Lost));
        assert!(slow.keep().is_none());
        assert_eq!((slots.taken.get(), slots.free()), (3 * STEP as i64, 2));
        assert!(small.keep().is_some(), "it has no memory that somebody could use");
        let (_slot, share) = fast.keep().expect("nobody has taken it");
        assert_eq!(lend(&slots).grow_to(long(1)), Err(NoRoom::Spent), "what has arrived is answered");
        drop(share);
        lend(&slots).grow_to(long(1)).expect("free again");
    }

    #[test]
    fn a_fresh_body_keeps_its_memory() {
        let slots = mk_slots(2, STEP, PATIENT);
        let (first, second) = (lend(&slots), lend(&slots));
        first.grow_to(long(1)).expect("free");
        assert_eq!(second.grow_to(long(1)), Err(NoRoom::Spent));
        assert!(first.keep().is_some());
    }

    /// However small the memory is: whoever is alone gets what it needs.
    #[test]
    fn who_is_alone_has_room_enough() {
        let slots = mk_slots(2, 3 * STEP, PATIENT);
        let alone = lend(&slots);
        alone.grow_to(long(7)).expect("all there is is enough");
        let kept = alone.keep().expect("nobody has taken it");
        let answer =
            slots.hold(9 * STEP, counted(long(7))).expect("nothing is left, and nothing more needed");
        assert!(slots.hold(1, 0).is_none(), "somebody else has to wait");
        drop((kept, answer));
        let (_, _body) = {
            let loan = lend(&slots);
            loan.grow_to(long(1)).expect("free");
            loan.keep().expect("nobody has taken it")
        };
        let answer = slots.hold(9 * STEP, counted(long(1))).expect("the rest");
        assert_eq!(slots.taken.get(), 3 * STEP as i64);
        drop(answer);
        assert_eq!(slots.taken.get(), STEP as i64);
    }
}
