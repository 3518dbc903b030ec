//! The Helm chart: what it renders, what it refuses, and a release from its install to its end.

use std::fs;
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::items;
use crate::packages::{
    Helm, NAMESPACE, assert_ca_keeps_its_key, assert_taken, by_name, judge, kustomize, kustomized,
    repository, warnings,
};
use crate::poll;
use crate::webhook::{Webhook, restrict};

/// The variants of `tests/helm/values`.
const VARIANTS: [&str; 3] = ["cert-manager", "fail-open", "minimal"];

const PODS: &str = "MutatingWebhookConfiguration /sidecarset";
const CONTROLLER: &str = "Deployment sidecarset-system/sidecarset-controller";
const DEPLOYMENT: &str = "Deployment sidecarset-system/sidecarset-webhook";

#[test]
#[ignore = "needs a control plane: make test"]
fn helm_finds_nothing_to_complain_about() {
    let helm = Helm::new(judge());
    let chart = repository("manifests/chart").display().to_string();
    helm.ok(&["lint", "--strict", &chart]);
    for variant in VARIANTS {
        helm.ok(&["lint", "--strict", &chart, "--values", &values(variant)]);
    }
}

#[test]
#[ignore = "needs a control plane: make test"]
fn an_api_server_takes_every_variant() {
    let helm = Helm::new(judge());
    let render = |variant: &str| helm.template(&["--values", &values(variant)]);
    assert_taken("defaults", &helm.template(&[]));
    assert_taken("cert-manager", &render("cert-manager"));
    assert_taken("fail-open", &render("fail-open"));
    // The namespace of the test is strict; docs/install.md says that this variant needs one that is not.
    let warned = warnings("minimal", &render("minimal"));
    assert_eq!(warned.lines().count(), 1, "{warned}");
    assert!(warned.contains("host namespaces (hostNetwork=true)"), "{warned}");
}

/// Two ways to install one thing: apart from Helm's own labels and the namespace, which Helm makes by a flag.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_defaults_are_what_kustomize_prints() {
    let mut kustomized = by_name(kustomized(judge()));
    assert!(kustomized.remove("Namespace /sidecarset-system").is_some());
    let rendered = by_name(Helm::new(judge()).template(&["--skip-tests"]));
    let names =
        |objects: &std::collections::BTreeMap<String, Value>| objects.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&rendered), names(&kustomized));
    for (name, mut object) in rendered {
        let labels = object["metadata"]["labels"].as_object_mut().unwrap();
        for label in ["app.kubernetes.io/managed-by", "app.kubernetes.io/version", "helm.sh/chart"] {
            assert!(labels.remove(label).is_some(), "{name} has no label {label}");
        }
        if object["kind"] == "CustomResourceDefinition" {
            let annotations = object["metadata"].as_object_mut().unwrap().remove("annotations");
            assert_eq!(annotations, Some(json!({"helm.sh/resource-policy": "keep"})));
        }
        assert_eq!(object, kustomized[&name], "{name}: chart (left) and manifests/base (right) differ");
    }
}

