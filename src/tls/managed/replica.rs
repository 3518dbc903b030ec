//! One replica: what it has seen, what it serves, and what it should do next.

use std::time::Duration;

use super::Timing;
use super::authority::{CaCertificate, Leaf};
use super::contents::{Contents, Stage};
use super::spread::{Seen, Spread};
use super::steps::Facts;
pub use super::steps::Step;
use crate::tls::issue::Validity;
use crate::tls::source::{CertificateError, ServingPair};

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Write the Secret.
    Write {
        /// How.
        step: Step,
        /// Why, for the log.
        because: String,
    },
    /// Nothing, before so long or until something is seen.
    Wait(Duration),
}

/// Nothing to wait for but what is seen.
const WAIT: Next = Next::Wait(Duration::MAX);

#[derive(Debug, Clone, PartialEq)]
enum Secret {
    NotSeen,
    Absent,
    Present(Box<Contents>),
}

/// What a replica knows and serves. Times called `now` are seconds since 1970, times called `at` those of a clock that never jumps.
#[derive(Debug, Clone)]
pub struct Replica {
    hosts: Vec<String>,
    timing: Timing,
    secret: Secret,
    /// When the leaf in the Secret was first seen there.
    leaf_since: Duration,
    /// What is served, with its CA.
    held: Option<(Leaf, CaCertificate)>,
    spread: Spread,
    was_trusted: bool,
}

impl Replica {
    /// One that has seen nothing yet. `hosts` are the names and addresses that a leaf has to be valid for, `objects` is the
    /// number of objects that hold bundles.
    #[must_use]
    pub fn new(hosts: Vec<String>, timing: Timing, objects: usize) -> Self {
        Self {
            hosts,
            timing,
            secret: Secret::NotSeen,
            leaf_since: Duration::ZERO,
            held: None,
            spread: Spread::new(objects),
            was_trusted: false,
        }
    }

    /// Notes what the Secret holds; `None` means that there is none.
    pub fn secret_seen(&mut self, contents: Option<Contents>, at: Duration) {
        let leaf = contents.as_ref().and_then(|contents| contents.leaf.as_ref());
        if leaf != self.contents().and_then(|contents| contents.leaf.as_ref()) {
            self.leaf_since = at;
        }
        self.secret = contents.map_or(Secret::Absent, |contents| Secret::Present(Box::new(contents)));
    }

    /// Notes what an object holds.
    pub fn object_seen(&mut self, object: usize, seen: Seen, at: Duration) {
        self.spread.note(object, seen, at);
    }

    /// The Secret as it was last seen.
    #[must_use]
    pub fn contents(&self) -> Option<&Contents> {
        match &self.secret {
            Secret::Present(contents) => Some(contents),
            Secret::NotSeen | Secret::Absent => None,
        }
    }

    /// The leaf that is served.
    #[must_use]
    pub fn held(&self) -> Option<&Leaf> {
        self.held.as_ref().map(|(leaf, _)| leaf)
    }

    /// When the leaf that is served ends, and when its CA does: seconds since 1970.
    #[must_use]
    pub fn held_until(&self) -> Option<(i64, i64)> {
        self.held.as_ref().map(|(leaf, ca)| (leaf.validity.until, ca.validity.until))
    }

    /// The pair to serve from now on, if it is another one than before.
    ///
    /// A first one is taken at once: until it is trusted the replica is not ready. Another one only if no client can
    /// refuse it that takes what is served now.
    pub fn take(&mut self, now: i64, at: Duration) -> Option<ServingPair> {
        let contents = self.contents()?;
        let leaf = contents.leaf.as_ref().filter(|leaf| self.held() != Some(leaf))?;
        let ca = contents.issuer(leaf)?;
        if !valid((leaf, ca), now) {
            return None;
        }
        let better = match &self.held {
            Some((held, held_ca)) if valid((held, held_ca), now) => {
                let since = self.spread.since(ca, at);
                let nobody_takes_ours = || self.spread.cas().all(|known| known != held_ca);
                ca == held_ca || since.is_some_and(|since| since >= self.timing.settle || nobody_takes_ours())
            }
            _ => true,
        };
        if !better {
            return None;
        }
        let taken = (leaf.clone(), ca.clone());
        let pair = leaf.pair.clone();
        self.held = Some(taken);
        Some(pair)
    }

