//! Every recorded scenario, step by step.

use std::time::{Duration, Instant};

use super::program::Program;
use super::run::{Judge, Manner, chosen, report, run_all};
use super::stage::{self, Stage};

/// Most of a scenario is waiting, so many at a time are little work.
const JOBS: usize = 48;
/// Longer than the 5 s after which a controller may look again (C-CTL-9).
const QUIET: Duration = Duration::from_millis(6500);
const LIMIT: Duration = Duration::from_secs(90);

/// Rules: C-CTL-9, C-CTL-21, C-STAT-9, C-UPD-19, C-REV-13, C-HOTC-9, C-TERM-6. Decision: D-30, D-33, D-34, D-36.
#[test]
#[ignore = "needs a control plane: make test"]
fn every_recorded_scenario_comes_out_as_upstream_did() {
    let scenarios = chosen(|_| true, |_| true);
    let plane = stage::plane("control-replay");
    let _webhook = stage::webhook(&plane, true);
    let stage = Stage::new(&plane);
    let controller = Program::start(&plane, "controller", &plane.kubectl.kubeconfig, &[]);
    let manner = Manner { jobs: JOBS, quiet: QUIET, limit: LIMIT, judge: Judge::Steps };
    let start = Instant::now();
    let outcomes = stage.runtime.block_on(run_all(&stage.world, &scenarios, manner));
    report(&outcomes, start.elapsed());
    assert!(!controller.has_ended());
    assert!(!controller.log().contains("panicked"), "{}", controller.log());
}