#[test]
#[ignore = "needs a control plane: make test"]
fn values_reach_what_they_are_for() {
    let helm = Helm::new(judge());
    let render = |variant: &str| by_name(helm.template(&["--values", &values(variant)]));
    let pod = |objects: &std::collections::BTreeMap<String, Value>| {
        objects[DEPLOYMENT]["spec"]["template"]["spec"].clone()
    };

    let cert_manager = render("cert-manager");
    let certificate = &cert_manager["Certificate sidecarset-system/sidecarset-serving-cert"];
    assert_eq!(certificate["spec"]["issuerRef"], json!({"kind": "ClusterIssuer", "name": "internal"}));
    assert_eq!(cert_manager.keys().filter(|name| name.starts_with("Issuer")).count(), 0);
    assert_eq!(cert_manager.keys().filter(|name| name.contains("-certificates")).count(), 0, "rights");
    let inject = "/metadata/annotations/cert-manager.io~1inject-ca-from";
    let asking = cert_manager.values().filter(|object| object.pointer(inject).is_some()).count();
    assert_eq!(asking, 4, "two mutating and one validating configuration, and the definition");
    assert_eq!(cert_manager[PODS]["metadata"]["labels"]["team"], "platform");
    assert_ca_keeps_its_key(&by_name(helm.template(&["--set", "certificates.mode=certManager"])));

    let fail_open = render("fail-open");
    let webhook = &fail_open[PODS]["webhooks"][0];
    assert_eq!((&webhook["failurePolicy"], &webhook["timeoutSeconds"]), (&json!("Ignore"), &json!(5)));
    let exempt = json!(["kube-system", "sidecarset-system", "kube-node-lease"]);
    assert_eq!(webhook["namespaceSelector"]["matchExpressions"][0]["values"], exempt);
    assert_eq!(webhook["namespaceSelector"]["matchExpressions"][1]["key"], "environment");
    assert!(fail_open.contains_key("Role kruise-system/sidecarset-webhook-revisions"));
    let args = pod(&fail_open)["containers"][0]["args"].clone();
    for flag in [
        "--revision-namespace=kruise-system",
        "--feature-gates=SortSidecarContainers=true",
        "--strict-validation",
        "--debug-endpoints",
    ] {
        assert!(items(&args).any(|arg| arg == flag), "no {flag} in {args}");
    }

    // Beside no certificate, and in `minimal` beside one.
    let told = |pod: &Value, list: &str, member: &str| -> Vec<String> {
        let list = pod.pointer(list).unwrap_or(&Value::Null);
        items(list).filter_map(|item| item[member].as_str()).map(str::to_owned).collect()
    };
    let mounts = "/containers/0/volumeMounts";
    assert_eq!(told(&pod(&fail_open), "/volumes", "name"), ["clients"]);
    assert_eq!(told(&pod(&fail_open), mounts, "mountPath"), ["/etc/sidecarset/clients"]);

    let controller = &fail_open[CONTROLLER]["spec"]["template"]["spec"];
    let args = &controller["containers"][0]["args"];
    for flag in [
        "--probe-listen=0.0.0.0:9082",
        "--revision-namespace=kruise-system",
        "--terminator",
        "--workers=5",
        "--lease-duration=30s",
        "--resync=1h",
    ] {
        assert!(items(args).any(|arg| arg == flag), "no {flag} in {args}");
    }
    assert_eq!(controller["containers"][0]["ports"][0]["containerPort"], 9082);
    assert_eq!(controller["nodeSelector"], json!({"kubernetes.io/os": "linux"}));
    for role in ["ClusterRole /sidecarset-controller-terminator", "ClusterRole /sidecarset-controller-repair"]
    {
        assert!(fail_open.contains_key(role), "{role}");
    }
    let revisions = &fail_open["Role kruise-system/sidecarset-controller-revisions"]["rules"];
    let at_home = &fail_open["Role sidecarset-system/sidecarset-controller"]["rules"];
    assert_eq!(revisions[0]["resources"], json!(["controllerrevisions"]));
    assert!(!items(at_home).any(|rule| rule["resources"] == json!(["controllerrevisions"])), "{at_home}");

    assert!(cert_manager.contains_key("Pod sidecarset-system/sidecarset-test"));
    assert!(!fail_open.keys().any(|name| name.contains("sidecarset-test")), "tests.enabled is false");

    let minimal = render("minimal");
    let of_controller = minimal.keys().filter(|name| name.contains("controller")).count();
    assert_eq!(of_controller, 0, "controller.enabled is false");
    assert_eq!(minimal[DEPLOYMENT]["spec"]["replicas"], 1);
    let pod = pod(&minimal);
    assert_eq!(pod["hostNetwork"], true);
    assert_eq!(pod["volumes"][0]["secret"]["secretName"], "webhook-tls");
    assert_eq!(told(&pod, "/volumes", "name"), ["tls", "config"]);
    assert_eq!(told(&pod, mounts, "mountPath"), ["/etc/sidecarset/tls", "/etc/sidecarset/config"]);
    let image = pod["containers"][0]["image"].as_str().unwrap();
    assert!(image.starts_with("registry.example/sidecarset@sha256:5f70"), "{image}");
    for absent in ["HorizontalPodAutoscaler", "PodDisruptionBudget"] {
        assert!(!minimal.keys().any(|name| name.starts_with(absent)), "{absent}");
    }
    let bundle = minimal[PODS]["webhooks"][0]["clientConfig"]["caBundle"].as_str().unwrap();
    let bundle = String::from_utf8(STANDARD.decode(bundle).unwrap()).unwrap();
    assert!(bundle.starts_with("-----BEGIN CERTIFICATE-----\n"), "{bundle}");
}

