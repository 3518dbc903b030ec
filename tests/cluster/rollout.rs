//! Webhook and controller as programs on a real API server, each under the rights of the manifests; the commands `status` and
//! `rollout` as a person runs them; the test plays the kubelet.

mod kubelet;
mod many_pods;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::items;
use crate::kubectl::{Kubectl, list};
use crate::packages::{NAMESPACE, by_name, kustomize, repository};
use crate::poll;
use crate::webhook::Webhook;

const LIMIT: Duration = Duration::from_secs(60);
const CONTROLLER: &str = "system:serviceaccount:sidecarset-system:sidecarset-controller";
const WEBHOOK: &str = "system:serviceaccount:sidecarset-system:sidecarset-webhook";
const PROGRAM: &str = env!("CARGO_BIN_EXE_sidecarset");

/// An API server with the manifests, and both programs beside it.
struct Cluster<'a> {
    plane: &'a ControlPlane,
    shop: Kubectl,
    // Ends with the test.
    _webhook: Webhook<'a>,
}

impl<'a> Cluster<'a> {
    /// `before` runs when everything is there but the webhook's registration for Pods.
    fn install(plane: &'a ControlPlane, before: impl FnOnce(&Kubectl)) -> Self {
        let admin = plane.kubectl.in_namespace("");
        let serving = plane.folder.join("serving");
        plane.authority.server(&serving, &["127.0.0.1"]).unwrap();
        let mut objects = by_name(kustomize(&admin, &repository("tests/kustomize/repair")));
        objects.extend(by_name(kustomize(&admin, &repository("tests/kustomize/terminator"))));
        objects.get_mut("CustomResourceDefinition /sidecarsets.apps.kruise.io").unwrap()["spec"]["conversion"] =
            json!({"strategy": "None"});
        let (registrations, mut others): (Vec<_>, Vec<_>) =
            objects.into_values().partition(|object| object["webhooks"].is_array());
        others.sort_by_key(|object| object["kind"] != "Namespace");
        admin.run_with_input(&["apply", "--server-side", "-f", "-"], &list(&others)).unwrap();
        admin.ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        let shop = plane.namespace("shop", json!({}));
        before(&shop);

        let args = [
            format!("--kubeconfig={}", plane.kubeconfig_of(WEBHOOK).display()),
            format!("--namespace={NAMESPACE}"),
            format!("--cert-dir={}", serving.display()),
        ];
        let webhook = Webhook::launch(plane, "rollout", &args, plane.authority.certificate());
        webhook.await_ready();
        let ca = STANDARD.encode(std::fs::read(&webhook.ca).unwrap());
        let base = webhook.url.trim_end_matches("/mutate-pod").to_owned();
        let registrations = registrations.into_iter().map(|mut registration| {
            let client = &mut registration["webhooks"][0]["clientConfig"];
            let path = client["service"]["path"].as_str().unwrap().to_owned();
            *client = json!({"url": format!("{base}{path}"), "caBundle": ca});
            registration
        });
        admin.create(&registrations.collect::<Vec<_>>());
        // Nobody else plays the controller of the Service here.
        admin.create(&[json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "webhook", "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": "sidecarset-webhook"}},
            "endpoints": [{"addresses": ["10.1.1.1"], "conditions": {"ready": true}}],
            "ports": [{"name": "https", "port": 10250, "protocol": "TCP"}],
        })]);
        Self { plane, shop, _webhook: webhook }
    }

    /// Starts the controller under its rights, as a program of this name, and waits until it leads. Gives its process.
    fn start_controller(&self, name: &str) -> u32 {
        let kubeconfig = self.plane.kubeconfig_of(CONTROLLER);
        let command = [
            PROGRAM.to_owned(),
            "controller".to_owned(),
            format!("--kubeconfig={}", kubeconfig.display()),
            format!("--namespace={NAMESPACE}"),
            "--probe-listen=127.0.0.1:0".to_owned(),
            "--terminator".to_owned(),
        ];
        let pid = self.plane.supervisor.start(name, &command).unwrap();
        let leads = || match self.plane.supervisor.log(name) {
            log if log.contains("this replica leads") => Ok(()),
            log => Err(log),
        };
        self.plane.await_ready(name, pid, leads).unwrap_or_else(|error| panic!("{error}"));
        pid
    }

    /// A command of a person with the administrator's kubeconfig.
    fn sidecarset(&self, words: &[&str]) -> Output {
        self.sidecarset_as(&self.plane.kubectl.kubeconfig, words)
    }

    fn sidecarset_as(&self, kubeconfig: &Path, words: &[&str]) -> Output {
        Command::new(PROGRAM).args(words).env("KUBECONFIG", kubeconfig).output().unwrap()
    }

    #[track_caller]
    fn told(&self, words: &[&str]) -> String {
        let output = self.sidecarset(words);
        assert!(output.status.success(), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout)
    }

    /// stderr of a command that ends with exit code 1.
    #[track_caller]
    fn refused(&self, words: &[&str]) -> String {
        let output = self.sidecarset(words);
        assert_eq!(
            output.status.code(),
            Some(1),
            "{words:?}: {}{}",
            text(&output.stdout),
            text(&output.stderr)
        );
        text(&output.stderr)
    }

    fn status(&self) -> Value {
        serde_json::from_str(&self.told(&["status", "log-agent", "-o", "json"])).unwrap()
    }

    /// Plays the kubelet until the report says so.
    #[track_caller]
    fn until(&self, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        poll::until(what, LIMIT, || {
            kubelet::run(&self.shop);
            match self.status() {
                report if holds(&report) => Ok(report),
                report => Err(report.to_string()),
            }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.plane.supervisor.log_tail("controller")))
    }

    fn set_image(&self, tag: u32) {
        let patch = json!([{
            "op": "replace", "path": "/spec/containers/0/image", "value": format!("registry.example/agent:{tag}"),
        }]);
        self.shop.ok(&["patch", "sidecarset", "log-agent", "--type=json", "-p", &patch.to_string()]);
    }

    fn images(&self) -> String {
        let path = r#"jsonpath={.items[*].spec.containers[?(@.name=="agent")].image}"#;
        self.shop.ok(&["get", "pods", "-l", "app=shop", "-o", path])
    }
}

