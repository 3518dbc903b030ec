//! Everything that an admission may depend on besides the request and the Snapshot, spelled out.

use std::fmt;

/// Switches that change what is injected.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// Sort injected plain containers by name across all sets (gate `SortSidecarContainers`, I-ORD-5).
    pub sort_sidecar_containers: bool,
}

/// Counts the Pods of one owner, for the `Partial` draw (I-REV-5). Decision: D-25.
pub trait Draw: fmt::Debug {
    /// The number of Pods that were drawn before under this key; counts this one.
    fn next_index(&self, key: u64) -> u64;
}

/// A draw that sees every Pod as the first of its owner: for a single Pod, and for tests.
#[derive(Debug, Clone, Copy, Default)]
pub struct FirstPod;

impl Draw for FirstPod {
    fn next_index(&self, _key: u64) -> u64 {
        0
    }
}

/// What an admission may know that is neither in the request nor in the Snapshot.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// Time of admission, seconds since 1970-01-01T00:00:00Z.
    pub now_unix: i64,
    /// Switches that change what is injected.
    pub features: Features,
    /// Source of the index of a Pod among those of its owner.
    pub draw: &'a dyn Draw,
    /// What a live read said about the Pod's namespace, when the Snapshot did not know it. Decision: D-23.
    pub live_namespace: Option<LiveNamespace<'a>>,
}

/// The answer of a live read of the Pod's namespace (D-23).
#[derive(Debug, Clone, Copy)]
pub enum LiveNamespace<'a> {
    /// It exists and carries these labels.
    Labels(&'a [(String, String)]),
    /// The API server says that there is none: no set with a `namespaceSelector` matches.
    NotFound,
}