/// What values do in the chart, a component or a patch does with kustomize.
#[test]
#[ignore = "needs a control plane: make test"]
fn kustomize_narrows_calls_and_networks_as_the_chart_does() {
    let overlay = |name: &str| by_name(kustomize(judge(), &repository("tests/kustomize").join(name)));
    let helm = Helm::new(judge());

    let selected = overlay("selection").remove(PODS).unwrap();
    let webhook = &selected["webhooks"][0];
    assert_eq!(
        webhook["objectSelector"],
        json!({"matchExpressions": [{"key": "app", "operator": "Exists"}]})
    );
    let pods = json!({
        "exemptNamespaces": ["monitoring"], "objectSelector": webhook["objectSelector"],
        "matchConditions": webhook["matchConditions"],
    });
    let rendered = helm.template(&["--set-json", &format!("webhooks.pods={pods}")]);
    assert_eq!(by_name(rendered)[PODS]["webhooks"], selected["webhooks"]);

    let from = r#"[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]"#;
    let metrics = format!("networkPolicy.metricsFrom={from}");
    let rendered = helm.template(&["--set", "networkPolicy.enabled=true", "--set-json", &metrics]);
    let policies = |objects: std::collections::BTreeMap<String, Value>| -> Vec<(String, Value)> {
        let is_policy = |name: &str| name.starts_with("NetworkPolicy ");
        let policies = objects.into_iter().filter(|(name, _)| is_policy(name));
        policies.map(|(name, mut object)| (name, object["spec"].take())).collect()
    };
    let charted = policies(by_name(rendered));
    assert_eq!(charted.len(), 2);
    assert_eq!(policies(overlay("network-policy")), charted);
}

/// The program itself reads the arguments that the chart makes, and finds nothing wrong with any of them.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_program_takes_the_arguments_of_the_chart() {
    let helm = Helm::new(judge());
    let more = "maxInFlight=50,maxBodyBytesInFlight=1Gi,workers=3,connectionAge=90s,logLevel=debug,allowPrivileged=false,listenAddress=::1";
    let variant = values("fail-open");
    for arguments in [vec![], vec!["--values", &variant], vec!["--set", more]] {
        let rendered = by_name(helm.template(&arguments));
        for name in [DEPLOYMENT, CONTROLLER] {
            let container = &rendered[name]["spec"]["template"]["spec"]["containers"][0];
            // Where the chart mounts a file for it, there is none here.
            let any_file = format!("--client-ca={}", repository("Cargo.toml").display());
            let args: Vec<&str> = items(&container["args"])
                .filter_map(Value::as_str)
                .map(|arg| if arg.starts_with("--client-ca=") { &any_file } else { arg })
                .collect();
            let output = Command::new(env!("CARGO_BIN_EXE_sidecarset"))
                .args(&args)
                .arg("--print-config")
                .env("POD_NAMESPACE", "sidecarset-system")
                .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
            let given = told.lines().filter(|line| line.contains("# flag")).count();
            // Not the command's own name, and not the flag that asks.
            assert!(given >= args.len() - 1, "{args:?}: {told}");
        }
    }
}

