//! The whole thing as it is shipped: the manifests applied, two replicas in the image's file system with the arguments, the
//! service account and the rights of the manifests, called through the Service. Every path that calls the API server is
//! walked, and the API server refuses none of them.

use std::env;
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::image::Root;
use crate::injected::{annotation, items, names};
use crate::kubectl::{Kubectl, list};
use crate::packages::{NAMESPACE, by_name, kustomize, kustomized, repository};
use crate::poll;

const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 1, 0, 1);
const REPLICAS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 1, 0, 3)];
/// Where a kubelet puts what a Pod needs to call its API server.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
const DEFINITION: &str = "crd/sidecarsets.apps.kruise.io";
const LIMIT: Duration = Duration::from_secs(60);

#[test]
#[ignore = "needs a control plane: make test"]
fn the_image_does_all_its_work_with_the_rights_of_the_manifests() {
    let plane = match machine() {
        Ok(plane) => plane,
        Err(reason) if env::var("CLUSTER").is_ok_and(|cluster| cluster == "auto") => {
            // Past the capture of test output: nobody should believe that this ran.
            let _ = writeln!(std::io::stderr(), "DID NOT RUN: the image with the manifests: {reason}");
            return;
        }
        Err(reason) => panic!("{reason}"),
    };
    let installed = Installed::on(plane).unwrap_or_else(|error| panic!("{error}"));
    installed.await_bundles();
    let admin = installed.plane.kubectl.clone();

    // A set goes through conversion, defaulting and validation, and reaches the replicas by their watch.
    admin.create(&[mk_set("agent", json!({"matchLabels": {"app": "shop"}}))]);
    let shop = installed.plane.namespace("shop", json!({"tier": "gold"}));
    installed.await_injected(&shop, &["agent"]);

    // A namespace that is younger than what the replicas have seen: its labels count all the same.
    let mut gold = mk_set("gold", json!({"matchLabels": {"app": "shop"}}));
    gold["spec"]["namespaceSelector"] = json!({"matchLabels": {"tier": "gold"}});
    admin.create(&[gold]);
    installed.await_injected(&shop, &["agent", "gold"]);
    let young = installed.plane.namespace("young", json!({"tier": "gold"}));
    assert_eq!(sidecars(&young), ["agent", "gold"]);

    // The allow list of another ConfigMap would not do.
    let mut marked = mk_set("marked", json!({"matchLabels": {"app": "marked"}}));
    marked["spec"]["patchPodMetadata"] = json!([{"patchPolicy": "Overwrite", "annotations": {"team": "a"}}]);
    let refused = admin.refused(&["create", "-f", "-"], &marked.to_string());
    assert!(refused.contains("kruise-configuration"), "{refused}");
    let allow = r#"{"rules": [{"allowedAnnotationKeyExprs": ["^team$"]}]}"#;
    admin.in_namespace(NAMESPACE).create(&[json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kruise-configuration"},
        "data": {"SidecarSet_PatchPodMetadata_WhiteList": allow},
    })]);
    poll::until("the allow list to count", LIMIT, || {
        admin.run_with_input(&["create", "-f", "-"], &marked.to_string())
    })
    .unwrap();

    // A stored revision is injected; without it the set is at fault, which denies its Pods and is told by an Event.
    admin.in_namespace(NAMESPACE).create(&[json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1,
        "metadata": {"name": "pinned-1", "labels": {
            "kruise.io/sidecarset-name": "pinned", "apps.kruise.io/sidecarset-custom-version": "first",
        }},
        "data": {"spec": {"$patch": "replace", "containers": [{"name": "stored", "image": "registry.example/agent:0"}]}},
    })]);
    let mut pinned = mk_set("pinned", json!({"matchLabels": {"app": "pinned"}}));
    pinned["spec"]["injectionStrategy"] = json!({"revision": {"customVersion": "first"}});
    poll::until("the revision to be known", LIMIT, || {
        admin.run_with_input(&["create", "-f", "-"], &pinned.to_string())
    })
    .unwrap();
    let ask = ["run", "probe", "--image=shop:1", "--labels=app=pinned", "--dry-run=server", "-o", "yaml"];
    poll::until("the revision to be injected", LIMIT, || match shop.run(&ask)? {
        pod if pod.contains("name: stored") => Ok(()),
        pod => Err(pod),
    })
    .unwrap();
    admin.in_namespace(NAMESPACE).ok(&["delete", "controllerrevision", "pinned-1"]);
    // Not a dry run: that makes no Event.
    let create = ["run", "denied", "--image=shop:1", "--labels=app=pinned"];
    poll::until("a denied Pod", LIMIT, || match shop.run(&create) {
        Err(told) if told.contains("denied the request") => Ok(()),
        other => {
            shop.run(&["delete", "pod", "denied", "--ignore-not-found", "--grace-period=0", "--force"])?;
            Err(format!("{other:?}"))
        }
    })
    .unwrap();
    poll::until("an Event about it", LIMIT, || {
        let told = admin.run(&[
            "get",
            "events.events.k8s.io",
            "-n",
            "default",
            "-o",
            "jsonpath={.items[*].regarding.name}",
        ])?;
        if told.split(' ').any(|name| name == "pinned") { Ok(()) } else { Err(told) }
    })
    .unwrap();

    installed.assert_no_drift();
    installed.end();
    installed.uninstall(&shop);
}

