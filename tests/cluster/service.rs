//! A Service without a selector, its endpoints, and the registration of what is behind it: the test plays the endpoint controller.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::kubectl::Kubectl;
use crate::webhook::registration;

/// Namespace and name of the Service in `manifests/`.
pub(crate) const NAMESPACE: &str = "sidecarset-system";
pub(crate) const NAME: &str = "sidecarset-webhook";
/// The name in the certificates of its replicas.
pub(crate) const HOST: &str = "sidecarset-webhook.sidecarset-system.svc";
/// Where the replicas listen, each on an address of its own.
pub(crate) const PORT: u16 = 10250;

/// The Service.
pub(crate) fn service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": NAME},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": PORT}]},
    })
}

/// Its only EndpointSlice, with these replicas.
pub(crate) fn endpoints(ready: &[Ipv4Addr]) -> Value {
    let endpoints: Vec<Value> =
        ready.iter().map(|address| json!({"addresses": [address], "conditions": {"ready": true}})).collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": NAME, "labels": {"kubernetes.io/service-name": NAME}},
        "endpoints": endpoints,
        "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
    })
}

/// The MutatingWebhookConfiguration of `manifests/` with a CA.
#[track_caller]
pub(crate) fn configuration(kubectl: &Kubectl, ca: &Path) -> Value {
    let mut configuration = registration(kubectl);
    configuration["webhooks"][0]["clientConfig"]["caBundle"] = json!(STANDARD.encode(fs::read(ca).unwrap()));
    assert_eq!(configuration["webhooks"][0]["failurePolicy"], "Fail");
    configuration
}
