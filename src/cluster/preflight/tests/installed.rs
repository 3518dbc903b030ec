//! Our own objects and webhook configurations.

use super::*;

#[test]
fn our_own_objects() {
    use Level::{Fail, Ok, Skipped, Warn};
    assert_rows(&[
        (|f| f.namespace = Fetched::Absent, "namespaces", Fail, "there is no namespace hooks", "--namespace"),
        (
            |f| f.revision_namespace.1 = Fetched::Absent,
            "namespaces",
            Fail,
            "no namespace old for stored",
            "--revision-namespace",
        ),
        (
            |f| f.namespace = Fetched::Found(json!({"status": {"phase": "Terminating"}})),
            "namespaces",
            Fail,
            "deleted",
            "kubectl",
        ),
        (|f| f.deployment = Fetched::Absent, "deployment", Warn, "there is no Deployment hook", "--service"),
        (
            |f| *at(&mut f.deployment, "/status/availableReplicas") = json!(0),
            "deployment",
            Fail,
            "0 of 3",
            "logs deployment/hook",
        ),
        (
            |f| *at(&mut f.deployment, "/status/availableReplicas") = json!(2),
            "deployment",
            Warn,
            "2 of 3",
            "describe",
        ),
        (
            |f| {
                f.deployment =
                    Fetched::Found(json!({"spec": {"replicas": 1}, "status": {"availableReplicas": 1}}))
            },
            "deployment",
            Warn,
            "failurePolicy is Fail",
            "--replicas=2",
        ),
        (
            |f| {
                f.deployment =
                    Fetched::Found(json!({"spec": {"replicas": 1}, "status": {"availableReplicas": 1}}));
                hook(&mut f.mutating, 0)["failurePolicy"] = json!("Ignore");
            },
            "deployment",
            Ok,
            "1 of 1",
            "",
        ),
        (|f| f.service = Fetched::Absent, "service", Fail, "there is no Service hooks/hook", "apply"),
        (|f| f.endpoint_slices = Fetched::Found(vec![]), "service", Fail, "has no endpoint", "selector"),
        (
            |f| {
                f.endpoint_slices =
                    Fetched::Found(vec![json!({"endpoints": [{"conditions": {"ready": false}}]})])
            },
            "service",
            Fail,
            "none of the 1 endpoints",
            "ready",
        ),
        (
            |f| f.endpoint_slices = Fetched::Refused("no".into()),
            "service",
            Skipped,
            "cannot read the EndpointSlices",
            "account",
        ),
        (
            |f| f.webhook_rights.push(mk_asked("get", Some(false))),
            "webhook-rights",
            Fail,
            "ServiceAccount hooks/hook may not get sidecarsets",
            "ClusterRole",
        ),
        (
            |f| {
                f.deployment =
                    Fetched::Found(json!({"spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"args": ["webhook", "--sidecarsets=/sets"]}]}}}, "status": {"availableReplicas": 2}}))
            },
            "webhook-rights",
            Ok,
            "none needed",
            "",
        ),
    ]);
}

/// A Deployment of the webhook with this memory limit.
fn mk_limited(limit: &str) -> Fetched<Value> {
    Fetched::Found(json!({
        "spec": {"replicas": 2, "template": {"spec": {"containers": [
            {"args": ["webhook"], "resources": {"limits": {"memory": limit}}},
        ]}}},
        "status": {"availableReplicas": 2},
    }))
}

#[test]
fn memory_for_the_sets() {
    use Level::{Ok, Skipped, Warn};
    assert_rows(&[
        (|_| {}, "memory", Ok, "no limit", ""),
        (|f| f.deployment = mk_limited("256Mi"), "memory", Ok, "12 sets need about 20 MB, the limit", ""),
        (
            |f| {
                f.deployment = mk_limited("256Mi");
                f.sets = Fetched::Found(24_843);
            },
            "memory",
            Ok,
            "24843 sets need about 268 MB, the limit of a replica is 256Mi",
            "",
        ),
        (
            |f| {
                f.deployment = mk_limited("256Mi");
                f.sets = Fetched::Found(25_000);
            },
            "memory",
            Warn,
            "25000 sets need about 270 MB, the limit of a replica is 256Mi",
            "resources.limits.memory of the Deployment hook (Helm: resources.limits.memory) to 405M",
        ),
        (
            |f| {
                f.deployment = mk_limited("1G");
                f.sets = Fetched::Refused("no".into());
            },
            "memory",
            Skipped,
            "cannot read how many SidecarSets",
            "account",
        ),
        (
            |f| {
                f.deployment = mk_limited("1M");
                *at(&mut f.deployment, "/spec/template/spec/containers/0/args") =
                    json!(["webhook", "--sidecarsets=/sets"]);
            },
            "memory",
            Ok,
            "from a folder",
            "",
        ),
        (|f| f.deployment = Fetched::Absent, "memory", Skipped, "no Deployment", "see deployment"),
    ]);
}

#[test]
fn the_controller() {
    use Level::{Fail, Ok, Skipped, Warn};
    const DEPLOYMENT: &str = "controller-deployment";
    assert_rows(&[
        (|_| {}, DEPLOYMENT, Ok, "2 of 2 replicas", ""),
        (
            |f| *at(&mut f.controller, "/status/availableReplicas") = json!(0),
            DEPLOYMENT,
            Fail,
            "0 of 2 replicas are available: status and rollouts of sets stand still",
            "kubectl -n hooks describe deployment sidecarset-controller",
        ),
        (
            |f| *at(&mut f.controller, "/status/availableReplicas") = json!(1),
            DEPLOYMENT,
            Warn,
            "1 of 2",
            "logs deployment/sidecarset-controller",
        ),
        // One leads, and nobody waits for it while it moves.
        (|f| *at(&mut f.controller, "/spec/replicas") = json!(1), DEPLOYMENT, Ok, "2 of 1", ""),
        (
            |f| f.controller = Fetched::Absent,
            DEPLOYMENT,
            Skipped,
            "no Deployment sidecarset-controller in namespace hooks",
            "webhook-only",
        ),
        (
            |f| f.controller = Fetched::Refused("no".into()),
            DEPLOYMENT,
            Skipped,
            "cannot read the Deployment of the controller",
            "account",
        ),
        (
            |f| f.controller_rights.push(mk_asked("get", Some(false))),
            "controller-rights",
            Fail,
            "the ServiceAccount of sidecarset-controller may not get sidecarsets",
            "ClusterRoles and Roles sidecarset-controller",
        ),
        (
            |f| f.controller_rights.push(mk_asked("get", None)),
            "controller-rights",
            Skipped,
            "cannot ask what",
            "subjectaccessreviews",
        ),
    ]);
    let mut facts = mk_facts();
    facts.controller = Fetched::Absent;
    let checks: Vec<&str> = judge(&facts).iter().map(|finding| finding.check).collect();
    assert_eq!(checks.len(), 19, "what is not there is told once: {checks:?}");
}

#[test]
fn one_namespace_of_revisions() {
    use Level::{Fail, Ok, Skipped};
    const CHECK: &str = "revision-namespace";
    assert_rows(&[
        (|_| {}, CHECK, Ok, "webhook and controller use old", ""),
        (
            |f| f.controller = Fetched::Found(mk_controller(&["controller"])),
            CHECK,
            Fail,
            "the controller keeps revisions in hooks, the webhook reads them in old",
            "Deployments hook and sidecarset-controller the same --revision-namespace",
        ),
        (
            |f| {
                f.controller = Fetched::Found(mk_controller(&["controller"]));
                f.revision_namespace.0 = "hooks".into();
            },
            CHECK,
            Ok,
            "use hooks",
            "",
        ),
        (|f| f.deployment = Fetched::Absent, CHECK, Skipped, "no webhook to compare with", "deployment"),
        (
            |f| {
                f.controller = Fetched::Found(mk_controller(&["controller"]));
                f.deployment = mk_limited("1G");
                *at(&mut f.deployment, "/spec/template/spec/containers/0/args") =
                    json!(["webhook", "--sidecarsets=/sets"]);
            },
            CHECK,
            Ok,
            "a folder",
            "",
        ),
    ]);
}

#[test]
fn webhook_configurations() {
    use Level::{Fail, Skipped, Warn};
    assert_rows(&[
        (
            |f| f.mutating = Fetched::Absent,
            "webhook-configurations",
            Fail,
            "no webhook for Pods and defaults",
            "apply",
        ),
        (
            |f| f.mutating = Fetched::Refused("no".into()),
            "webhook-configurations",
            Skipped,
            "cannot read the mutating",
            "account",
        ),
        (
            |f| f.target.webhook_configurations = vec!["pods".into()],
            "webhook-configurations",
            Fail,
            "no webhook for defaults of SidecarSets and validation of SidecarSets in pods",
            "apply",
        ),
        (
            |f| hook(&mut f.mutating, 0)["clientConfig"]["service"]["namespace"] = json!("x"),
            "webhook-target",
            Fail,
            "mpod.sidecarset.kruise.io of pods: calls the Service x/hook, not hooks/hook",
            "apply",
        ),
        (
            |f| hook(&mut f.validating, 0)["clientConfig"]["service"]["path"] = json!("/x"),
            "webhook-target",
            Fail,
            "v of sets: calls the path \"/x\", not \"/validate-",
            "apply",
        ),
        (
            |f| hook(&mut f.mutating, 1)["clientConfig"]["service"]["port"] = json!(8443),
            "webhook-target",
            Fail,
            "calls port 8443, the Service has 443",
            "apply",
        ),
        (
            |f| hook(&mut f.mutating, 0)["clientConfig"] = json!({"url": "https://x"}),
            "webhook-target",
            Warn,
            "calls the URL",
            "apply",
        ),
        (
            |f| hook(&mut f.mutating, 0)["failurePolicy"] = json!("Ignore"),
            "webhook-policy",
            Warn,
            "without sidecars",
            "Fail",
        ),
        (
            |f| hook(&mut f.mutating, 0)["timeoutSeconds"] = json!(30),
            "webhook-policy",
            Warn,
            "timeoutSeconds is 30",
            "10",
        ),
        (
            |f| hook(&mut f.mutating, 0)["timeoutSeconds"] = json!(1),
            "webhook-policy",
            Warn,
            "timeoutSeconds is 1",
            "5",
        ),
        (
            |f| {
                hook(&mut f.mutating, 0)["failurePolicy"] = json!("Ignore");
                hook(&mut f.validating, 0)["sideEffects"] = json!("Unknown");
            },
            "webhook-policy",
            Fail,
            "sideEffects is \"Unknown\": every dry run is refused; mpod",
            "None",
        ),
        (
            |f| hook(&mut f.mutating, 0)["namespaceSelector"] = Value::Null,
            "webhook-exemptions",
            Fail,
            "Pods in hooks and kube-system wait for the webhook: it cannot start",
            "exempt hooks and kube-system",
        ),
        (
            |f| *at(&mut f.namespace, "/metadata/labels") = json!({}),
            "webhook-exemptions",
            Fail,
            "Pods in hooks wait",
            "exempt hooks in",
        ),
        (
            |f| {
                hook(&mut f.mutating, 0)["failurePolicy"] = json!("Ignore");
                hook(&mut f.mutating, 0)["namespaceSelector"]["matchExpressions"][0]["values"] =
                    json!(["hooks"]);
            },
            "webhook-exemptions",
            Warn,
            "Pods in kube-system wait",
            "exempt kube-system",
        ),
    ]);
}