#[test]
#[ignore = "needs a control plane: make test"]
fn a_wrong_value_is_named_with_its_path() {
    let helm = Helm::new(judge());
    let chart = repository("manifests/chart").display().to_string();
    for (set, told) in [
        ("image.tagg=1", "at '/image': additional properties 'tagg' not allowed"),
        ("webhooks.pods.failurePolicy=Open", "at '/webhooks/pods/failurePolicy': value must be one of"),
        ("certificates.mode=auto", "at '/certificates/mode': value must be one of 'managed'"),
        ("replicas=0", "at '/replicas': minimum: got 0, want 1"),
        ("shutdownDelay=10", "at '/shutdownDelay': got number, want string"),
        ("connectionAge=soon", "at '/connectionAge': 'soon' does not match pattern"),
        ("extraArgs={debug}", "at '/extraArgs/0': 'debug' does not match pattern"),
        ("extraVolumes[0].name=tls", "at '/extraVolumes/0/name': 'not' failed"),
        ("extraVolumeMounts[0].name=ca", "at '/extraVolumeMounts/0': missing property 'mountPath'"),
        ("podDisruptionBudget.maxUnavailable=half", "at '/podDisruptionBudget/maxUnavailable'"),
        ("controller.replicas=0", "at '/controller/replicas': minimum: got 0, want 1"),
        ("controller.leaseDuration=soon", "at '/controller/leaseDuration': 'soon' does not match pattern"),
        ("hostNetwork=true", "hostNetwork: port 10250 of a node is the kubelet's"),
        ("ports.probes=10250", "ports.https and ports.probes are the same"),
        ("autoscaling.minReplicas=7", "autoscaling.minReplicas is 7, more than autoscaling.maxReplicas"),
    ] {
        let error = helm.refused(&["template", "sidecarset", &chart, "--set", set]);
        assert!(error.contains(told), "{set}: {error}");
    }
}

/// The expressions that `values.yaml` offers, in the API server that evaluates them.
#[test]
#[ignore = "needs a control plane: make test"]
fn pods_that_nobody_wants_never_reach_the_webhook() {
    let plane = ControlPlane::shared();
    let kubectl = plane.namespace("unwanted", json!({"sidecarset.kruise.io/injection": "enabled"}));
    let webhook = Webhook::start(plane, "unwanted", &["agents.yaml"]);
    let rendered = by_name(Helm::new(judge()).template(&["--values", &values("fail-open")]));
    let wanted = rendered[PODS]["webhooks"][0].clone();
    webhook.register_changed(&kubectl, |registered| {
        let mut configuration = json!({"webhooks": [wanted]});
        configuration["webhooks"][0]["clientConfig"] = registered["clientConfig"].clone();
        restrict(&mut configuration, "unwanted");
        *registered = configuration["webhooks"][0].take();
    });
    let pod = |name: &str, metadata: Value| {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {"nodeName": "node-1", "containers": [{"name": "shop", "image": "shop:1"}]},
        });
        pod["metadata"]["name"] = json!(name);
        kubectl.run_with_input(&["create", "--dry-run=server", "-f", "-"], &pod.to_string()).unwrap();
    };
    let labels = json!({"app": "shop"});
    pod("no-label", json!({}));
    let mirror = json!({"kubernetes.io/config.mirror": "a1b2"});
    pod("mirror", json!({"labels": labels, "annotations": mirror}));
    let out = json!({"sidecarset.kruise.io/inject": "false"});
    pod("opted-out", json!({"labels": labels, "annotations": out}));
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "d", "uid": "5d"}]);
    pod("daemon", json!({"labels": labels, "ownerReferences": owner}));
    pod("wanted", json!({"labels": labels, "annotations": {"note": "any"}}));
    // A thread of its own writes the log, in order: with the last Pod in it, it has all.
    poll::until("the last Pod", Duration::from_secs(20), || match webhook.admissions("wanted") {
        1 => Ok(()),
        count => Err(format!("{count} admissions")),
    })
    .unwrap();
    for name in ["no-label", "mirror", "opted-out", "daemon"] {
        assert_eq!(webhook.admissions(name), 0, "{name}");
    }
}

