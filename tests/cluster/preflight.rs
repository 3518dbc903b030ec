//! `sidecarset preflight` against a real API server: before an install, after one, and with what goes wrong there.
//!
//! What it prints is compared with `tests/fixtures/preflight/*.txt`.

use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::injected::items;
use crate::kubectl::{Kubectl, list};
use crate::packages::{Helm, kustomized};
use crate::pki::Authority;
use crate::poll;
use crate::webhook::registration;

const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const REPLICA: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 2);
const OWN: &str = "sidecarset-system";

/// What a run printed: exit status and stdout.
struct Run {
    code: Option<i32>,
    text: String,
}

impl Run {
    fn new(kubectl: &Kubectl, kubeconfig: &Path, args: &[&str]) -> Self {
        let mut words = kubectl.enter.clone();
        words.push(env!("CARGO_BIN_EXE_sidecarset").to_owned());
        words.extend(["preflight".to_owned(), format!("--kubeconfig={}", kubeconfig.display())]);
        let output = Command::new(&words[0]).args(&words[1..]).args(args).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), text }
    }

    /// Exit status and table are as in the file.
    #[track_caller]
    fn is(&self, code: i32, file: &str) {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/preflight").join(file);
        let expected = fs::read_to_string(&path).unwrap_or_default();
        assert_eq!(self.code, Some(code), "{}", self.text);
        assert_eq!(settled(&self.text), expected, "is not {}; it printed\n{}", path.display(), self.text);
    }

    /// The row of a check, with its fix.
    fn row(&self, check: &str) -> String {
        let is_row = |line: &&str| line.split_whitespace().next() == Some(check);
        let mut lines = self.text.lines().skip_while(|line| !is_row(line));
        let row = lines.next().unwrap_or_default();
        let fix = lines.next().filter(|line| line.starts_with(' ')).unwrap_or_default();
        format!("{row}\n{fix}")
    }

    #[track_caller]
    fn fails(&self, check: &str, expected: &[&str]) {
        let row = self.row(check);
        assert_eq!(self.code, Some(1), "{}", self.text);
        assert!(row.contains("FAIL"), "{}", self.text);
        for part in expected {
            assert!(row.contains(part), "{part:?} is not in {row}\n{}", self.text);
        }
    }
}

