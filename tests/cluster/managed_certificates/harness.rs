//! Replicas with managed certificates in this process, each on a runtime of its own, and what is registered for them.

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidecarset::cluster::certificates::{self, Settings, Status};
use sidecarset::cluster::client;
use sidecarset::draw::CountingDraw;
use sidecarset::metrics::Metrics;
use sidecarset::server::{self, AppState, RequestLimits};
use sidecarset::shutdown::Draining;
use sidecarset::source::publish::Published;
use sidecarset::source::reload::FolderSource;
use sidecarset::tls::accept::{self, ConnectionLimits};
use sidecarset::tls::managed::authority::CaCertificate;
use sidecarset::tls::managed::{Timing, hosts_of_service};
use sidecarset::tls::resolver::CurrentCertificate;
use tokio::runtime::{Builder, Runtime};

use crate::control_plane::ControlPlane;
use crate::kubectl::Kubectl;
use crate::poll;

/// Long enough for what a busy machine does.
pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// Name of the Secret, as the program's default is.
pub(super) const SECRET: &str = "sidecarset-webhook-certificate";
const DEFINITION: &str = "sidecarsets.apps.kruise.io";

/// Only etcd and an API server, for all tests here: each has names of its own.
pub(super) fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    match PLANE.get_or_init(|| ControlPlane::without_controllers("managed-certificates")) {
        Ok(plane) => plane,
        Err(error) => panic!("the control plane did not start: {error}"),
    }
}

/// A test's own namespace, user and names of webhook configurations.
pub(super) struct Site {
    pub(super) name: &'static str,
    /// As the administrator.
    pub(super) kubectl: Kubectl,
    kubeconfig: std::path::PathBuf,
}

impl Site {
    /// With a user who may do what the webhook's ServiceAccount may.
    #[track_caller]
    pub(super) fn new(name: &'static str) -> Self {
        let plane = plane();
        let kubectl = plane.namespace(name, json!({}));
        let config: Value = serde_json::from_slice(&fs::read(&kubectl.kubeconfig).unwrap()).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
        let kubeconfig = plane.authority.kubeconfig(name, None, server).unwrap();
        let site = Self { name, kubectl, kubeconfig };
        site.kubectl.create(&site.rights());
        site
    }

    /// Exactly the rights that managed certificates need.
    fn rights(&self) -> Vec<Value> {
        let subject = json!([{"kind": "User", "name": self.name, "apiGroup": "rbac.authorization.k8s.io"}]);
        let verbs = json!(["get", "list", "watch", "patch"]);
        let cluster_rules = json!([
            {
                "apiGroups": ["admissionregistration.k8s.io"],
                "resources": ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
                "resourceNames": self.configurations(), "verbs": verbs,
            },
            {
                "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"],
                "resourceNames": [DEFINITION], "verbs": verbs,
            },
        ]);
        let rules = json!([
            {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
            {
                "apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET],
                "verbs": ["get", "list", "watch", "update"],
            },
        ]);
        let rbac = "rbac.authorization.k8s.io/v1";
        let metadata = json!({"name": self.name});
        let role =
            |kind: &str| json!({"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": self.name});
        vec![
            json!({"apiVersion": rbac, "kind": "ClusterRole", "metadata": metadata, "rules": cluster_rules}),
            json!({"apiVersion": rbac, "kind": "ClusterRoleBinding", "metadata": metadata, "subjects": subject,
                   "roleRef": role("ClusterRole")}),
            json!({"apiVersion": rbac, "kind": "Role", "metadata": metadata, "rules": rules}),
            json!({"apiVersion": rbac, "kind": "RoleBinding", "metadata": metadata, "subjects": subject,
                   "roleRef": role("Role")}),
        ]
    }

    /// Names of the webhook configurations: of Pods, and of SidecarSets.
    pub(super) fn configurations(&self) -> Vec<String> {
        vec![self.name.to_owned(), format!("{}-api", self.name)]
    }

    /// The objects of `manifests/` that make an API server call us, with names of this test and without the CA. The Pods' webhook
    /// is there once for each of `urls`, so that a Pod asks every replica.
    #[track_caller]
    pub(super) fn registrations(&self, urls: &[String]) -> Vec<Value> {
        let mut pods = crate::webhook::registration(&self.kubectl);
        pods["metadata"]["name"] = json!(self.name);
        crate::webhook::restrict(&mut pods, self.name);
        let webhooks: Vec<Value> = urls
            .iter()
            .enumerate()
            .map(|(index, url)| {
                let mut webhook = pods["webhooks"][0].clone();
                webhook["name"] = json!(format!("mpod-{index}.sidecarset.kruise.io"));
                webhook["clientConfig"] = json!({"url": url});
                webhook
            })
            .collect();
        pods["webhooks"] = json!(webhooks);
        let file =
            concat!(env!("CARGO_MANIFEST_DIR"), "/manifests/base/sidecarset-webhook-configurations.yaml");
        let text = self.kubectl.ok(&["create", "--dry-run=client", "-o", "json", "--filename", file]);
        let mut all = vec![pods];
        for object in serde_json::Deserializer::from_str(&text).into_iter::<Value>() {
            let mut object = object.unwrap();
            object["metadata"]["name"] = json!(format!("{}-api", self.name));
            let service = &mut object["webhooks"][0]["clientConfig"]["service"];
            service["namespace"] = json!(self.name);
            // Nobody serves them here; other tests have SidecarSets.
            object["webhooks"][0]["rules"][0]["apiGroups"] = json!([format!("{}.example", self.name)]);
            all.push(object);
        }
        all
    }