/// Install, upgrade to another definition, uninstall, install again.
#[test]
#[ignore = "needs a control plane: make test"]
fn a_release_keeps_bundles_and_sidecarsets() {
    const DEFINITION: &str = "crd/sidecarsets.apps.kruise.io";
    let plane = ControlPlane::without_controllers("helm").unwrap_or_else(|error| panic!("{error}"));
    let kubectl = &plane.kubectl;
    let helm = Helm::new(kubectl);

    // The chart as an older release had it: its definition lacks a column and converts nothing.
    let old = plane.folder.join("chart");
    let chart = repository("manifests/chart");
    assert!(Command::new("cp").arg("-R").arg(&chart).arg(&old).status().unwrap().success());
    let file = old.join("files/crd.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("name: MATCHED"), "the first column");
    fs::write(&file, text.replace("name: MATCHED", "name: CHOSEN")).unwrap();
    let (old, new) = (old.display().to_string(), chart.display().to_string());
    let notes = helm.ok(&["install", "sidecarset", &old, "--create-namespace"]);
    assert!(notes.contains("rollout status deployment/sidecarset-webhook"), "{notes}");

    // What a replica does: the bundle, under a field manager of its own.
    let bundle = STANDARD.encode(fs::read(plane.authority.certificate()).unwrap());
    let applied = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "sidecarset"},
        "webhooks": [{"name": "mpod.sidecarset.kruise.io", "clientConfig": {"caBundle": bundle}}],
    });
    let apply = ["apply", "--server-side", "--field-manager=sidecarset-ca-bundle", "-f", "-"];
    kubectl.run_with_input(&apply, &applied.to_string()).unwrap();

    helm.ok(&["upgrade", "sidecarset", &new, "--set", "webhooks.timeoutSeconds=7"]);
    let webhook = &kubectl.json(&["get", "mutatingwebhookconfiguration", "sidecarset"])["webhooks"][0];
    assert_eq!(webhook["timeoutSeconds"], 7);
    assert_eq!(webhook["clientConfig"]["caBundle"], json!(bundle), "an upgrade must not take it away");
    let columns = kubectl.ok(&[
        "get",
        DEFINITION,
        "-o",
        "jsonpath={.spec.versions[*].additionalPrinterColumns[0].name}",
    ]);
    assert_eq!(columns, "MATCHED MATCHED", "an upgrade brings the definition");

    assert_test_leaves_no_rights(&plane, &helm);

    helm.ok(&["uninstall", "sidecarset"]);
    kubectl.ok(&["get", DEFINITION]);
    let left =
        kubectl.ok(&["get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "name"]);
    assert_eq!(left, "", "nothing is left that could refuse a Pod");
    helm.ok(&["install", "sidecarset", &new]);
}

/// `helm test`, with a Pod that ends well because the test says so.
#[track_caller]
fn assert_test_leaves_no_rights(plane: &ControlPlane, helm: &Helm) {
    let own = plane.kubectl.in_namespace(NAMESPACE);
    let kinds = "serviceaccounts,clusterroles,clusterrolebindings,roles,rolebindings";
    let made = || {
        let all = own.ok(&["get", kinds, "-o", "name"]);
        all.lines().filter(|name| name.ends_with("/sidecarset-test")).count()
    };
    std::thread::scope(|scope| {
        let test = scope.spawn(|| helm.ok(&["test", "sidecarset", "--timeout", "60s"]));
        let done = r#"{"status": {"phase": "Succeeded"}}"#;
        let end = ["patch", "pod", "sidecarset-test", "--subresource=status", "--type=merge", "-p", done];
        poll::until("the Pod of the test", Duration::from_secs(30), || own.run(&["get", end[1], end[2]]))
            .unwrap();
        assert_eq!(made(), 5);
        own.ok(&end);
        let told = test.join().unwrap();
        assert!(told.contains("Succeeded"), "{told}");
    });
    assert_eq!(made(), 0);
    own.ok(&["get", "pod", "sidecarset-test"]);
}

fn values(variant: &str) -> String {
    repository("tests/helm/values").join(format!("{variant}.yaml")).display().to_string()
}
