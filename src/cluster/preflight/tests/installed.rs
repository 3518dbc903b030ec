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