/// Rules: C-CTL-21.7, C-REV-5, C-REV-13. Decision: D-35.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_rollout_is_paused_resumed_undone_and_followed() {
    let plane = ControlPlane::without_controllers("rollout").unwrap_or_else(|error| panic!("{error}"));
    // Before there is a webhook, so without sidecars.
    let cluster = Cluster::install(&plane, run_without_sidecars);
    cluster.start_controller("controller");
    let shop = &cluster.shop;
    assert_eq!(cluster.told(&["status"]), "no SidecarSets\n");
    assert!(cluster.refused(&["status", "log-agent"]).contains("there is no SidecarSet \"log-agent\""));
    shop.create(&[json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet",
        "metadata": {"name": "log-agent", "annotations": {"sidecarset.kruise.io/repair": "Evict"}},
        "spec": {
            "selector": {"matchLabels": {"app": "shop"}},
            "containers": [{"name": "agent", "image": "registry.example/agent:1"}],
            "updateStrategy": {"type": "RollingUpdate", "maxUnavailable": 2},
        },
    })]);
    poll::until("the webhook to inject", LIMIT, || {
        let ask = ["run", "probe", "--image=shop:1", "--labels=app=shop", "--dry-run=server", "-o", "yaml"];
        if shop.run(&ask)?.contains("agent:1") { Ok(()) } else { Err("no sidecar".to_owned()) }
    })
    .unwrap();
    for name in ["shop-a", "shop-b", "shop-c"] {
        shop.create(&[kubelet::pod(
            name,
            json!({"app": "shop"}),
            json!([{"name": "shop", "image": "shop:1"}]),
        )]);
    }
    cluster.until("three Pods", |report| report["state"] == "done" && report["matchedPods"] == 3);

    pause_and_resume(&cluster);
    undo(&cluster);
    hold_by_partition(&cluster);
    the_plugin_tells_the_same(&cluster);

    // It missed injection and belongs to somebody who makes it again. The other one goes first, and its budget is against it.
    poll::until("the eviction", LIMIT, || {
        match shop.run(&["get", "pod", "missed", "--ignore-not-found"])?.as_str() {
            "" => Ok(()),
            pod => Err(pod.to_owned()),
        }
    })
    .unwrap_or_else(|error| {
        let told = [shop.ok(&["get", "events"]), shop.ok(&["get", "pods", "-o", "yaml"])].join("\n");
        panic!("{error}\n{told}\n{}", plane.supervisor.log_tail("controller"))
    });
    end_sidecars(&cluster);

    for reason in ["EvictedForInjection", "EvictionRefused", "SidecarTerminator"] {
        poll::until(reason, LIMIT, || {
            let reasons = shop.run(&["get", "events.events.k8s.io", "-o", "jsonpath={.items[*].reason}"])?;
            if reasons.contains(reason) { Ok(()) } else { Err(reasons) }
        })
        .unwrap();
    }
    let guarded = ["get", "pod", "guarded", "-o", "jsonpath={.metadata.deletionTimestamp}"];
    assert_eq!(shop.ok(&guarded), "", "it is there, and stays");
    assert_eq!(plane.supervisor.stop("controller"), Ok(0));
    let log = plane.supervisor.log("controller");
    let refused: Vec<&str> =
        log.lines().filter(|line| line.contains("forbidden") || line.contains("403")).collect();
    assert_eq!(refused, Vec::<&str>::new());
    let lease = ["get", "lease", "sidecarset-controller", "-o", "jsonpath={.spec.holderIdentity}"];
    assert_eq!(shop.in_namespace(NAMESPACE).ok(&lease), "", "the Lease is given back");
}

