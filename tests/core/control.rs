//! The controller's decisions on a cluster of our own: an API server, a kubelet and a clock that are all plain values.

pub(crate) mod cluster;
pub(crate) mod controller;
pub(crate) mod kubelet;
pub(crate) mod node;
pub(crate) mod observation;
mod replay;
mod scenario;
mod simulator;
mod verdict;
