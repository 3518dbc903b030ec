//! The webhook on a real control plane: etcd, kube-apiserver, controller manager, scheduler, kwok as the kubelet.
//!
//! Run by `make test`, or by hand: `tests/control-plane/build && cargo test --test cluster -- --ignored`. Logs stay in
//! the `tmp/cluster` folder of cargo's target folder until the next run; a failing test prints how they end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "everything here is a test: a panic is how it fails; clippy sees only the functions marked #[test]"
)]

#[path = "../fixtures/admission.rs"]
mod admission;
mod audit;
mod chain;
mod changes;
mod clock;
mod cluster_mode;
mod control;
mod control_plane;
mod events;
mod forgotten;
mod harness;
mod helm;
mod image;
mod injected;
mod injection;
mod kubectl;
#[allow(dead_code, reason = "the load generator has this module too and uses another part of it")]
#[path = "../load/client.rs"]
mod load_client;
mod managed_certificates;
mod manifests;
#[path = "../core/normal_form.rs"]
mod normal_form;
mod overload;
mod own_network;
mod packages;
mod packaging;
mod pki;
mod poll;
mod preflight;
mod programs;
mod proxy;
mod rbac;
mod record;
mod recorder;
mod reinvocation;
mod relist;
mod replicas;
mod rollout;
mod service;
mod set_api;
mod sidecarsets;
mod soak;
mod supervisor;
mod vanished;
mod verdicts;
mod webhook;
mod workloads;
