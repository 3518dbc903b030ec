//! What the owner of a SidecarSet should know, from where it is seen to where it is told.

use std::fmt;
use std::sync::Arc;

/// Something that a SidecarSet is at fault for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Name of the set.
    pub set: Arc<str>,
    /// What came of it.
    pub reason: Reason,
    /// Id of the rule behind it.
    pub rule: &'static str,
    /// For people: which Pod, what was found, what would be right.
    pub note: String,
}

/// What a fault leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// A Pod was denied.
    PodDenied,
    /// The set was left out of a Pod, because it says so itself. Decision: D-22.
    SetSkipped,
}

impl Reason {
    /// The word in Events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PodDenied => "PodDenied",
            Self::SetSkipped => "SetSkipped",
        }
    }
}

/// Whoever passes faults on to the owners of sets. Must return at once: an admission waits.
pub trait Faults: fmt::Debug + Send + Sync {
    /// Takes one fault.
    fn tell(&self, fault: Fault);
}

/// Tells nobody: without a cluster there is no place for it but the log.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unheard;

impl Faults for Unheard {
    fn tell(&self, _fault: Fault) {}
}
