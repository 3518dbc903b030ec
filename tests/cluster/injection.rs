//! What only a real API server shows of injection: defaulting before and after it, what it would refuse, what a person sees
//! of warnings.

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::{assert_untouched, await_ready, items, named, names};
use crate::kubectl::Kubectl;
use crate::recorder::Recorder;
use crate::webhook::Webhook;

const CART: [&str; 3] = ["run", "cart", "--image=registry.example/cart:7"];

/// A set for Pods with the label `app: shop`.
pub(crate) fn mk_set(name: &str, spec: Value) -> Value {
    let mut set = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "shop"}}},
    });
    for (member, value) in spec.as_object().unwrap() {
        set["spec"][member] = value.clone();
    }
    set
}

/// A set with one plain sidecar, behind the app containers.
pub(crate) fn mk_plain_set(name: &str, sidecar: &str) -> Value {
    let container =
        json!({"name": sidecar, "image": "registry.example/agent:1", "podInjectPolicy": "AfterAppContainer"});
    mk_set(name, json!({"containers": [container]}))
}

/// A good set for Pods with the label `special: yes` that asks for a stored revision, and that revision with `container`, which
/// nobody has judged: an old or hand-made one may be broken.
fn mk_set_with_revision(name: &str, container: Value) -> [Value; 2] {
    let revision = format!("{name}-1");
    let mut set = mk_plain_set(name, "agent");
    set["spec"]["selector"] = json!({"matchLabels": {"special": "yes"}});
    set["spec"]["injectionStrategy"] = json!({"revision": {"policy": "Always", "revisionName": revision}});
    let revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": {
            "name": revision, "namespace": "kruise-system", "labels": {"kruise.io/sidecarset-name": name},
        },
        "data": {"spec": {"$patch": "replace", "containers": [container]}},
    });
    [set, revision]
}

/// A set whose stored revision mounts a volume that nobody defines.
fn mk_set_without_its_volume() -> [Value; 2] {
    mk_set_with_revision(
        "cache",
        json!({
            "name": "cache-agent", "image": "registry.example/cache-agent:1",
            "volumeMounts": [{"name": "cache-dir", "mountPath": "/cache"}],
        }),
    )
}

/// Rule: I-DEF-43, I-RESP-6. Decision: D-27.
#[test]
#[ignore = "needs a control plane: make test"]
fn an_undefined_volume_is_told_with_set_and_container() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("undefined-volume", json!({}));
    let [cache, revision] = mk_set_without_its_volume();
    let objects = [mk_plain_set("logging", "log-agent"), cache, revision];
    let _webhook = Webhook::with_objects(plane, &kubectl, &objects);
    let answer = kubectl.refused(&[&CART[..], &["--labels=special=yes"]].concat(), "");
    for part in [
        "admission webhook \"mpod.sidecarset.kruise.io\" denied the request",
        "SidecarSet \"cache\"",
        "container \"cache-agent\"",
        "volume \"cache-dir\"",
        "spec.volumes",
    ] {
        assert!(answer.contains(part), "{part} is not in: {answer}");
    }
    assert_not_stored(&kubectl);
}

/// What we do not judge is for the API server: its words reach the person, with the place in the enlarged Pod.
///
/// Rule: I-DEF-39.
#[test]
#[ignore = "needs a control plane: make test"]
fn an_env_that_the_api_server_refuses_is_told_in_its_words() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("refused-env", json!({}));
    let agent = json!({
        "name": "agent", "image": "registry.example/agent:1", "podInjectPolicy": "AfterAppContainer",
        "env": [{"name": "A=B", "value": "1"}],
    });
    let [broken, revision] = mk_set_with_revision("broken", agent);
    let objects = [mk_plain_set("logging", "log-agent"), broken, revision];
    let _webhook = Webhook::with_objects(plane, &kubectl, &objects);
    let answer = kubectl.refused(&[&CART[..], &["--labels=special=yes"]].concat(), "");
    assert!(answer.contains("spec.containers[1].env[0].name: Invalid value: \"A=B\""), "{answer}");
    assert_not_stored(&kubectl);
}

