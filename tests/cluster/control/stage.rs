//! What every scenario finds there: a control plane without a kubelet, upstream's namespace, the definitions, our webhook.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sidecarset::cluster::client;
use tokio::runtime::Runtime;

use super::api::{Api, SYSTEM};
use super::node;
use super::world::World;
use crate::control_plane::ControlPlane;
use crate::poll;
use crate::set_api::manifest;
use crate::webhook::{Webhook, registration};

const LIMIT: Duration = Duration::from_secs(60);

/// A control plane with what upstream's namespace has, and the definitions of others.
#[track_caller]
pub(super) fn plane(name: &str) -> ControlPlane {
    let plane = ControlPlane::without_kubelet(name).unwrap();
    let system = plane.namespace(SYSTEM, json!({}));
    let allowed = r#"{"rules":[{"allowedAnnotationKeyExprs":[".*"]}]}"#;
    let list = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kruise-configuration"},
        "data": {"SidecarSet_PatchPodMetadata_WhiteList": allowed},
    });
    system.create(&[list]);
    plane
}

/// Our webhook in cluster mode, called for SidecarSets and, if asked for, for Pods.
#[track_caller]
pub(super) fn webhook<'p>(plane: &'p ControlPlane, for_pods: bool) -> Webhook<'p> {
    let serving = plane.folder.join("serving");
    plane.authority.server(&serving, &["127.0.0.1"]).unwrap();
    let args = [
        format!("--kubeconfig={}", plane.kubectl.kubeconfig.display()),
        format!("--namespace={SYSTEM}"),
        format!("--cert-dir={}", serving.display()),
    ];
    let webhook = Webhook::launch(plane, "control", &args, plane.authority.certificate());
    let ca = STANDARD.encode(fs::read(&webhook.ca).unwrap());
    let base = webhook.url.trim_end_matches("/mutate-pod");
    let client = |path: &str| json!({"url": format!("{base}{path}"), "caBundle": ca});
    let mut definition = manifest(&plane.kubectl, "crd/crd.yaml").remove(0);
    definition["spec"]["conversion"]["webhook"]["clientConfig"] = client("/convert");
    plane.kubectl.create(&[definition, recreate_requests()]);
    for name in ["sidecarsets", "containerrecreaterequests"] {
        let definition = format!("crd/{name}.apps.kruise.io");
        plane.kubectl.ok(&["wait", "--for=condition=Established", &definition, "--timeout=60s"]);
    }
    webhook.await_ready();
    let mut configurations = manifest(&plane.kubectl, "base/sidecarset-webhook-configurations.yaml");
    if for_pods {
        configurations.push(registration(&plane.kubectl));
    }
    for configuration in &mut configurations {
        for webhook in configuration["webhooks"].as_array_mut().into_iter().flatten() {
            let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap_or_default().to_owned();
            webhook["clientConfig"] = client(&path);
        }
    }
    plane.kubectl.create(&configurations);
    await_admission(plane, for_pods);
    webhook
}

/// Configurations take effect a moment after they were stored.
#[track_caller]
fn await_admission(plane: &ControlPlane, for_pods: bool) {
    let set = json!({
        "apiVersion": "apps.kruise.io/v1beta1", "kind": "SidecarSet", "metadata": {"name": "probe"},
        "spec": {
            "selector": {"matchLabels": {"app": "probe"}},
            "containers": [{"name": "probed", "image": "probed:1"}],
        },
    });
    let text = crate::kubectl::list(&[set]);
    let create = |dry: &[&str]| plane.kubectl.run_with_input(&[&["create", "-f", "-"], dry].concat(), &text);
    poll::until("the webhook to be asked about SidecarSets", LIMIT, || {
        let stored = create(&["--dry-run=server", "-o", "json"])?;
        if stored.contains("kruise.io/sidecarset-hash") { Ok(()) } else { Err(stored) }
    })
    .unwrap();
    if !for_pods {
        return;
    }
    create(&[]).unwrap();
    let run = ["run", "probe", "--image=probe:1", "--labels=app=probe", "--dry-run=server", "-o", "json"];
    poll::until("the webhook to be asked about Pods", LIMIT, || {
        let pod = plane.kubectl.run(&run)?;
        if pod.contains("probed:1") { Ok(()) } else { Err(pod) }
    })
    .unwrap();
    plane.kubectl.ok(&["delete", "sidecarset", "probe"]);
}

/// The definition of OpenKruise's requests to restart containers, without its structure.
fn recreate_requests() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "containerrecreaterequests.apps.kruise.io"},
        "spec": {
            "group": "apps.kruise.io", "scope": "Namespaced",
            "names": {
                "kind": "ContainerRecreateRequest", "listKind": "ContainerRecreateRequestList",
                "plural": "containerrecreaterequests", "singular": "containerrecreaterequest",
            },
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    })
}

/// The test's own eyes and hands: it watches everything and plays the kubelet.
pub(super) struct Stage {
    pub(super) runtime: Runtime,
    pub(super) world: Arc<World>,
}

impl Stage {
    pub(super) fn new(plane: &ControlPlane) -> Self {
        let runtime = Runtime::new().unwrap();
        let world = runtime.block_on(async {
            let client = client::connect(Some(&plane.kubectl.kubeconfig), "test").await.unwrap();
            let (world, woken) = World::start(Api(client)).await;
            node::start(&world, woken).await;
            world
        });
        Self { runtime, world }
    }
}
