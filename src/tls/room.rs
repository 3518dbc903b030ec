//! Who is connected, and who has to go when there is no room for one more.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::metrics::{ConnectionCounts, OpenConnection};

/// The places for connections.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    guests: Mutex<HashMap<u64, Arc<Guest>>>,
    counts: ConnectionCounts,
    /// Where the guests' clocks begin.
    opened: Instant,
}

impl Room {
    pub(super) fn new(places: usize, counts: ConnectionCounts) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(places)),
            guests: Mutex::default(),
            counts,
            opened: Instant::now(),
        })
    }

    /// Waits for a place. As long as there is none, connections are asked to leave that have idled for `settled`, one at a
    /// time. `None` if the places are gone for good, which nobody does.
    pub(super) async fn place(&self, settled: Duration) -> Option<OwnedSemaphorePermit> {
        loop {
            if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
                return Some(place);
            }
            self.make_room(settled);
            // Somebody may leave without being asked, and somebody who was busy now may idle a moment later.
            let free = Arc::clone(&self.places).acquire_owned();
            if let Ok(place) = tokio::time::timeout(settled.max(Duration::from_millis(1)), free).await {
                return place.ok();
            }
        }
    }

    /// Asks one connection to leave: of the peer with the most connections, the one that has idled for longest. A scanner that
    /// takes all places so loses its own; an API server, which keeps 25 idle ones, loses none to somebody who holds more.
    pub(super) fn make_room(&self, settled: Duration) {
        let guests = self.lock();
        let mut by_peer: HashMap<IpAddr, usize> = HashMap::new();
        for guest in guests.values() {
            *by_peer.entry(guest.peer).or_default() += 1;
        }
        let staying = guests.values().filter(|guest| !guest.leaving.load(Ordering::Relaxed));
        let now = milliseconds_since(self.opened);
        let settled = u64::try_from(settled.as_millis()).unwrap_or(u64::MAX);
        let longest = staying
            .filter_map(|guest| Some((guest, guest.idle_since()?)))
            .filter(|(_, since)| now.saturating_sub(*since) >= settled)
            .max_by_key(|(guest, since)| (by_peer.get(&guest.peer).copied(), Reverse(*since)));
        if let Some((guest, since)) = longest {
            let idle_ms = now.saturating_sub(since);
            tracing::debug!(peer = %guest.peer, idle_ms, "closing an idle connection to make room for another");
            self.counts.made_room.inc();
            guest.leaving.store(true, Ordering::Relaxed);
            guest.leave.notify_one();
        }
    }

    /// Gives a connection its place.
    pub(super) fn admit(self: &Arc<Self>, number: u64, peer: IpAddr, place: OwnedSemaphorePermit) -> Stay {
        let guest = Arc::new(Guest {
            peer: peer.to_canonical(),
            busy: AtomicU32::new(0),
            opened: self.opened,
            idle_since: AtomicU64::new(milliseconds_since(self.opened)),
            leaving: AtomicBool::new(false),
            leave: Notify::new(),
        });
        self.lock().insert(number, Arc::clone(&guest));
        let open = self.counts.enter();
        Stay { room: Arc::clone(self), guest, number, _place: place, _open: open }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Guest>>> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn milliseconds_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// One connection as the room sees it.
#[derive(Debug)]
struct Guest {
    peer: IpAddr,
    /// Where its clock begins.
    opened: Instant,
    /// Requests being answered; several at a time with HTTP/2.
    busy: AtomicU32,
    /// When the last answer was ready, else when it came, in milliseconds since `opened`. A handshake and a head that is still
    /// arriving count as idling.
    idle_since: AtomicU64,
    leaving: AtomicBool,
    leave: Notify,
}

impl Guest {
    /// `None` while a request is answered.
    fn idle_since(&self) -> Option<u64> {
        (self.busy.load(Ordering::Acquire) == 0).then(|| self.idle_since.load(Ordering::Acquire))
    }
}

/// A connection's stay in the room; dropping it makes the place free.
#[derive(Debug)]
pub(super) struct Stay {
    room: Arc<Room>,
    guest: Arc<Guest>,
    number: u64,
    _place: OwnedSemaphorePermit,
    _open: OpenConnection,
}

impl Stay {
    /// Resolves when the connection has to make room for another.
    pub(super) async fn asked_to_leave(&self) {
        self.guest.leave.notified().await;
    }

    /// Resolves when no request has been answered for `limit`.
    pub(super) async fn overstayed(&self, limit: Duration) {
        loop {
            let idle = self.guest.idle_since().map_or(Duration::ZERO, |since| {
                Duration::from_millis(milliseconds_since(self.guest.opened).saturating_sub(since))
            });
            match limit.checked_sub(idle) {
                Some(rest) if !rest.is_zero() => tokio::time::sleep(rest).await,
                _ => return,
            }
        }
    }

    /// Marks a request as being answered, until the returned value is dropped.
    pub(super) fn busy(&self) -> Busy {
        self.guest.busy.fetch_add(1, Ordering::AcqRel);
        Busy(Arc::clone(&self.guest))
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        self.room.lock().remove(&self.number);
    }
}

/// A request being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Guest>);

impl Drop for Busy {
    fn drop(&mut self) {
        // In this order: somebody who sees that nothing is being answered must not see the time before the answer.
        self.0.idle_since.store(milliseconds_since(self.0.opened), Ordering::Release);
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT_ONCE: Duration = Duration::ZERO;

    fn peer(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    async fn enter(room: &Arc<Room>, number: u64, last: u8) -> Stay {
        let place = room.place(AT_ONCE).await.expect("a place");
        room.admit(number, peer(last), place)
    }

    fn leaving(stay: &Stay) -> bool {
        stay.guest.leaving.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn the_peer_with_the_most_connections_loses_the_one_that_idles_for_longest() {
        let room = Room::new(10, ConnectionCounts::default());
        let few = [enter(&room, 1, 1).await, enter(&room, 2, 1).await];
        let many = [enter(&room, 3, 2).await, enter(&room, 4, 2).await, enter(&room, 5, 2).await];
        // What was used last goes last, however early it came.
        for (stay, idle_since) in few.iter().chain(&many).zip([0, 1, 8, 3, 5]) {
            stay.guest.idle_since.store(idle_since, Ordering::Relaxed);
        }
        room.make_room(AT_ONCE);
        assert_eq!(many.iter().map(leaving).collect::<Vec<_>>(), [false, true, false]);
        many[1].asked_to_leave().await;
        room.make_room(AT_ONCE);
        assert_eq!(many.iter().map(leaving).collect::<Vec<_>>(), [false, true, true]);
        assert!(!few.iter().any(leaving));
        assert_eq!((room.counts.made_room.get(), room.counts.open.get()), (2, 5));
    }

    #[tokio::test]
    async fn whoever_is_answered_or_has_just_come_stays() {
        let room = Room::new(2, ConnectionCounts::default());
        let (answered, fresh) = (enter(&room, 1, 1).await, enter(&room, 2, 1).await);
        let busy = [answered.busy(), answered.busy()];
        assert_eq!(answered.guest.idle_since(), None);
        room.make_room(Duration::from_secs(3600));
        assert!(!leaving(&answered) && !leaving(&fresh));
        room.make_room(AT_ONCE);
        assert!(!leaving(&answered) && leaving(&fresh));
        drop(busy);
        room.make_room(AT_ONCE);
        assert!(leaving(&answered), "its requests have been answered");
    }

    #[tokio::test]
    async fn a_place_that_somebody_leaves_is_free() {
        let room = Room::new(1, ConnectionCounts::default());
        let first = enter(&room, 1, 1).await;
        let busy = first.busy();
        let second = tokio::spawn({
            let room = Arc::clone(&room);
            async move { enter(&room, 2, 2).await.number }
        });
        drop(busy);
        first.asked_to_leave().await;
        drop(first);
        assert_eq!(second.await.expect("no panic"), 2);
        assert_eq!(room.counts.open.get(), 0);
    }
}
