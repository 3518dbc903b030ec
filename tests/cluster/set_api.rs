//! The API of SidecarSets in a control plane of its own: the definition and the webhooks of `manifests/`, answered by a webhook
//! without any set.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::control_plane::ControlPlane;
use crate::kubectl::Kubectl;
use crate::poll;
use crate::webhook::Webhook;

/// Where the collection is, by version.
pub(crate) const BETA: &str = "/apis/apps.kruise.io/v1beta1/sidecarsets";
/// The other version.
pub(crate) const ALPHA: &str = "/apis/apps.kruise.io/v1alpha1/sidecarsets";

/// The installed API.
pub(crate) struct SetApi {
    pub(crate) kubectl: Kubectl,
    // Lives as long as the control plane, which ends it.
    _webhook: Webhook<'static>,
}

impl SetApi {
    /// Installed on first use; every test has sets of its own names.
    #[track_caller]
    pub(crate) fn shared() -> &'static Self {
        static PLANE: OnceLock<Result<ControlPlane, String>> = OnceLock::new();
        static SHARED: OnceLock<SetApi> = OnceLock::new();
        SHARED.get_or_init(|| match PLANE.get_or_init(|| ControlPlane::without_controllers("set-api")) {
            Ok(plane) => Self::install(plane),
            Err(error) => panic!("the control plane did not start: {error}"),
        })
    }

    fn install(plane: &'static ControlPlane) -> Self {
        let webhook = Webhook::start(plane, "set-api", &[]);
        let base = webhook.url.trim_end_matches("/mutate-pod").to_owned();
        let ca = STANDARD.encode(fs::read(&webhook.ca).unwrap());
        let client = |path: &str| json!({"url": format!("{base}{path}"), "caBundle": ca});

        let kubectl = plane.kubectl.in_namespace("default");
        let mut objects = manifest(&kubectl, "crd/crd.yaml");
        objects[0]["spec"]["conversion"]["webhook"]["clientConfig"] = client("/convert");
        for mut configuration in manifest(&kubectl, "base/sidecarset-webhook-configurations.yaml") {
            let old = &configuration["webhooks"][0]["clientConfig"]["service"]["path"];
            let path = old.as_str().unwrap().to_owned();
            configuration["webhooks"][0]["clientConfig"] = client(&path);
            objects.push(configuration);
        }
        kubectl.create(&objects);
        kubectl.ok(&[
            "wait",
            "--for=condition=Established",
            "crd/sidecarsets.apps.kruise.io",
            "--timeout=60s",
        ]);
        let api = Self { kubectl, _webhook: webhook };
        // A configuration takes effect a moment after it was stored, the published schema too.
        poll::until("both webhooks to be asked", Duration::from_secs(30), || {
            let (code, answer) = api.call("POST", &format!("{BETA}?dryRun=All"), &mk_set("probe"))?;
            let hashed = answer.pointer("/metadata/annotations/kruise.io~1sidecarset-hash").is_some();
            let mut bad = mk_set("probe");
            bad["spec"]["selector"] = Value::Null;
            let (refused, told) = api.call("POST", &format!("{BETA}?dryRun=All"), &bad)?;
            if code == 201 && hashed && refused == 422 { Ok(()) } else { Err(format!("{answer} {told}")) }
        })
        .unwrap_or_else(|error| panic!("{error}"));
        api
    }

    /// One call of the API server, as the administrator: HTTP status and body.
    ///
    /// # Errors
    /// What curl says, or a body that is no JSON.
    pub(crate) fn call(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value), String> {
        let config: Value =
            serde_json::from_slice(&fs::read(&self.kubectl.kubeconfig).map_err(|error| error.to_string())?)
                .map_err(|error| error.to_string())?;
        let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let output = Command::new("curl")
            .args(["--silent", "--show-error", "--max-time", "30", "--write-out", "\n%{http_code}"])
            .args(["--request", method, "--header", "Content-Type: application/json"])
            .args(["--cacert", text("/clusters/0/cluster/certificate-authority")])
            .args(["--cert", text("/users/0/user/client-certificate")])
            .args(["--key", text("/users/0/user/client-key")])
            .args(if body.is_null() { vec![] } else { vec!["--data-binary".to_owned(), body.to_string()] })
            .arg(format!("{}{path}", text("/clusters/0/cluster/server")))
            .output()
            .map_err(|error| format!("cannot start curl: {error}"))?;
        let printed = String::from_utf8_lossy(&output.stdout);
        let (answer, code) =
            printed.rsplit_once('\n').ok_or_else(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let code = code.parse().map_err(|_| format!("no status: {printed}"))?;
        Ok((code, serde_json::from_str(answer).map_err(|error| format!("{error}: {printed}"))?))
    }
}

/// A small set that nothing is wrong with.
pub(crate) fn mk_set(name: &str) -> Value {
    json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": name},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "containers": [{"name": "agent", "image": "registry.example/agent:1"}],
        },
    })
}

/// The objects of a file of `manifests/`.
#[track_caller]
pub(crate) fn manifest(kubectl: &Kubectl, file: &str) -> Vec<Value> {
    let file = format!("--filename={}/manifests/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = kubectl.ok(&["create", "--dry-run=client", "-o", "json", &file]);
    serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().unwrap()
}