/// How long a certificate is valid depends on the day, and the version on the control plane.
fn settled(text: &str) -> String {
    let line = |line: &str| {
        if line.starts_with("kubernetes ") {
            return line
                .split_once(" v1.")
                .map_or_else(|| line.to_owned(), |(before, _)| format!("{before} v1.N"));
        }
        match line.split_once("valid for ") {
            Some((before, after)) => {
                format!("{before}valid for N{}", after.trim_start_matches(|c: char| c.is_ascii_digit()))
            }
            None => line.to_owned(),
        }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}

#[test]
#[ignore = "needs a control plane: make test"]
fn a_cluster_is_checked_before_the_install() {
    let plane = ControlPlane::without_controllers("preflight-before").unwrap();
    let kubectl = &plane.kubectl;
    let run = |kubeconfig: &Path, args: &[&str]| Run::new(kubectl, kubeconfig, args);
    run(&kubectl.kubeconfig, &[]).is(0, "before.txt");

    run(&plane.kubeconfig_of("nobody"), &[]).is(1, "nobody.txt");
    assert_rights_to_give_are_asked_for(&plane);

    kubectl.create(&[kruise_webhook()]);
    run(&kubectl.kubeconfig, &[]).is(0, "kruise-before.txt");

    let json: Value = serde_json::from_str(&run(&kubectl.kubeconfig, &["-o", "json"]).text).unwrap();
    assert_eq!(json["phase"], "before");
    assert_eq!(json["findings"][0]["check"], "kubernetes");
    assert_eq!(json["findings"][0]["level"], "ok");

    // An install that should be there and is not.
    let gone = run(&kubectl.kubeconfig, &["--phase=after"]);
    gone.fails("crd", &["there is no sidecarsets.apps.kruise.io", "sidecarset crd | kubectl apply"]);
    gone.fails("webhook-configurations", &["no webhook for Pods and defaults of SidecarSets and validation"]);
    gone.fails("namespaces", &["there is no namespace sidecarset-system"]);

    let away = run(&plane.authority.kubeconfig("lost", None, "https://127.0.0.1:9").unwrap(), &[]);
    assert_eq!(away.code, Some(2));
    assert!(away.text.contains("error: the API server does not answer: "), "{}", away.text);
    let context = run(&kubectl.kubeconfig, &["--context=other"]);
    assert_eq!((context.code, context.text.contains("other")), (Some(2), true), "{}", context.text);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn an_install_is_checked_and_what_is_wrong_with_it_is_found() {
    let plane = match ControlPlane::in_own_network("preflight-after", &[API_SERVER, REPLICA]) {
        Ok(plane) => plane,
        Err(reason) if crate::replicas::may_be_left_out() => {
            // Past the capture of test output: nobody should believe that this ran.
            let _ = writeln!(std::io::stderr(), "DID NOT RUN: preflight of an install: {reason}");
            return;
        }
        Err(reason) => panic!("{reason}"),
    };
    let install = Install::new(&plane);
    let run = |args: &[&str]| Run::new(&plane.kubectl, &plane.kubectl.kubeconfig, args);
    poll::until("the API server to use the configurations", Duration::from_secs(30), || {
        let run = run(&["--probe-namespace=shop"]);
        if run.code == Some(0) && run.row("set-trial").contains("ok") && run.row("pod-trial").contains("ok") {
            return Ok(());
        }
        Err(run.text)
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", plane.supervisor.log_tail("webhook")));

    run(&["--probe-namespace=shop"]).is(0, "after.txt");
    run_helm_test(&plane).is(0, "helm-test.txt");

    let mut binding = install.kubectl.json(&["get", "clusterrolebinding", "sidecarset-webhook"]);
    install.kubectl.ok(&["delete", "clusterrolebinding", "sidecarset-webhook"]);
    run(&["--probe-namespace=shop"])
        .fails("webhook-rights", &["may not get sidecarsets.apps.kruise.io, list ", "watch namespaces"]);
    binding["metadata"] = json!({"name": "sidecarset-webhook"});
    install.kubectl.create(&[binding]);

    install.kubectl.ok(&["delete", "rolebinding", "sidecarset-controller"]);
    run(&["--probe-namespace=shop"]).fails(
        "controller-rights",
        &["may not get controllerrevisions.apps -n sidecarset-system", "get leases.coordination.k8s.io/side"],
    );
    let other = json!([{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--revision-namespace=shop"}]);
    let deployment =
        ["patch", "deployment", "sidecarset-controller", "--type=json", "-p", &other.to_string()];
    install.kubectl.ok(&deployment);
    run(&["--probe-namespace=shop"]).fails(
        "revision-namespace",
        &["keeps revisions in shop, the webhook reads them in sidecarset-system"],
    );
    install.kubectl.ok(&["delete", "deployment", "sidecarset-controller"]);
    let alone = run(&["--probe-namespace=shop"]);
    assert_eq!(alone.code, Some(0), "{}", alone.text);
    assert!(alone.row("controller-deployment").contains("skip  there is no Deployment"), "{}", alone.text);

    let exempt = run(&["--probe-namespace=sidecarset-system"]);
    assert!(exempt.row("pod-trial").contains("skip  the namespaceSelector exempts"), "{}", exempt.text);

    install.kubectl.create(&[kruise_webhook()]);
    run(&["--probe-namespace=shop"])
        .fails("other-manager", &["mpod.kb.io of kruise-mutating", "docs/migration.md"]);
    install.kubectl.ok(&["delete", "mutatingwebhookconfiguration", "kruise-mutating-webhook-configuration"]);

    install.patch("/webhooks/0/clientConfig/service/path", &json!("/mutate"));
    run(&["--probe-namespace=shop"])
        .fails("webhook-target", &["calls the path \"/mutate\", not \"/mutate-pod\""]);
    install.until_the_trial_says(&run, "the path is wrong");
    install.patch("/webhooks/0/clientConfig/service/path", &json!("/mutate-pod"));

    install.patch("/webhooks/0/clientConfig/service/name", &json!("gone"));
    install.until_the_trial_says(&run, "the Service is not there");
    install.patch("/webhooks/0/clientConfig/service/name", &json!("sidecarset-webhook"));

    // While it runs the API server goes on with the connections that it has.
    assert_eq!(plane.supervisor.stop("webhook"), Ok(0));
    install.list_replica(false);
    install.until_the_trial_says(&run, "no replica is ready").fails("service", &["none of the 1 endpoints"]);
    install.list_replica(true);
    install
        .until_the_trial_says(&run, "nothing listens there")
        .fails("set-trial", &["nothing listens there"]);
    install.start(&plane);

    install.patch("/webhooks/0/namespaceSelector", &json!({}));
    run(&["--probe-namespace=shop"])
        .fails("webhook-exemptions", &["Pods in sidecarset-system and kube-system wait"]);
    install.patch(
        "/webhooks/0/namespaceSelector",
        &registration(&plane.kubectl)["webhooks"][0]["namespaceSelector"],
    );

    install.break_the_ca(&plane);
    install.until_the_trial_says(&run, "see ca-bundle and certificate").is(1, "broken-ca.txt");
    // The call fails, and nobody would notice but for the API server's counters.
    install.patch("/webhooks/0/failurePolicy", &json!("Ignore"));
    let found = poll::until("the other policy to count", Duration::from_secs(20), || {
        let found = run(&["--probe-namespace=shop"]);
        if found.row("pod-trial").contains("failed calling") { Err(found.text) } else { Ok(found) }
    })
    .unwrap_or_else(|error| panic!("{error}"));
    found.fails("pod-trial", &["got no answer, and failurePolicy Ignore let the Pod through"]);
    assert!(found.row("webhook-policy").contains("warn"), "{}", found.text);
}

/// Who may create everything and lacks what the roles give is refused by the API server, and preflight says so before.
#[track_caller]
fn assert_rights_to_give_are_asked_for(plane: &ControlPlane) {
    let admin = plane.kubectl.in_namespace("");
    let user = plane.kubeconfig_of("installer");
    let run = || Run::new(&plane.kubectl, &user, &["--phase=before"]);
    let give = |name: &str, rules: Value| {
        admin.create(&[
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": name},
                "rules": rules,
            }),
            json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": name},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
                "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "installer"}],
            }),
        ]);
    };
    let roles: Vec<Value> = kustomized(&plane.kubectl)
        .into_iter()
        .filter(|object| object["kind"] == "ClusterRole" || object["kind"] == "ClusterRoleBinding")
        .collect();
    let mut installer = admin.clone();
    installer.kubeconfig = user.clone();
    let apply = || installer.run_with_input(&["create", "--dry-run=server", "-f", "-"], &list(&roles));

    give("installer-creates", json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["create"]}]));
    run().fails(
        "install-rights",
        &[
            "a right which you lack, as the install has to: get sidecarsets.apps.kruise.io (for reading the sets)",
            "or the right to escalate clusterroles.rbac.authorization.k8s.io",
        ],
    );
    let refused = apply().unwrap_err();
    assert!(refused.contains("attempting to grant RBAC permissions not currently held"), "{refused}");

    let rbac = ["rbac.authorization.k8s.io"];
    give(
        "installer-gives",
        json!([{"apiGroups": rbac, "resources": ["roles", "clusterroles"], "verbs": ["escalate", "bind"]}]),
    );
    let allowed = poll::until("the right to give rights", Duration::from_secs(20), || {
        let run = run();
        if run.row("install-rights").contains("ok") { Ok(()) } else { Err(run.text) }
    });
    allowed.unwrap_or_else(|error| panic!("{error}"));
    apply().unwrap();
}