/// Two Pods that are ready, one with a PodDisruptionBudget.
fn run_without_sidecars(shop: &Kubectl) {
    for (name, labels) in
        [("guarded", json!({"app": "shop", "tier": "guarded"})), ("missed", json!({"app": "shop"}))]
    {
        shop.create(&[kubelet::pod(name, labels, json!([{"name": "shop", "image": "shop:1"}]))]);
    }
    kubelet::run(shop);
    shop.create(&[json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "guard"},
        "spec": {"selector": {"matchLabels": {"tier": "guarded"}}, "maxUnavailable": 0},
    })]);
    // Nobody else plays its controller here.
    let status = json!({"status": {
        "observedGeneration": 1, "disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 1, "expectedPods": 1,
    }});
    let args = ["patch", "pdb", "guard", "--subresource=status", "--type=merge", "-p", &status.to_string()];
    shop.ok(&args);
}

fn pause_and_resume(cluster: &Cluster<'_>) {
    assert!(cluster.refused(&["rollout", "resume", "log-agent"]).contains("is not paused"));
    assert_eq!(
        cluster.told(&["rollout", "pause", "log-agent"]),
        "sidecarset.apps.kruise.io/log-agent paused\n"
    );
    assert!(cluster.refused(&["rollout", "pause", "log-agent"]).contains("is already paused"));
    cluster.set_image(2);
    let output = cluster.sidecarset(&["status", "log-agent", "--watch", "--timeout=60s"]);
    let told = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}{}", text(&output.stderr));
    assert!(told.contains("log-agent: blocked: 0 of 3 Pods updated"), "{told}");
    assert!(told.contains("sidecarset rollout resume log-agent"), "{told}");
    assert!(told.contains("shop/shop-a, shop/shop-b, shop/shop-c"), "{told}");
    assert!(!told.contains('\u{1b}'), "no codes where there is no terminal: {told}");

    // Who may not read Pods is told so, and everything else.
    let output = cluster.sidecarset_as(&cluster.plane.kubeconfig_of(WEBHOOK), &["status", "log-agent"]);
    assert!(text(&output.stdout).contains("Paused: 0 of 3 Pods updated"), "{}", text(&output.stdout));
    assert!(text(&output.stderr).contains("Pods are not told by name"), "{}", text(&output.stderr));

    cluster.told(&["rollout", "resume", "log-agent"]);
    // Nobody plays the kubelet now: two Pods are down, the third waits for them.
    let refused = cluster.refused(&["status", "log-agent", "--watch", "--timeout=3s"]);
    assert!(refused.contains("is not over after 3s"), "{refused}");
    let follower = Command::new(PROGRAM)
        .args(["status", "log-agent", "--watch", "--timeout=60s", "-o", "json"])
        .env("KUBECONFIG", &cluster.plane.kubectl.kubeconfig)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    cluster.until("the second image everywhere", |report| report["state"] == "done");
    let output = follower.wait_with_output().unwrap();
    assert!(output.status.success());
    let states: Vec<Value> =
        text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.last().unwrap()["state"], "done", "{states:?}");
    assert!(states.len() >= 2, "what it waited for was told before: {states:?}");
    assert_eq!(cluster.images(), ["registry.example/agent:2"; 3].join(" "));
}

fn undo(cluster: &Cluster<'_>) {
    let numbers = || -> Vec<(Value, Value)> {
        let told = cluster.told(&["rollout", "history", "log-agent", "-o", "json"]);
        let revisions: Value = serde_json::from_str(&told).unwrap();
        items(&revisions).map(|revision| (revision["revision"].clone(), revision["latest"].clone())).collect()
    };
    assert_eq!(numbers(), [(json!(1), json!(false)), (json!(2), json!(true))]);
    let table = cluster.told(&["rollout", "history", "log-agent"]);
    assert!(table.lines().nth(1).unwrap().starts_with("REVISION     NAME"), "{table}");
    assert!(table.contains("agent=registry.example/agent:2"), "{table}");
    let one = cluster.told(&["rollout", "history", "log-agent", "--revision=1"]);
    assert!(one.contains("with revision #1") && one.contains("agent:1"), "{one}");

    assert!(cluster.refused(&["rollout", "undo", "log-agent", "--to-revision=9"]).contains("there are 1, 2"));
    let same = cluster.told(&["rollout", "undo", "log-agent", "--to-revision=2"]);
    assert!(same.contains("skipped rollback"), "{same}");
    let dry = cluster.told(&["rollout", "undo", "log-agent", "--dry-run"]);
    assert!(dry.contains("rolled back to revision 1 (server dry run)"), "{dry}");
    assert_eq!(numbers().len(), 2);
    let undone = cluster.told(&["rollout", "undo", "log-agent"]);
    assert_eq!(undone, "sidecarset.apps.kruise.io/log-agent rolled back to revision 1\n");
    cluster.until("the first image everywhere", |report| report["state"] == "done");
    assert_eq!(cluster.images(), ["registry.example/agent:1"; 3].join(" "));
    // The same revision under a new number, not a third one.
    assert_eq!(numbers(), [(json!(2), json!(false)), (json!(3), json!(true))]);
}

