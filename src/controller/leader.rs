//! Leader election by Lease, as client-go does it: nobody compares the clocks of two machines, and a former leader knows by its
//! own clock that its time is over before another one can take the Lease.
//!
//! Rule: C-CTL-16. Decision: D-35.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};

use crate::clock::since_1970;

/// The times of an election.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// How long others wait after they last saw the leader renew.
    pub lease: Duration,
    /// How long a leader may write after it last renewed: shorter than `lease`, by the time that a write may be under way.
    pub renew_deadline: Duration,
    /// Pause between two attempts to take or renew.
    pub retry: Duration,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_deadline: Duration::from_secs(10),
            retry: Duration::from_secs(2),
        }
    }
}

/// Until when this process may write. A process that was stopped and goes on finds its time over at its next write.
///
/// Told by both clocks: the steady one stands still while the machine is suspended, the other one may be set.
#[derive(Debug)]
pub struct Leadership {
    epoch: Instant,
    /// Milliseconds after `epoch`; 0 means that we do not lead.
    until: AtomicU64,
    /// Milliseconds since 1970.
    until_unix: AtomicU64,
}

/// This process does not lead any more, or not yet: it must not write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the Lease")]
pub struct NotLeading;

impl Default for Leadership {
    fn default() -> Self {
        Self { epoch: Instant::now(), until: AtomicU64::new(0), until_unix: AtomicU64::new(0) }
    }
}

impl Leadership {
    /// Asked directly before every write.
    ///
    /// # Errors
    ///
    /// The Lease was not renewed in time.
    pub fn check(&self) -> Result<(), NotLeading> {
        self.until().map(drop)
    }

    /// The moment after which nothing more may be written, unless the Lease is renewed before.
    ///
    /// # Errors
    ///
    /// It has passed.
    pub fn until(&self) -> Result<Instant, NotLeading> {
        let holds = self.holds_at(Instant::now(), unix_millis());
        holds
            .then(|| self.epoch + Duration::from_millis(self.until.load(Ordering::Acquire)))
            .ok_or(NotLeading)
    }

    /// Whether this process may write when the clocks say so.
    fn holds_at(&self, now: Instant, unix: u64) -> bool {
        self.millis(now) < self.until.load(Ordering::Acquire)
            && unix < self.until_unix.load(Ordering::Acquire)
    }

    pub(super) fn extend(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        self.until_unix.store(unix_millis().saturating_add(left), Ordering::Release);
        self.until.store(self.millis(until), Ordering::Release);
    }

    pub(super) fn end(&self) {
        self.until.store(0, Ordering::Release);
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

fn unix_millis() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// What is known about the Lease from looking at it again and again.
#[derive(Debug, Default)]
struct Observed {
    /// The Lease as it was last seen to change, and when that was by our clock.
    last: Option<(LeaseSpec, Instant)>,
}

impl Observed {
    /// Whether `holder` had the Lease when it was last read.
    fn is_held_by(&self, holder: &str) -> bool {
        self.last.as_ref().is_some_and(|(spec, _)| spec.holder_identity.as_deref() == Some(holder))
    }

    /// Whether `me` may take or renew a Lease that looks like `spec` now: it is ours or nobody's, or its holder has not renewed it
    /// for as long as it promised to, since we look.
    fn may_take(&mut self, spec: &LeaseSpec, me: &str, now: Instant) -> bool {
        let since = match &self.last {
            Some((seen, since)) if seen == spec => *since,
            _ => {
                self.last = Some((spec.clone(), now));
                now
            }
        };
        let holder = spec.holder_identity.as_deref().unwrap_or_default();
        let promised = u64::try_from(spec.lease_duration_seconds.unwrap_or_default()).unwrap_or_default();
        holder.is_empty() || holder == me || now.duration_since(since) >= Duration::from_secs(promised)
    }
}

/// The Lease after `me` has taken or renewed it at `now`.
fn taken(old: &LeaseSpec, me: &str, lease: Duration, now: Timestamp) -> LeaseSpec {
    let renews = old.holder_identity.as_deref() == Some(me);
    let transitions = old.lease_transitions.unwrap_or_default();
    LeaseSpec {
        holder_identity: Some(me.to_owned()),
        lease_duration_seconds: i32::try_from(lease.as_secs()).ok(),
        renew_time: Some(MicroTime(now)),
        acquire_time: if renews { old.acquire_time.clone() } else { Some(MicroTime(now)) },
        lease_transitions: Some(if renews { transitions } else { transitions.saturating_add(1) }),
        ..old.clone()
    }
}

/// One candidate for one Lease.
pub struct Candidate {
    leases: Api<Lease>,
    name: String,
    me: String,
    terms: Terms,
    observed: Observed,
}

impl Candidate {
    /// A candidate called `me`, which has to be different in every process, for the Lease `namespace/name`.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str, me: &str, terms: Terms) -> Self {
        let leases = Api::namespaced(client, namespace);
        Self { leases, name: name.to_owned(), me: me.to_owned(), terms, observed: Observed::default() }
    }

    /// Waits until this process leads.
    pub async fn win(&mut self, leadership: &Leadership) {
        loop {
            match self.attempt(leadership).await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::warn!(%error, lease = self.name, "cannot read or write the Lease"),
            }
            tokio::time::sleep(self.terms.retry).await;
        }
    }

