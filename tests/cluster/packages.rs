//! What kustomize and Helm print of the manifests, and an API server that looks at it without storing it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;
use sidecarset::source::documents;

use crate::control_plane::ControlPlane;
use crate::kubectl::{Kubectl, list};
use crate::programs;

/// The namespace of the manifests.
pub(crate) const NAMESPACE: &str = "sidecarset-system";

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// An API server with our namespace, the definitions of other projects that the manifests may use, and the account without which
/// the Pod of `helm test` is not taken. Nothing else of the manifests is ever stored in it.
#[track_caller]
pub(crate) fn judge() -> &'static Kubectl {
    static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
    static JUDGE: OnceLock<Kubectl> = OnceLock::new();
    JUDGE.get_or_init(|| {
        let plane = match PLANE.get_or_init(|| ControlPlane::without_controllers("packages")) {
            Ok(plane) => plane,
            Err(error) => panic!("the control plane did not start: {error}"),
        };
        let stubs = repository("tests/fixtures/stub-definitions.yaml").display().to_string();
        plane.kubectl.ok(&["create", "-f", &stubs]);
        plane.kubectl.ok(&["wait", "--for=condition=Established", "crd", "--all", "--timeout=60s"]);
        let namespace = repository("manifests/crd/namespace.yaml").display().to_string();
        plane.kubectl.ok(&["create", "-f", &namespace]);
        plane.kubectl.ok(&["create", "namespace", "kruise-system"]);
        plane.kubectl.in_namespace(NAMESPACE).ok(&["create", "serviceaccount", "sidecarset-test"]);
        plane.kubectl.in_namespace("")
    })
}

/// The objects of `kubectl kustomize DIR`.
#[track_caller]
pub(crate) fn kustomize(kubectl: &Kubectl, dir: &Path) -> Vec<Value> {
    objects(&kubectl.ok(&["kustomize", &dir.display().to_string()]))
}

/// What an administrator applies: definition and namespace first, then the program.
#[track_caller]
pub(crate) fn kustomized(kubectl: &Kubectl) -> Vec<Value> {
    let mut all = kustomize(kubectl, &repository("manifests/crd"));
    all.extend(kustomize(kubectl, &repository("manifests")));
    all
}

/// The objects of a text of YAML documents; those without content are left out.
#[track_caller]
pub(crate) fn objects(text: &str) -> Vec<Value> {
    let documents = documents::parse(text).into_iter();
    documents
        .map(|document| document.unwrap_or_else(|error| panic!("{error:?}\n{text}")))
        .filter(Value::is_object)
        .collect()
}

/// Objects by kind, namespace and name.
pub(crate) fn by_name(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let name = |object: &Value| {
        let metadata = &object["metadata"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        format!("{} {}/{}", text(&object["kind"]), text(&metadata["namespace"]), text(&metadata["name"]))
    };
    let count = objects.len();
    let all: BTreeMap<_, _> = objects.into_iter().map(|object| (name(&object), object)).collect();
    assert_eq!(all.len(), count, "two objects have one name");
    all
}

/// cert-manager renews its CA with the same key: API servers with the old `caBundle` go on calling, whatever is renewed first. The
/// serving key, which nobody trusts by itself, changes with each certificate.
#[track_caller]
pub(crate) fn assert_ca_keeps_its_key(objects: &BTreeMap<String, Value>) {
    let policy = |name: &str| {
        let certificate = &objects[&format!("Certificate {NAMESPACE}/{name}")]["spec"];
        certificate["privateKey"]["rotationPolicy"].clone()
    };
    assert_eq!(policy("sidecarset-ca"), "Never");
    assert_eq!(policy("sidecarset-serving-cert"), "Always");
}

/// Server-side apply as a dry run: every object is taken as it is, without a warning.
#[track_caller]
pub(crate) fn assert_taken(what: &str, objects: &[Value]) {
    // The namespace asks for Pod Security `restricted` and for warnings: our own Pods must not cause one.
    assert_eq!(warnings(what, objects), "", "{what}");
}

/// Server-side apply as a dry run: every object is taken; gives what the API server warns about.
#[track_caller]
pub(crate) fn warnings(what: &str, objects: &[Value]) -> String {
    let apply = ["apply", "--server-side", "--dry-run=server", "--filename=-"];
    let output = judge().output(&apply, &list(objects)).unwrap();
    let (told, warned) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(output.status.success(), "{what}: {warned}");
    let taken = told.lines().filter(|line| line.ends_with("(server dry run)")).count();
    assert_eq!(taken, objects.len(), "{what}: {told}");
    warned
}

/// Helm with our chart.
pub(crate) struct Helm {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

impl Helm {
    /// For the control plane of this kubectl.
    #[track_caller]
    pub(crate) fn new(kubectl: &Kubectl) -> Self {
        Self {
            program: programs::path("helm").unwrap_or_else(|error| panic!("{error}")),
            kubeconfig: kubectl.kubeconfig.clone(),
            home: kubectl.cache.join("helm"),
        }
    }

    /// `helm ARGS --namespace sidecarset-system`.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        Command::new(&self.program)
            .args(args)
            .args(["--namespace", NAMESPACE])
            .env("KUBECONFIG", &self.kubeconfig)
            .env("HELM_CACHE_HOME", &self.home)
            .env("HELM_CONFIG_HOME", &self.home)
            .env("HELM_DATA_HOME", &self.home)
            .output()
            .unwrap_or_else(|error| panic!("cannot start helm: {error}"))
    }

    /// What it prints, as a test expects it to succeed.
    #[track_caller]
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "helm {args:?}: {told}{}", String::from_utf8_lossy(&output.stderr));
        told
    }

    /// Its stderr, as a test expects it to fail.
    #[track_caller]
    pub(crate) fn refused(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(!output.status.success(), "helm {args:?} must fail");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// The objects of the chart with these arguments.
    #[track_caller]
    pub(crate) fn template(&self, args: &[&str]) -> Vec<Value> {
        let chart = repository("manifests/chart").display().to_string();
        objects(&self.ok(&[&["template", "sidecarset", &chart], args].concat()))
    }

    /// What `helm test` makes of the chart: account and rights, and the Pod.
    #[track_caller]
    pub(crate) fn test_hooks(&self) -> (Vec<Value>, Value) {
        let hooks = self.template(&["--show-only", "templates/tests/preflight.yaml"]);
        let (mut pods, rights): (Vec<_>, _) = hooks.into_iter().partition(|object| object["kind"] == "Pod");
        assert_eq!((pods.len(), rights.len()), (1, 5));
        (rights, pods.remove(0))
    }
}
