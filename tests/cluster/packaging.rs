//! The whole thing as it is shipped: the manifests applied, two replicas in the image's file system with the arguments, the
//! service account and the rights of the manifests, called through the Service. Every path that calls the API server is
//! walked, and the API server refuses none of them.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::image::{Root, may_play_node};
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
    if !may_play_node() {
        return;
    }
    let installed = Installed::start().unwrap_or_else(|error| panic!("{error}"));
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
    installed.await_live_read();

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

    installed.rotate();
    installed.assert_preflight();
    installed.assert_no_drift();
    installed.end();
    installed.uninstall(&shop);
}

/// The manifests on a control plane of their own, with replicas behind the Service.
struct Installed {
    plane: ControlPlane,
    applied: Vec<Value>,
}

impl Installed {
    fn start() -> Result<Self, String> {
        let plane = ControlPlane::in_own_network("packaging", &[&[API_SERVER], &REPLICAS[..]].concat())?;
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
            // One API server and no probes: less to wait for at the end, and when certificates rotate.
            .map(|arg| arg.replace("--shutdown-delay=10s", "--shutdown-delay=1s"))
            .chain(["--certificate-settle=1s".to_owned()])
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

    /// Namespace and Pod in one go, until a replica had to ask the API server for the labels of the namespace: the Pod gets the
    /// sidecars of a set with a `namespaceSelector` all the same.
    fn await_live_read(&self) {
        let kubectl = &self.plane.kubectl.in_namespace("");
        let mut number = 0;
        poll::until("a live read of a namespace", LIMIT, || {
            number += 1;
            let name = format!("young-{number}");
            let (labels, inside) = (json!({"tier": "gold"}), json!({"name": "young", "namespace": name}));
            let mut pod = json!({
                "apiVersion": "v1", "kind": "Pod", "metadata": inside,
                "spec": {"containers": [{"name": "shop", "image": "shop:1"}]},
            });
            pod["metadata"]["labels"] = json!({"app": "shop"});
            kubectl.create(&[
                json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}),
                json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}),
                pod,
            ]);
            let pod = kubectl.json(&["get", "pod", "young", "-n", &name]);
            assert!(names(&pod["spec"]["containers"]).contains(&"gold"), "{pod}");
            let reads: Vec<String> = REPLICAS.iter().map(|address| self.live_reads(*address)).collect();
            if reads.iter().any(|count| count != "0") { Ok(()) } else { Err(format!("{reads:?}")) }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
    }

    fn live_reads(&self, address: Ipv4Addr) -> String {
        let metrics = self.plane.http_get(&format!("http://{address}:8081/metrics")).unwrap();
        let found = r#"sidecarset_namespace_live_reads_total{result="found"} "#;
        metrics.lines().find_map(|line| line.strip_prefix(found)).unwrap_or("none").to_owned()
    }

    /// A rotation by hand: new CA and new serving certificate, both in the same Secret, and Pods as before.
    fn rotate(&self) {
        let kubectl = self.plane.kubectl.in_namespace(NAMESPACE);
        let secret = "secret/sidecarset-webhook-certificate";
        let of = |key: &str| kubectl.run(&["get", secret, "-o", &format!("jsonpath={{.data.{key}}}")]);
        let (authority, pair) = (of(r"ca\.crt").unwrap(), of(r"tls\.crt").unwrap());
        kubectl.ok(&["annotate", secret, "sidecarset.kruise.io/rotate=now"]);
        poll::until("another CA and another certificate", LIMIT, || {
            let (now, also) = (of(r"ca\.crt")?, of(r"tls\.crt")?);
            if now != authority && also != pair { Ok(()) } else { Err("as before".to_owned()) }
        })
        .unwrap_or_else(|error| panic!("{error}\n{}", self.logs()));
        self.await_injected(&self.plane.kubectl.in_namespace("shop"), &["agent", "gold"]);
    }

    /// `sidecarset preflight` finds fault with nothing that the manifests bring. No controller counts replicas here, which it tells.
    fn assert_preflight(&self) {
        let kubectl = &self.plane.kubectl;
        let mut words = kubectl.enter.clone();
        words.extend(
            [env!("CARGO_BIN_EXE_sidecarset"), "preflight", "--phase=after", "-o", "json"].map(str::to_owned),
        );
        words.extend([
            format!("--kubeconfig={}", kubectl.kubeconfig.display()),
            "--probe-namespace=shop".to_owned(),
        ]);
        let output = Command::new(&words[0]).args(&words[1..]).output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let counted = [json!("deployment"), json!("controller-deployment")];
        let wrong: Vec<&Value> = items(&told["findings"])
            .filter(|finding| finding["level"] != "ok" && !counted.contains(&finding["check"]))
            .collect();
        assert!(wrong.is_empty() && items(&told["findings"]).count() > 10, "{told:#}");
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
            let refused: Vec<&str> = log.lines().filter(|line| line.contains("forbidden")).collect();
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

    /// How the log of each replica ends, and what its probe says.
    fn logs(&self) -> String {
        let told = |address: &Ipv4Addr| {
            let ready = self.plane.http_get(&format!("http://{address}:8081/readyz?verbose"));
            format!("{}\n{ready:?}", self.plane.supervisor.log_tail(&replica(*address)))
        };
        REPLICAS.iter().map(told).collect::<Vec<_>>().join("\n")
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