    /// Renews until that is too late or another one leads.
    pub async fn keep(&mut self, leadership: &Leadership) {
        loop {
            tokio::time::sleep(self.terms.retry).await;
            match self.attempt(leadership).await {
                Ok(false) if !self.observed.is_held_by(&self.me) => break,
                // Also of a conflict with somebody who only put an annotation on it: the next attempt reads again.
                Ok(_) => {}
                Err(error) => tracing::warn!(%error, lease = self.name, "cannot renew the Lease"),
            }
            if leadership.check().is_err() {
                break;
            }
        }
        leadership.end();
    }

    /// Gives the Lease back, so that the next leader need not wait for its end. Nothing is written after that.
    pub async fn release(&mut self, leadership: &Leadership) {
        if leadership.check().is_err() {
            return;
        }
        leadership.end();
        let Ok(Some(mut lease)) = self.leases.get_opt(&self.name).await else { return };
        match &mut lease.spec {
            Some(spec) if spec.holder_identity.as_deref() == Some(&self.me) => {
                spec.holder_identity = Some(String::new());
                spec.lease_duration_seconds = Some(1);
            }
            _ => return,
        }
        if let Err(error) = self.leases.replace(&self.name, &PostParams::default(), &lease).await {
            tracing::warn!(%error, lease = self.name, "cannot give the Lease back; the next leader waits for its end");
        }
    }

    /// Takes or renews the Lease if that is allowed. A conflict means that another one was faster.
    async fn attempt(&mut self, leadership: &Leadership) -> Result<bool, kube::Error> {
        let started = Instant::now();
        // A call that hangs must not keep us from noticing that our time is over.
        let limit = self.terms.renew_deadline / 2;
        let written = match tokio::time::timeout(limit, self.write()).await {
            Ok(written) => written?,
            Err(_elapsed) => return Ok(leadership.check().is_ok()),
        };
        if written {
            // From before the call: when the others started to wait is not known, but not earlier than this.
            leadership.extend(started + self.terms.renew_deadline);
        }
        Ok(written)
    }

    async fn write(&mut self) -> Result<bool, kube::Error> {
        let Some(mut lease) = self.leases.get_opt(&self.name).await? else {
            let spec = taken(&LeaseSpec::default(), &self.me, self.terms.lease, Timestamp::now());
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, spec: Some(spec) };
            return unless_conflict(self.leases.create(&PostParams::default(), &lease).await);
        };
        let spec = lease.spec.take().unwrap_or_default();
        // The time of others begins when we have seen their Lease, not when we asked for it.
        if !self.observed.may_take(&spec, &self.me, Instant::now()) {
            return Ok(false);
        }
        lease.spec = Some(taken(&spec, &self.me, self.terms.lease, Timestamp::now()));
        // With the resourceVersion that was read: of two that try, one gets a conflict.
        unless_conflict(self.leases.replace(&self.name, &PostParams::default(), &lease).await)
    }
}

fn unless_conflict(result: Result<Lease, kube::Error>) -> Result<bool, kube::Error> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(15);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("a time")
    }

    #[test]
    fn a_lease_of_another_is_taken_when_it_was_not_renewed_for_its_time() {
        let start = Instant::now();
        let mut observed = Observed::default();
        let first = taken(&LeaseSpec::default(), "a", LEASE, at(100));
        assert!(!observed.may_take(&first, "b", start), "never at first sight, whatever its renewTime says");
        assert!(!observed.may_take(&first, "b", start + Duration::from_secs(14)));
        let renewed = taken(&first, "a", LEASE, at(114));
        assert!(!observed.may_take(&renewed, "b", start + Duration::from_secs(15)), "it was renewed");
        assert!(!observed.may_take(&renewed, "b", start + Duration::from_secs(29)));
        assert!(observed.may_take(&renewed, "b", start + Duration::from_secs(30)));
        assert!(observed.may_take(&renewed, "a", start + Duration::from_secs(16)), "its own at any time");
    }

    #[test]
    fn a_lease_of_nobody_is_taken_at_once() {
        let released = LeaseSpec { holder_identity: Some(String::new()), ..LeaseSpec::default() };
        assert!(Observed::default().may_take(&released, "b", Instant::now()));
        assert!(Observed::default().may_take(&LeaseSpec::default(), "b", Instant::now()));
    }

    #[test]
    fn transitions_count_leaders_and_not_renewals() {
        let first = taken(&LeaseSpec::default(), "a", LEASE, at(100));
        let renewed = taken(&first, "a", LEASE, at(102));
        assert_eq!((renewed.lease_transitions, renewed.acquire_time), (Some(1), Some(MicroTime(at(100)))));
        assert_eq!(renewed.renew_time, Some(MicroTime(at(102))));
        let next = taken(&first, "b", LEASE, at(130));
        assert_eq!((next.lease_transitions, next.acquire_time), (Some(2), Some(MicroTime(at(130)))));
    }

    #[test]
    fn leadership_ends_by_itself() {
        let leadership = Leadership::default();
        assert_eq!(leadership.check(), Err(NotLeading));
        let (now, unix) = (Instant::now(), unix_millis());
        leadership.extend(now + Duration::from_secs(10));
        assert!(leadership.holds_at(now + Duration::from_secs(9), unix + 9_000));
        assert!(
            !leadership.holds_at(now + Duration::from_secs(10), unix),
            "a process that slept that long must not write"
        );
        assert!(!leadership.holds_at(now, unix + 11_000), "nor one on a machine that was suspended");
        assert!(leadership.until().is_ok());
        leadership.end();
        assert!(!leadership.holds_at(now, unix));
    }
}
