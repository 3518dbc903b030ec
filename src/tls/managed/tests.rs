//! The state machine: its steps one by one, and the law for every interleaving that can be drawn.

mod laws;
mod table;

use std::time::Duration;

use super::Timing;
use super::contents::Contents;
use super::replica::{Next, Replica, Step};
use super::spread::{Bundle, Seen};

const SETTLE: Duration = Duration::from_secs(60);
const HOST: &str = "hook.system.svc";
const DAY: i64 = 24 * 3600;
/// 22 November 2026.
const NOW: i64 = 1_795_305_600;

fn mk_replica() -> Replica {
    Replica::new(vec![HOST.to_owned()], Timing { settle: SETTLE, jitter: 0 }, 1)
}

/// What a replica does next; panics if it waits.
#[track_caller]
fn step(replica: &Replica, now: i64, at: Duration) -> Step {
    match replica.next(now, at) {
        Next::Write { step, .. } => step,
        Next::Wait(wait) => panic!("it waits {wait:?}"),
    }
}

fn bundle_of(contents: &Contents) -> Bundle {
    Bundle { cas: contents.cas().cloned().collect(), unreadable: false }
}

/// The object holds exactly what the Secret wants.
fn published(contents: &Contents) -> Seen {
    Seen::Present(vec![bundle_of(contents)])
}