    /// What to do next. Ask after [`take`](Self::take).
    #[must_use]
    pub fn next(&self, now: i64, at: Duration) -> Next {
        let write = |step, because: &str| Next::Write { step, because: because.to_owned() };
        let contents = match &self.secret {
            Secret::NotSeen => return WAIT,
            // The bundles tell which CAs other replicas may have a leaf of.
            Secret::Absent if !self.spread.looked() => return WAIT,
            Secret::Absent => return write(Step::Create, "there is no Secret"),
            Secret::Present(contents) => contents,
        };
        let problems = contents.problems.join("; ");
        let Some(authority) = contents.authority.as_ref().filter(|ca| ca.certificate.validity.contains(now))
        else {
            let because = if contents.authority.is_some() { "the CA is not valid now" } else { &problems };
            return if self.spread.looked() { write(Step::ReplaceCa, because) } else { WAIT };
        };
        let ca = &authority.certificate;
        let Some(leaf) = &contents.leaf else { return write(Step::ReplaceLeaf, &problems) };
        if !contents.issuer(leaf).is_some_and(|issuer| valid((leaf, issuer), now)) {
            return write(Step::ReplaceLeaf, "the leaf is not valid now");
        }
        if let Some(host) = self.hosts.iter().find(|host| !leaf.is_for(host)) {
            return write(Step::ReplaceLeaf, &format!("the leaf is not for {host}"));
        }
        if self.held_valid(now).is_some_and(|(_, held)| contents.cas().all(|known| known != held)) {
            return write(Step::KeepTrusting, "the CA of what this replica serves is not in the Secret");
        }
        let spread = self.spread.since(ca, at);
        match contents.stage() {
            Stage::Publishing => match spread.map(|since| self.timing.settle.saturating_sub(since)) {
                Some(Duration::ZERO) => write(Step::SwapLeaf, "the new CA is in every bundle"),
                Some(rest) => Next::Wait(rest),
                None => WAIT,
            },
            Stage::Retiring => {
                let waited = spread.map(|since| since.min(at.saturating_sub(self.leaf_since)));
                match waited.map(|waited| self.timing.retire().saturating_sub(waited)) {
                    Some(Duration::ZERO) => write(Step::DropCa, "no leaf of it is served any more"),
                    // A bundle that cannot be written may keep us here for ever, and its CA is trusted everywhere.
                    _ if now >= self.due(leaf.validity) => {
                        write(Step::RenewLeaf, "two thirds of the leaf's life are over")
                    }
                    Some(rest) => Next::Wait(rest),
                    None => WAIT,
                }
            }
            Stage::Settled | Stage::Broken => {
                let (ca_due, leaf_due) = (self.due(ca.validity), self.due(leaf.validity));
                if contents.rotation_asked() {
                    write(Step::StartRotation, "the Secret's annotation asks for it")
                } else if now >= ca_due {
                    write(Step::StartRotation, "two thirds of the CA's life are over")
                } else if now >= leaf_due {
                    write(Step::RenewLeaf, "two thirds of the leaf's life are over")
                } else {
                    let rest = ca_due.min(leaf_due).saturating_sub(now);
                    Next::Wait(Duration::from_secs(u64::try_from(rest).unwrap_or_default()))
                }
            }
        }
    }

    /// What the Secret holds after a step.
    ///
    /// # Errors
    ///
    /// A certificate could not be made.
    pub fn perform(&self, step: Step, now: i64) -> Result<Contents, CertificateError> {
        let facts = Facts {
            hosts: &self.hosts,
            held: self.held_valid(now),
            found: self.spread.cas().filter(|ca| ca.is_ours() && ca.validity.contains(now)).collect(),
            now,
        };
        facts.perform(step, self.contents().unwrap_or(&Contents::default()))
    }

    /// What every bundle has to hold; `None` as long as that is not known.
    #[must_use]
    pub fn bundle(&self) -> Option<Vec<&CaCertificate>> {
        let contents = self.contents()?;
        contents.authority.as_ref()?;
        Some(contents.cas().collect())
    }

    /// Whether every bundle has held the CA of what is served, once; unless all is settled, for the settling time: a leaf may have been
    /// lost and its CA be new to API servers. A bundle that somebody overwrites later makes no replica unready: calls fail as
    /// they would without it, and the repair needs the replicas.
    pub fn was_trusted(&mut self, at: Duration) -> bool {
        let settled = self.contents().is_some_and(|contents| contents.stage() == Stage::Settled);
        let enough = if settled { Duration::ZERO } else { self.timing.settle };
        self.was_trusted |=
            self.held_ca().is_some_and(|ca| self.spread.since(ca, at).is_some_and(|since| since >= enough));
        self.was_trusted
    }

    /// The CA of the leaf that is served.
    #[must_use]
    pub fn held_ca(&self) -> Option<&CaCertificate> {
        self.held.as_ref().map(|(_, ca)| ca)
    }

    fn held_valid(&self, now: i64) -> Option<(&Leaf, &CaCertificate)> {
        self.held.as_ref().map(|(leaf, ca)| (leaf, ca)).filter(|held| valid(*held, now))
    }

    /// When a certificate is to be replaced: after two thirds of its life, and the wait that this replica has with renewals.
    fn due(&self, validity: Validity) -> i64 {
        let third = validity.until.saturating_sub(validity.from) / 3;
        // A wait that would take much of the last third is for a certificate that lives very short.
        validity.until.saturating_sub(third).saturating_add(self.timing.jitter.min(third / 4))
    }
}

/// Whether clients that trust the CA take the leaf at this time. Go looks at the time of both.
fn valid((leaf, ca): (&Leaf, &CaCertificate), now: i64) -> bool {
    leaf.validity.contains(now) && ca.validity.contains(now)
}