/// What `helm test` runs, with the rights that the chart gives it: it sees everything but the key, and tries nothing.
#[track_caller]
fn run_helm_test(plane: &ControlPlane) -> Run {
    let (rights, pod) = Helm::new(&plane.kubectl).test_hooks();
    plane.kubectl.in_namespace("").create(&rights);
    let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
    let kubeconfig = plane.kubeconfig_of(&format!("system:serviceaccount:{OWN}:{account}"));
    let args: Vec<&str> = items(&pod["spec"]["containers"][0]["args"]).filter_map(Value::as_str).collect();
    let (command, flags) = args.split_first().unwrap();
    assert_eq!(*command, "preflight");
    Run::new(&plane.kubectl, &kubeconfig, flags)
}

/// OpenKruise's webhook for Pods, as its chart registers it, with nobody behind it.
fn kruise_webhook() -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "kruise-mutating-webhook-configuration"},
        "webhooks": [{
            "name": "mpod.kb.io", "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Ignore",
            "timeoutSeconds": 1,
            "clientConfig": {"service": {"namespace": "kruise-system", "name": "kruise-webhook-service", "path": "/mutate-pod"}},
            "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"], "operations": ["CREATE"]}],
        }],
    })
}

/// All objects of an install but its Pods; one webhook runs as a program behind the Service.
struct Install {
    kubectl: Kubectl,
}