    /// The CustomResourceDefinition of `manifests/` with a conversion Service of this test.
    #[track_caller]
    pub(super) fn definition(&self) -> Value {
        let file = concat!("--filename=", env!("CARGO_MANIFEST_DIR"), "/manifests/crd/crd.yaml");
        let mut definition = self.kubectl.json(&["create", "--dry-run=client", file]);
        definition["spec"]["conversion"]["webhook"]["clientConfig"]["service"]["namespace"] =
            json!(self.name);
        definition
    }

    /// The Secret, once `fits` says yes.
    #[track_caller]
    pub(super) fn await_secret(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        poll::until(what, LIMIT, || {
            let text = self.kubectl.run(&["get", "secret", SECRET, "-o", "json"])?;
            let secret: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
            if fits(&secret) { Ok(secret) } else { Err(secret["metadata"]["annotations"].to_string()) }
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Waits until every bundle of an object holds exactly the CAs of the Secret.
    #[track_caller]
    pub(super) fn await_bundles(&self, object: &str) -> Value {
        poll::until(&format!("the CAs of the Secret in {object}"), LIMIT, || {
            let wanted = cas_of(&self.kubectl.json(&["get", "secret", SECRET]));
            let object = self.kubectl.json(&["get", object, "--show-managed-fields"]);
            let found = bundles(&object);
            if !found.is_empty() && found.iter().all(|cas| *cas == wanted) {
                Ok(object)
            } else {
                Err(format!("{found:?} instead of {wanted:?}"))
            }
        })
        .unwrap_or_else(|error| panic!("{error}"))
    }

    /// Starts a replica that serves on this address (port 0 for a free one).
    #[track_caller]
    pub(super) fn replica(&self, settle: Duration) -> Replica {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::copy(crate::admission::sidecarsets().join("agents.yaml"), folder.path().join("agents.yaml"))
            .unwrap();
        let published = Arc::new(Published::default());
        FolderSource::new(folder.path().to_owned(), Arc::clone(&published), Default::default()).check();
        let (metrics, current) = (Arc::new(Metrics::new("test")), Arc::new(CurrentCertificate::default()));
        let draining = Arc::new(Draining::default());
        // Every answer closes its connection, so that every admission checks the certificate anew.
        draining.start();
        let state = AppState::new(
            published,
            Arc::clone(&metrics),
            draining,
            Box::new(CountingDraw::default()),
            Default::default(),
            Default::default(),
            RequestLimits::default(),
        );
        let mut hosts = hosts_of_service("sidecarset-webhook", self.name);
        hosts.push("127.0.0.1".to_owned());
        let settings = Settings {
            namespace: self.name.to_owned(),
            secret: SECRET.to_owned(),
            service: "sidecarset-webhook".to_owned(),
            hosts,
            configurations: self.configurations(),
            timing: Timing::new(settle, self.name),
        };
        let tls = sidecarset::tls::server_config(Arc::clone(&current) as Arc<_>).unwrap();
        let (address, status) = runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (app, counts) = (server::app(Arc::new(state)), metrics.connections.clone());
            tokio::spawn(accept::serve(
                listener,
                tls,
                app,
                ConnectionLimits::default(),
                counts,
                std::future::pending(),
            ));
            let client = client::connect(Some(&self.kubeconfig), "test").await.unwrap();
            (address, certificates::start(&client, settings, current, Arc::clone(&metrics)))
        });
        Replica { runtime: Some(runtime), address, metrics, status }
    }
}

/// A running replica; dropping it ends it without a word, as SIGKILL does.
pub(super) struct Replica {
    runtime: Option<Runtime>,
    address: SocketAddr,
    metrics: Arc<Metrics>,
    status: Arc<Status>,
}

impl Replica {
    pub(super) fn url(&self) -> String {
        format!("https://{}/mutate-pod", self.address)
    }

    /// What a probe is told.
    pub(super) fn look(&self) -> (bool, String) {
        self.status.look()
    }

    /// The sum of a metric's series whose line begins so.
    pub(super) fn metric(&self, start: &str) -> f64 {
        let text = self.metrics.text(0).unwrap();
        let lines = text.lines().filter(|line| line.starts_with(start));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    #[track_caller]
    pub(super) fn await_ready(&self) {
        poll::until("a replica to be ready", LIMIT, || match self.look() {
            (true, _) => Ok(()),
            (false, told) => Err(told),
        })
        .unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The CAs that a Secret wants trusted.
pub(super) fn cas_of(secret: &Value) -> Vec<CaCertificate> {
    let text = |key: &str| STANDARD.decode(secret["data"][key].as_str().unwrap_or_default()).unwrap();
    let pem = [text("ca.crt"), text("previous-ca.crt")].concat();
    CaCertificate::all_of_pem(&pem).0
}

/// The CAs in each bundle of a webhook configuration or CustomResourceDefinition.
pub(super) fn bundles(object: &Value) -> Vec<Vec<CaCertificate>> {
    let clients = crate::injected::items(&object["webhooks"])
        .map(|webhook| &webhook["clientConfig"])
        .chain(object.pointer("/spec/conversion/webhook/clientConfig"));
    clients
        .map(|client| {
            let pem = STANDARD.decode(client["caBundle"].as_str().unwrap_or_default()).unwrap();
            CaCertificate::all_of_pem(&pem).0
        })
        .collect()
}
