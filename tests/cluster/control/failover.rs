//! Two replicas on a real API server: the second goes on with a rollout when the first ends in the middle of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::program::{LEASE, LEASE_FLAG, Program};
use super::run::{SEEN, operate_all, settle};
use super::scene::Scene;
use super::stage::{self, Stage};
use super::world::World;

const PODS: usize = 8;
const MAX_UNAVAILABLE: usize = 2;
/// Longer than the 5 s after which a controller may look again (C-CTL-9).
const QUIET: Duration = Duration::from_millis(6500);
const LIMIT: Duration = Duration::from_secs(90);
/// Between two attempts to take the Lease, and for the attempt itself on a busy machine.
const ATTEMPT: Duration = Duration::from_millis(1500);
/// What is promised for a leader that is told to end.
const HANDED_OVER: Duration = Duration::from_secs(2);

/// Namespace and set, then Pods: the webhook has to know the set by then.
fn scenario() -> Value {
    let set = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "failover"},
        "spec": {
            "selector": {"matchLabels": {"app": "failover"}}, "containers": [container("v1")],
            "updateStrategy": {"maxUnavailable": MAX_UNAVAILABLE},
        },
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "failover"}});
    let pod = |number: usize| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "failover", "name": format!("p{number}"), "labels": {"app": "failover"}},
            "spec": {"nodeName": "node-1", "containers": [{"name": "main", "image": "example.io/app:v1"}]},
        })
    };
    let create = |object: Value| json!({"op": "create", "object": object});
    let pods: Vec<Value> = (0..PODS).map(|number| create(pod(number))).collect();
    json!({"steps": [{"do": [create(namespace), create(set)]}, {"do": pods}]})
}

fn container(tag: &str) -> Value {
    json!({"name": "side", "image": format!("example.io/side:{tag}"), "imagePullPolicy": "IfNotPresent"})
}

/// How many Pods of the scene have this image.
fn with_image(world: &World, scene: &Scene, tag: &str) -> usize {
    let objects = world.objects();
    let has = |pod: &Value| {
        let mut containers = pod["spec"]["containers"].as_array().into_iter().flatten();
        containers.any(|found| found["image"] == container(tag)["image"])
    };
    objects["Pod"].values().filter(|pod| scene.owns("Pod", pod) && has(pod)).count()
}

/// Rolls an image out, sends the leader a signal after the first Pods, and gives how long it took until the other one led.
///
/// Never more Pods are down than may be, every Pod is written once, and in the end all are there.
async fn hand_over(
    world: &Arc<World>,
    scene: &Arc<Scene>,
    tag: &str,
    (leader, signal): (&Program<'_>, &str),
    other: &Program<'_>,
) -> Duration {
    let patch = json!({"spec": {"containers": [container(tag)]}});
    let roll_out = json!({"do": [{"op": "patch", "kind": "SidecarSet", "name": "failover", "patch": patch}]});
    operate_all(world, scene, &roll_out).await.unwrap();
    let start = Instant::now();
    while with_image(world, scene, tag) <= MAX_UNAVAILABLE {
        assert!(start.elapsed() < LIMIT, "the rollout does not begin:\n{}", leader.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let ended = Instant::now();
    leader.signal(signal);
    other.await_lead(LIMIT).await;
    let took = ended.elapsed();
    let written = with_image(world, scene, tag);
    assert!(written < PODS, "nothing was left to do for the second replica");
    scene.touch();
    settle(scene, QUIET, LIMIT).await.unwrap();
    let observed = scene.observe(&world.objects());
    let status = &observed["sidecarSets"]["failover"]["status"];
    let orders = scene.seen().log.end();
    let mut updated = orders.updated["failover"].clone();
    updated.sort();
    updated.dedup();
    assert_eq!(
        (updated.len(), orders.updated["failover"].len()),
        (PODS, PODS),
        "each once: {:?}; {status}",
        orders.updated
    );
    assert!(orders.peak <= MAX_UNAVAILABLE, "{} Pods were down", orders.peak);
    assert_eq!([&status["updatedPods"], &status["updatedReadyPods"]], [PODS, PODS]);
    eprintln!(
        "SIG{signal}: the other replica led after {} ms, {written} Pods were written",
        took.as_millis()
    );
    took
}

/// Killed: within the Lease. Told to end: within two seconds, whatever the Lease.
///
/// Rule: C-CTL-16, C-CTL-20, C-UPD-8. Decision: D-35.
#[test]
#[ignore = "needs a control plane: make test"]
fn another_replica_goes_on_in_the_middle_of_a_rollout() {
    let plane = stage::plane("control-failover");
    let _webhook = stage::webhook(&plane, true);
    let stage = Stage::new(&plane);
    let world = &stage.world;
    let first = Program::start(&plane, "first", &plane.kubectl.kubeconfig, &[LEASE_FLAG]);
    stage.runtime.block_on(async {
        first.await_lead(LIMIT).await;
        let second = Program::start(&plane, "second", &plane.kubectl.kubeconfig, &[LEASE_FLAG]);
        let all = scenario();
        let scene = Arc::new(Scene::new(&all));
        world.enter(&scene);
        for step in all["steps"].as_array().unwrap() {
            operate_all(world, &scene, step).await.unwrap();
            settle(&scene, SEEN, LIMIT).await.unwrap();
        }
        second.await_ready(LIMIT).await;

        let took = hand_over(world, &scene, "v2", (&first, "KILL"), &second).await;
        assert!(took < LEASE + ATTEMPT, "{} ms", took.as_millis());

        let third = Program::start(&plane, "third", &plane.kubectl.kubeconfig, &[]);
        third.await_ready(LIMIT).await;
        let took = hand_over(world, &scene, "v3", (&second, "TERM"), &third).await;
        assert!(took < HANDED_OVER, "{} ms", took.as_millis());
        assert_eq!(second.await_end(LIMIT).await, 0, "{}", second.log());
    });
}
