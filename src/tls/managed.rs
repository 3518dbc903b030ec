//! Certificates that the replicas of a webhook manage together, without a leader: a CA and a leaf in one Secret, the CA in the
//! `caBundle` of everything that makes an API server call us.
//!
//! Nothing here calls anybody: what a replica has seen goes in, what it should do next comes out.
//!
//! ```text
//!  settled ── a new CA beside the old one ──► publishing ── the new CA is everywhere: a leaf of it ──► retiring ── the old CA goes ──► settled
//! ```
//!
//! The stage is not stored: it is what the Secret holds. A leaf of an older CA means publishing, an older CA beside that of the
//! leaf means retiring. So a replica may end at any point and another goes on from there. Waiting is measured by each
//! replica with a clock that never jumps, from the moment at which it has seen something itself; whoever has waited long enough first
//! takes the step, with the Secret's version as precondition.
//!
//! **Law:** a leaf is served only while its CA is in every bundle that an API server may still hold.

pub mod authority;
pub mod contents;
pub mod replica;
pub mod spread;
mod steps;
#[cfg(test)]
mod tests;

use std::time::Duration;

/// How long an API server may go on using a `caBundle` after its object has changed. It follows these objects by a watch, usually
/// within milliseconds; a minute is for one that is busy, has just lost its connection to etcd, or restarts.
pub const DEFAULT_SETTLE: Duration = Duration::from_secs(60);

/// An old CA goes after this many times the settling time from the moment at which no leaf of it is in the Secret any more. Until then
/// every replica must have taken the new leaf; with the default it is longer than the four minutes after which a
/// replica asks again for what a watch may have missed.
const RETIRE_AFTER: u32 = 6;

/// Replicas do not renew at the same second: each waits up to this long after the certificate is due.
const SPREAD_OF_RENEWALS: i64 = 3600;

/// How long things take.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long an API server may go on using a `caBundle` after its object has changed.
    pub settle: Duration,
    /// What this replica waits after a certificate is due, in seconds.
    pub jitter: i64,
}

impl Timing {
    /// `replica` is the name of this one, which decides how long it waits with renewals.
    #[must_use]
    pub fn new(settle: Duration, replica: &str) -> Self {
        // FNV-1a: well spread for short names, the same in every version of the program.
        let hash = replica.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let jitter = hash.checked_rem(SPREAD_OF_RENEWALS.unsigned_abs()).unwrap_or_default();
        Self { settle, jitter: i64::try_from(jitter).unwrap_or_default() }
    }

    /// How long an old CA stays after the last leaf of it.
    #[must_use]
    pub fn retire(self) -> Duration {
        self.settle.saturating_mul(RETIRE_AFTER)
    }
}

/// The names by which an API server, and who else is in the cluster, calls a Service.
#[must_use]
pub fn hosts_of_service(service: &str, namespace: &str) -> Vec<String> {
    let base = format!("{service}.{namespace}");
    vec![format!("{base}.svc"), format!("{base}.svc.cluster.local"), base]
}