/// Rule: I-INJ-8, I-RES-5, I-RES-7.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_api_server_completes_the_pod_before_us_and_after_us() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("defaulting", json!({}));
    let policy = |part: &str| {
        json!({
            "targetContainersMode": "sum", "targetContainersNameRegex": ".*",
            "resourcesExpr": {part: {"cpu": "cpu*50%"}},
        })
    };
    let set = mk_set(
        "sized",
        json!({
            "containers": [
                {"name": "of-requests", "image": "registry.example/agent", "resourcesPolicy": policy("requests")},
                {
                    "name": "of-limits", "image": "registry.example/agent:2", "resourcesPolicy": policy("limits"),
                    "volumeMounts": [{"name": "settings", "mountPath": "/settings"}],
                    "env": [{"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}],
                },
            ],
            "volumes": [{"name": "settings", "configMap": {"name": "settings", "optional": true}}],
        }),
    );
    let _webhook = Webhook::with_objects(plane, &kubectl, &[set]);
    kubectl.create(&[json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart", "labels": {"app": "shop"}},
        "spec": {"containers": [{
            "name": "cart", "image": "registry.example/cart:7", "resources": {"limits": {"cpu": "200m"}}}]},
    })]);
    let pod = await_ready(&kubectl, "cart");
    let containers = &pod["spec"]["containers"];
    let resources = |name: &str| named(containers, name)["resources"].clone();
    assert_eq!(resources("cart"), json!({"limits": {"cpu": "200m"}, "requests": {"cpu": "200m"}}));
    assert_eq!(
        resources("of-requests"),
        json!({"requests": {"cpu": "100m"}}),
        "requests were there before us"
    );
    assert_eq!(
        resources("of-limits"),
        json!({"limits": {"cpu": "100m"}, "requests": {"cpu": "100m"}}),
        "and are made of our limits"
    );
    for (name, pull_policy) in [("of-requests", "Always"), ("of-limits", "IfNotPresent")] {
        let container = named(containers, name);
        assert_eq!(container["imagePullPolicy"], pull_policy, "{container}");
        assert_eq!(container["terminationMessagePath"], "/dev/termination-log", "{container}");
        let token = items(&container["volumeMounts"])
            .filter(|mount| mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount");
        assert_eq!(token.count(), 1, "the service account is mounted after us too: {container}");
    }
    let node = json!({"apiVersion": "v1", "fieldPath": "spec.nodeName"});
    assert_eq!(named(&named(containers, "of-limits")["env"], "NODE")["valueFrom"]["fieldRef"], node);
    assert_eq!(named(&pod["spec"]["volumes"], "settings")["configMap"]["defaultMode"], 420);
}

/// A submitted phase reaches webhooks, and the API server drops it only afterwards.
///
/// Rule: I-CALL-8, I-DEF-4. Decision: D-21.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_submitted_status_does_not_switch_injection_off() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("submitted-status", json!({}));
    let _webhook = Webhook::with_objects(plane, &kubectl, &[mk_plain_set("logging", "log-agent")]);
    let recorder = Recorder::answering(plane, "status-recorder", |_| json!({}));
    recorder.register_as(&kubectl, "a-recorder", |_| {});
    recorder.await_registered(&kubectl);
    kubectl.create(&[json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "cart", "labels": {"app": "shop"}},
        "spec": {"containers": [{"name": "cart", "image": "registry.example/cart:7"}]},
        "status": {"phase": "Succeeded"},
    })]);
    let body = recorder.last(|request| request["name"] == "cart").expect("the recorder was asked");
    let review: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(review["request"]["object"]["status"]["phase"], "Succeeded", "as submitted");
    let pod = await_ready(&kubectl, "cart");
    assert_eq!(names(&pod["spec"]["containers"]), ["cart", "log-agent"]);
    assert_eq!(pod["status"]["phase"], "Running");
}

