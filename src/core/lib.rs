//! The rules of SidecarSet as pure functions: no I/O, no clock, no randomness, no async.
//!
//! The pipeline on one page:
//!
//! ```text
//! SidecarSet (JSON) ── source::SidecarSet ── compile ──► CompiledSet ─┐
//! Namespaces, ControllerRevisions ────────────────────────────────────┴► snapshot::Snapshot (immutable)
//!
//! request body ── pod::PodLook ── matching ── revision ── injection::plan ──► InjectionPlan ── patch::render ──► JSON Patch
//!                 (borrowed)      (index)                 (decides)             (a value)        (text)
//! ```
//!
//! [`admission::admit`] runs that pipeline for one request. Every hidden input (time, draw, features) is in
//! [`context::Context`]. What the controller does about Pods that run already is decided by [`control::decide`].

pub mod admission;
pub mod api;
pub mod compile;
pub mod content;
pub mod context;
pub mod control;
pub mod crd;
pub mod defaulting;
mod draw;
pub mod explain;
pub mod field;
pub mod hash;
mod hot_upgrade;
mod index;
pub mod injection;
pub mod json;
pub mod lint;
pub mod matching;
pub mod patch;
pub mod pod;
pub mod resources;
pub mod revision;
pub mod selector;
pub mod set_admission;
pub mod snapshot;
pub mod source;
pub mod validation;
