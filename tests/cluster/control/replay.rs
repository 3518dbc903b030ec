//! Every recorded scenario, step by step.

use std::time::{Duration, Instant};

use super::program::Program;
use super::run::{Judge, Manner, run_all, scenarios};
use super::stage::{self, Stage};

/// Most of a scenario is waiting, so many at a time are little work.
const JOBS: usize = 24;
/// Longer than the 5 s after which a controller may look again (C-CTL-9).
const QUIET: Duration = Duration::from_millis(6500);
const LIMIT: Duration = Duration::from_secs(90);

/// `CONTROL_SCENARIOS=name,name` runs only those.
///
/// Rules: C-CTL-9, C-CTL-21, C-STAT-9, C-UPD-19, C-REV-13, C-HOTC-9, C-TERM-6. Decision: D-30, D-33, D-34, D-36.
#[test]
#[ignore = "needs a control plane: make test"]
fn every_recorded_scenario_comes_out_as_upstream_did() {
    let only = std::env::var("CONTROL_SCENARIOS").unwrap_or_default();
    let scenarios = scenarios(|name| only.is_empty() || only.split(',').any(|wanted| wanted == name));
    assert!(!scenarios.is_empty(), "no scenario is called {only}");
    let plane = stage::plane("control-replay");
    let _webhook = stage::webhook(&plane, true);
    let stage = Stage::new(&plane);
    let controller = Program::start(&plane, "controller", &plane.kubectl.kubeconfig, &[]);
    let manner = Manner { jobs: JOBS, quiet: QUIET, limit: LIMIT, judge: Judge::Steps };
    let start = Instant::now();
    let outcomes = stage.runtime.block_on(run_all(&stage.world, &scenarios, manner));
    let different = outcomes.iter().filter(|outcome| !outcome.problems.is_empty()).count();
    let deviations =
        outcomes.iter().filter(|outcome| outcome.problems.is_empty() && outcome.has_deviations).count();
    let longest = outcomes.iter().max_by_key(|outcome| outcome.took).expect("at least one");
    eprintln!(
        "{} equal, {deviations} with a deviation that is met, {different} different; {} s, the longest {} with {} s",
        outcomes.len() - deviations - different,
        start.elapsed().as_secs(),
        longest.name,
        longest.took.as_secs()
    );
    assert_eq!(different, 0, "the lines above say what differs");
    assert!(!controller.has_ended());
    assert!(!controller.log().contains("panicked"), "{}", controller.log());
}