/// Decision: D-26.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_pod_opts_out_of_all_sets_or_of_some() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("opt-out", json!({}));
    let sets = [mk_plain_set("logging", "log-agent"), mk_plain_set("metrics", "metrics-agent")];
    let _webhook = Webhook::with_objects(plane, &kubectl, &sets);
    let run = |name: &str, more: &[&str]| {
        let image = "--image=registry.example/cart:7";
        kubectl.ok(&[&["run", name, image][..], more].concat());
        kubectl.json(&["get", "pod", name])
    };
    let labels = "--labels=app=shop";
    let all = run("all", &[labels]);
    assert_eq!(names(&all["spec"]["containers"]), ["all", "log-agent", "metrics-agent"]);
    let some = run("some", &[labels, "--annotations=sidecarset.kruise.io/skip=metrics,other"]);
    assert_eq!(names(&some["spec"]["containers"]), ["some", "log-agent"]);
    let pod = run("by-label", &["--labels=app=shop,sidecarset.kruise.io/inject=false"]);
    assert_eq!(names(&pod["spec"]["containers"]), ["by-label"]);
    let mut none = run("none", &[labels, "--annotations=sidecarset.kruise.io/inject=false"]);
    // It names us itself; managedFields repeat that.
    for own in ["annotations", "managedFields"] {
        none["metadata"].as_object_mut().unwrap().remove(own);
    }
    assert_untouched(&none, &["none"]);
}

/// Decision: D-22.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_faulty_set_that_says_so_is_skipped_with_a_warning() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("skipped-set", json!({}));
    let [mut faulty, revision] = mk_set_without_its_volume();
    faulty["metadata"]["annotations"] = json!({"sidecarset.kruise.io/failure-policy": "Ignore"});
    let objects = [mk_plain_set("logging", "log-agent"), faulty, revision];
    let _webhook = Webhook::with_objects(plane, &kubectl, &objects);
    let told = warnings(&kubectl, &[&CART[..], &["--labels=app=shop,special=yes"]].concat());
    assert_eq!(told.len(), 1, "{told:?}");
    for part in ["SidecarSet \"cache\"", "cache-dir"] {
        assert!(told[0].contains(part), "{part} is not in {told:?}");
    }
    let pod = await_ready(&kubectl, "cart");
    assert_eq!(names(&pod["spec"]["containers"]), ["cart", "log-agent"]);
    assert_eq!(pod["metadata"]["annotations"]["kruise.io/sidecarset-injected-list"], "logging");
}

/// Rule: I-DEF-13.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_replaced_container_is_told_as_a_warning() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("warned", json!({}));
    let _webhook = Webhook::with_objects(plane, &kubectl, &[mk_plain_set("logging", "log-agent")]);
    assert_eq!(warnings(&kubectl, &[&CART[..], &["--labels=app=shop"]].concat()), [""; 0]);
    let run = ["run", "log-agent", "--image=registry.example/mine:3", "--labels=app=shop"];
    let told = warnings(&kubectl, &run);
    assert!(told.len() == 1 && told[0].contains("SidecarSet \"logging\""), "{told:?}");
    assert!(told[0].contains("\"log-agent\""), "{told:?}");
    let pod = kubectl.json(&["get", "pod", "log-agent"]);
    assert_eq!(named(&pod["spec"]["containers"], "log-agent")["image"], "registry.example/agent:1");
}

/// The lines of a command that succeeds which kubectl marks as warnings, without the mark.
#[track_caller]
fn warnings(kubectl: &Kubectl, args: &[&str]) -> Vec<String> {
    let output = kubectl.output(args, "").unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    told.lines().filter_map(|line| line.strip_prefix("Warning: ")).map(str::to_owned).collect()
}

#[track_caller]
fn assert_not_stored(kubectl: &Kubectl) {
    let answer = kubectl.refused(&["get", "pod", "cart"], "");
    assert!(answer.contains(r#"pods "cart" not found"#), "{answer}");
}