impl Install {
    fn new(plane: &ControlPlane) -> Self {
        let own = plane.namespace(OWN, json!({}));
        let install = Self { kubectl: own.clone() };
        plane.namespace("shop", json!({}));
        let folder = plane.folder.join("certificates");
        plane.authority.server(&folder, &["sidecarset-webhook.sidecarset-system.svc"]).unwrap();
        fs::create_dir_all(plane.folder.join("sidecarsets")).unwrap();
        install.start(plane);

        let encoded = |path: &Path| STANDARD.encode(fs::read(path).unwrap());
        let ca = encoded(&plane.authority.certificate());
        let mut objects = kustomized(&plane.kubectl);
        objects.retain(|object| object["kind"] != "Namespace");
        for object in &mut objects {
            for pointer in ["/webhooks/0/clientConfig", "/spec/conversion/webhook/clientConfig"] {
                if let Some(client) = object.pointer_mut(pointer) {
                    client["caBundle"] = json!(ca);
                }
            }
        }
        objects.extend([
            json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "sidecarset-webhook-certificate", "namespace": OWN},
                "data": {"tls.crt": encoded(&folder.join("tls.crt")), "tls.key": encoded(&folder.join("tls.key"))},
            }),
            json!({
                "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
                "metadata": {
                    "name": "sidecarset-webhook", "namespace": OWN,
                    "labels": {"kubernetes.io/service-name": "sidecarset-webhook"},
                },
                "endpoints": [{"addresses": [REPLICA], "conditions": {"ready": true}}],
                "ports": [{"name": "https", "port": 10250, "protocol": "TCP"}],
            }),
        ]);
        plane.kubectl.in_namespace("").create(&objects);
        // Their number is up to the HorizontalPodAutoscaler, which nobody runs here.
        own.ok(&["scale", "deployment", "sidecarset-webhook", "--replicas=2"]);
        let status =
            json!({"status": {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2}}).to_string();
        for name in ["sidecarset-webhook", "sidecarset-controller"] {
            own.ok(&["patch", "deployment", name, "--subresource=status", "--type=merge", "-p", &status]);
        }
        own.ok(&["wait", "--for=condition=Established", "crd/sidecarsets.apps.kruise.io", "--timeout=60s"]);
        install
    }

    /// Starts the webhook and waits until it is ready.
    fn start(&self, plane: &ControlPlane) {
        let command = [
            env!("CARGO_BIN_EXE_sidecarset").to_owned(),
            "webhook".to_owned(),
            format!("--sidecarsets={}", plane.folder.join("sidecarsets").display()),
            format!("--cert-dir={}", plane.folder.join("certificates").display()),
            format!("--listen={REPLICA}:10250"),
            format!("--probe-listen={REPLICA}:8081"),
        ];
        let pid = plane.supervisor.start("webhook", &command).unwrap();
        let ready = || plane.http_get(&format!("http://{REPLICA}:8081/readyz")).map(|_| ());
        plane.await_ready("webhook", pid, ready).unwrap();
    }

    /// Replaces one member of the configuration for Pods.
    fn patch(&self, path: &str, value: &Value) {
        let patch = json!([{"op": "replace", "path": path, "value": value}]).to_string();
        self.kubectl.ok(&[
            "patch",
            "mutatingwebhookconfiguration",
            "sidecarset",
            "--type=json",
            "-p",
            &patch,
        ]);
    }

    /// Puts the CA of somebody else into the configuration for Pods.
    fn break_the_ca(&self, plane: &ControlPlane) {
        let folder = plane.folder.join("other");
        fs::create_dir_all(&folder).unwrap();
        let other = Authority::new(&folder).unwrap();
        let bundle = STANDARD.encode(fs::read(other.certificate()).unwrap());
        self.patch("/webhooks/0/clientConfig/caBundle", &json!(bundle));
    }

    /// A changed configuration takes effect a moment after it was stored.
    fn until_the_trial_says(&self, run: &dyn Fn(&[&str]) -> Run, fix: &str) -> Run {
        poll::until(&format!("{fix:?} for the trial Pod"), Duration::from_secs(20), || {
            let found = run(&["--probe-namespace=shop"]);
            let row = found.row("pod-trial");
            if row.contains("FAIL") && row.contains(fix) { Ok(found) } else { Err(found.text) }
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Says whether the replica behind the Service is ready.
    fn list_replica(&self, ready: bool) {
        let patch =
            json!([{"op": "replace", "path": "/endpoints/0/conditions/ready", "value": ready}]).to_string();
        self.kubectl.ok(&["patch", "endpointslice", "sidecarset-webhook", "--type=json", "-p", &patch]);
    }
}