fn hold_by_partition(cluster: &Cluster<'_>) {
    let patch = r#"{"spec":{"updateStrategy":{"partition":2}}}"#;
    cluster.shop.ok(&["patch", "sidecarset", "log-agent", "--type=merge", "-p", patch]);
    cluster.set_image(3);
    cluster.until("one Pod of three", |report| report["state"] == "held" && report["updatedReadyPods"] == 1);
    let told = cluster.told(&["status", "log-agent", "--watch"]);
    assert!(told.contains("log-agent: held: 1 of 3 Pods updated"), "{told}");
}

/// `kubectl sidecarset` finds the program by its other name.
fn the_plugin_tells_the_same(cluster: &Cluster<'_>) {
    let plugins = cluster.plane.folder.join("plugins");
    std::fs::create_dir_all(&plugins).unwrap();
    std::os::unix::fs::symlink(PROGRAM, plugins.join("kubectl-sidecarset")).unwrap();
    let kubectl: &PathBuf = &cluster.plane.kubectl.program;
    let output = Command::new(kubectl)
        .args(["sidecarset", "status"])
        .env("PATH", &plugins)
        .env("KUBECONFIG", &cluster.plane.kubectl.kubeconfig)
        .output()
        .unwrap();
    let told = text(&output.stdout);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(told, cluster.told(&["status"]));
    let mut rows = told.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
    assert_eq!(rows.next().unwrap()[..4], ["NAME", "STATE", "UPDATED", "READY"]);
    assert_eq!(rows.next().unwrap()[..4], ["log-agent", "held", "1/3", "3/3"]);
}

/// Rules: C-TERM-11, C-TERM-12. Decision: D-34.
fn end_sidecars(cluster: &Cluster<'_>) {
    let shop = &cluster.shop;
    shop.create(&[json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "containerrecreaterequests.apps.kruise.io",
            "annotations": {"api-approved.kubernetes.io": "unapproved, a test's own"}},
        "spec": {
            "group": "apps.kruise.io", "scope": "Namespaced",
            "names": {"kind": "ContainerRecreateRequest", "plural": "containerrecreaterequests"},
            "versions": [{"name": "v1beta1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    })]);
    let served = ["get", "containerrecreaterequests.apps.kruise.io"];
    poll::until("the kind to be served", LIMIT, || shop.run(&served)).unwrap();
    let mark = "KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT";
    let node = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}});
    shop.create(&[node("node-1", json!({})), node("virtual", json!({"type": "virtual-kubelet"}))]);
    let container = |name: &str, env: Value| json!({"name": name, "image": format!("{name}:1"), "env": env});
    for (name, node) in [("killed", "node-1"), ("replaced", "virtual")] {
        let env = json!([{"name": mark, "value": "true"}, {"name": format!("{mark}_WITH_IMAGE"), "value": "exit:1"}]);
        let containers = json!([container("main", json!([])), container("sidecar", env)]);
        let mut pod = kubelet::pod(name, json!({}), containers);
        pod["spec"]["restartPolicy"] = json!("Never");
        pod["spec"]["nodeName"] = json!(node);
        shop.create(&[pod]);
        kubelet::run(shop);
        kubelet::end(shop, name, "main");
    }
    // On a real node the sidecar is killed, on a virtual one its image is replaced.
    let image = ["get", "pod", "replaced", "-o", "jsonpath={.spec.containers[1].image}"];
    let request =
        ["get", served[1], "-o", "jsonpath={.items[*].spec.podName} {.items[*].spec.containers[*].name}"];
    for (ask, expected) in [(&image[..], "exit:1"), (&request[..], "killed sidecar")] {
        poll::until(expected, LIMIT, || match shop.run(ask)? {
            told if told == expected => Ok(()),
            told => Err(told),
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", cluster.plane.supervisor.log_tail("controller")));
    }
    assert_eq!(shop.ok(&["get", "pod", "killed", "-o", image[4]]), "sidecar:1");
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