/// The control plane, if this machine can play a node: a network and a root folder for each container.
fn machine() -> Result<ControlPlane, String> {
    let user = fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid();
    if user != 0 {
        return Err("it needs root, to give each container a root folder".to_owned());
    }
    ControlPlane::in_own_network("packaging", &[&[API_SERVER], &REPLICAS[..]].concat())
}

/// The manifests on a control plane of their own, with replicas behind the Service.
struct Installed {
    plane: ControlPlane,
    applied: Vec<Value>,
}

impl Installed {
    fn on(plane: ControlPlane) -> Result<Self, String> {
        let applied = kustomized(&plane.kubectl);
        let kubectl = plane.kubectl.in_namespace("");
        kubectl.run_with_input(&["apply", "--server-side", "-f", "-"], &list(&applied))?;
        let installed = Self { plane, applied };
        for address in REPLICAS {
            installed.start_replica(address)?;
        }
        // The Service is that of the manifests; the test is the controller of its endpoints.
        let ready: Vec<Value> = REPLICAS
            .iter()
            .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
            .collect();
        kubectl.in_namespace(NAMESPACE).create(&[json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": "replicas", "labels": {"kubernetes.io/service-name": "sidecarset-webhook"}},
            "endpoints": ready, "ports": [{"name": "https", "port": 10250, "protocol": "TCP"}],
        })]);
        Ok(installed)
    }

    /// Runs the container of the Deployment as a kubelet would, except that it listens on one address.
    fn start_replica(&self, address: Ipv4Addr) -> Result<(), String> {
        let name = replica(address);
        let objects = by_name(self.applied.clone());
        let deployment = &objects["Deployment sidecarset-system/sidecarset-webhook"];
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"][0]["valueFrom"]["fieldRef"]["fieldPath"], "metadata.namespace");
        let args: Vec<String> = items(&container["args"])
            .filter_map(Value::as_str)
            .map(|arg| arg.replace("0.0.0.0", &address.to_string()))
            // Nothing comes from a kubelet's probe here; less to wait for at the end.
            .map(
                |arg| {
                    if arg.starts_with("--shutdown-delay") { "--shutdown-delay=1s".to_owned() } else { arg }
                },
            )
            .collect();

        let root = Root::new(&self.plane.folder.join("data").join(&name));
        let kubectl = self.plane.kubectl.in_namespace(NAMESPACE);
        let token = kubectl.run(&["create", "token", "sidecarset-webhook"])?;
        root.put(&format!("{ACCOUNT}/token"), token.trim().as_bytes());
        root.put(&format!("{ACCOUNT}/namespace"), NAMESPACE.as_bytes());
        root.put(&format!("{ACCOUNT}/ca.crt"), &fs::read(self.plane.authority.certificate()).unwrap());

        let server = kubectl.run(&["config", "view", "-o", "jsonpath={.clusters[0].cluster.server}"])?;
        let port = server.rsplit_once(':').map_or("443", |(_, port)| port).to_owned();
        let env = [
            ("POD_NAMESPACE", NAMESPACE),
            ("HOSTNAME", name.as_str()),
            ("KUBERNETES_SERVICE_HOST", "10.1.0.1"),
            ("KUBERNETES_SERVICE_PORT", port.as_str()),
        ];
        let pid = self.plane.supervisor.start(&name, &root.command(&env, &args))?;
        self.plane.await_ready(&name, pid, || {
            self.plane.http_get(&format!("http://{address}:8081/readyz")).map(|_| ())
        })
    }

    fn await_bundles(&self) {
        let kubectl = &self.plane.kubectl;
        for (object, path) in [
            ("mutatingwebhookconfiguration/sidecarset", ".webhooks[0]"),
            ("mutatingwebhookconfiguration/sidecarset-api", ".webhooks[0]"),
            ("validatingwebhookconfiguration/sidecarset-api", ".webhooks[0]"),
            (DEFINITION, ".spec.conversion.webhook"),
        ] {
            let path = format!("jsonpath={{{path}.clientConfig.caBundle}}");
            poll::until(&format!("the caBundle of {object}"), LIMIT, || {
                let bundle = kubectl.run(&["get", object, "-o", &path])?;
                if bundle.is_empty() { Err("none".to_owned()) } else { Ok(()) }
            })
            .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
        }
    }

    fn await_injected(&self, kubectl: &Kubectl, expected: &[&str]) {
        poll::until(&format!("a Pod with {expected:?}"), LIMIT, || {
            let found = try_sidecars(kubectl)?;
            if found == expected { Ok(()) } else { Err(format!("{found:?}")) }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
    }

    /// What a GitOps tool would find: nothing to change, and nobody to argue with about a field.
    fn assert_no_drift(&self) {
        let kubectl = self.plane.kubectl.in_namespace("");
        let apply = ["apply", "--server-side", "--dry-run=server", "-f", "-"];
        kubectl.run_with_input(&apply, &list(&self.applied)).unwrap_or_else(|error| panic!("{error}"));
        let diff = kubectl.output(&["diff", "--server-side", "-f", "-"], &list(&self.applied)).unwrap();
        let told = String::from_utf8_lossy(&diff.stdout);
        assert!(diff.status.success(), "{told}{}", String::from_utf8_lossy(&diff.stderr));
    }

    /// They end by SIGTERM, and nothing they asked for was refused.
    fn end(&self) {
        for address in REPLICAS {
            let name = replica(address);
            assert_eq!(self.plane.supervisor.stop(&name), Ok(0), "{}", self.logs());
            let log = self.plane.supervisor.log(&name);
            let refused: Vec<&str> =
                log.lines().filter(|line| line.contains("forbidden") || line.contains("403")).collect();
            assert_eq!(refused, Vec::<&str>::new());
        }
    }

    /// As `docs/uninstall.md` says, with no replica left: at no step is a Pod refused or a set lost before its time.
    fn uninstall(&self, shop: &Kubectl) {
        let kubectl = self.plane.kubectl.in_namespace("");
        kubectl.ok(&["delete", "mutatingwebhookconfiguration", "sidecarset", "sidecarset-api"]);
        kubectl.ok(&["delete", "validatingwebhookconfiguration", "sidecarset-api"]);
        assert_eq!(sidecars(shop), Vec::<String>::new());

        let program = kustomize(&kubectl, &repository("manifests"));
        let delete = ["delete", "--ignore-not-found", "--wait=false", "-f", "-"];
        kubectl.run_with_input(&delete, &list(&program)).unwrap_or_else(|error| panic!("{error}"));
        let sets = "agent gold marked pinned";
        let names = "jsonpath={.items[*].metadata.name}";
        assert_eq!(kubectl.ok(&["get", "sidecarsets", "-o", names]), sets);
        let none = r#"{"spec": {"conversion": {"strategy": "None", "webhook": null}}}"#;
        kubectl.ok(&["patch", DEFINITION, "--type=merge", "-p", none]);
        poll::until("the other version without conversion", LIMIT, || {
            let found = kubectl.run(&["get", "sidecarsets.v1alpha1.apps.kruise.io", "-o", names])?;
            if found == sets { Ok(()) } else { Err(found) }
        })
        .unwrap();
        kubectl.ok(&["delete", DEFINITION, "--timeout=60s"]);
    }

    fn logs(&self) -> String {
        let tails: Vec<String> =
            REPLICAS.iter().map(|address| self.plane.supervisor.log_tail(&replica(*address))).collect();
        tails.join("\n")
    }
}

fn replica(address: Ipv4Addr) -> String {
    format!("image_{}", address.octets()[3])
}

/// A set with one container of its own name.
fn mk_set(name: &str, selector: Value) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1alpha1", "kind": "SidecarSet", "metadata": {"name": name},
        "spec": {"selector": selector, "containers": [{"name": name, "image": "registry.example/agent:1"}]},
    })
}

#[track_caller]
fn sidecars(kubectl: &Kubectl) -> Vec<String> {
    try_sidecars(kubectl).unwrap_or_else(|error| panic!("{error}"))
}

/// Names of the containers that a Pod of the shop gets, besides its own.
fn try_sidecars(kubectl: &Kubectl) -> Result<Vec<String>, String> {
    let ask = ["run", "probe", "--image=shop:1", "--labels=app=shop", "--dry-run=server", "-o", "json"];
    let pod: Value = serde_json::from_str(&kubectl.run(&ask)?).map_err(|error| error.to_string())?;
    let mut found: Vec<String> = names(&pod["spec"]["containers"]).into_iter().map(str::to_owned).collect();
    found.retain(|name| name != "probe");
    found.sort();
    if !found.is_empty() {
        assert!(!annotation(&pod, "kruise.io/sidecarset-hash").is_empty());
    }
    Ok(found)
}
