//! Counts the Pods of each owner for the `Partial` draw, in bounded memory.

use std::sync::{Mutex, PoisonError};

use rustc_hash::FxHashMap;
use sidecarset_core::context::Draw;

/// Number of independently locked parts; admissions run on few threads, so a handful is enough.
const SHARDS: usize = 16;

/// Counters by key, shared by all admissions of this process.
///
/// Memory is bounded: each shard holds two generations of at most `capacity` keys. When the young one is full it becomes
/// the old one and the previous old one is forgotten, so what goes is what was not drawn from for longest. A forgotten
/// owner starts again at 0, which keeps its share right and only restarts its sequence.
///
/// Decision: D-25.
#[derive(Debug)]
pub struct CountingDraw {
    shards: [Mutex<Shard>; SHARDS],
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shard {
    young: FxHashMap<u64, u64>,
    old: FxHashMap<u64, u64>,
}

impl CountingDraw {
    /// A draw that remembers at least `keys` keys (rounded up to whole shards).
    #[must_use]
    pub fn new(keys: usize) -> Self {
        Self { shards: Default::default(), capacity: keys.div_ceil(SHARDS).max(1) }
    }
}

impl Default for CountingDraw {
    /// Remembers 32,768 owners: about 2 MB when full.
    fn default() -> Self {
        Self::new(32_768)
    }
}

impl Draw for CountingDraw {
    fn next_index(&self, key: u64) -> u64 {
        // The key is a hash: its upper bits pick the shard, the map's own hash uses the rest.
        let shard = usize::try_from(key >> 60).unwrap_or_default() % SHARDS;
        let Some(shard) = self.shards.get(shard) else { return 0 };
        // A panic elsewhere cannot leave a counter half written, so a poisoned lock is still good.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = shard.young.get_mut(&key) {
            let index = *count;
            *count += 1;
            return index;
        }
        let index = shard.old.remove(&key).unwrap_or_default();
        if shard.young.len() >= self.capacity {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(key, index + 1);
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_each_key_for_itself() {
        let draw = CountingDraw::default();
        assert_eq!(
            [draw.next_index(7), draw.next_index(7), draw.next_index(8), draw.next_index(7)],
            [0, 1, 0, 2]
        );
    }

    #[test]
    fn memory_is_bounded_and_a_key_in_use_survives() {
        let draw = CountingDraw::new(SHARDS * 4);
        for round in 0..1000 {
            assert_eq!(draw.next_index(1), round, "drawn from all the time, never forgotten");
            draw.next_index(100 + round);
        }
        let held: usize = draw
            .shards
            .iter()
            .map(|shard| shard.lock().map(|s| s.young.len() + s.old.len()).expect("not poisoned"))
            .sum();
        assert!(held <= 8, "held {held} keys");
    }
}
