//! The controller on a real control plane, against what upstream's did there: scenarios of `tests/conformance/control/` replayed,
//! also while everything goes wrong, and clusters taken over as upstream left them.
//!
//! The rules are those of `tests/conformance/README.md`, section "Control". No program plays the kubelet: the scenarios ask for one
//! that does as it is told.

mod api;
mod failover;
mod faults;
#[path = "../core/control/kubelet.rs"]
mod kubelet;
mod moving_over;
mod node;
#[path = "../core/control/observation.rs"]
mod observation;
mod program;
mod replay;
mod run;
mod scene;
mod stage;
#[path = "../core/control/verdict.rs"]
mod verdict;
mod world;
