//! Calls of the API server with JSON in and out.

use std::time::Duration;

use hyper::Request;
use kube::Client;
use serde_json::{Value, json};

/// Where upstream keeps its revisions.
pub(super) const SYSTEM: &str = "kruise-system";

/// Group, plural, and whether objects are in a namespace.
fn resource(kind: &str) -> (&'static str, &'static str, bool) {
    match kind {
        "SidecarSet" => ("/apis/apps.kruise.io/v1beta1", "sidecarsets", false),
        "ContainerRecreateRequest" => ("/apis/apps.kruise.io/v1beta1", "containerrecreaterequests", true),
        "ControllerRevision" => ("/apis/apps/v1", "controllerrevisions", true),
        "StatefulSet" => ("/apis/apps/v1", "statefulsets", true),
        "Lease" => ("/apis/coordination.k8s.io/v1", "leases", true),
        "Namespace" => ("/api/v1", "namespaces", false),
        "Node" => ("/api/v1", "nodes", false),
        "Pod" => ("/api/v1", "pods", true),
        "Event" => ("/api/v1", "events", true),
        "ServiceAccount" => ("/api/v1", "serviceaccounts", true),
        other => panic!("no scenario has a {other}"),
    }
}

/// The path of all objects of a kind, of those of a namespace, or of one.
pub(super) fn path(kind: &str, namespace: &str, name: &str) -> String {
    let (group, plural, has_namespace) = resource(kind);
    let mut path = group.to_owned();
    if has_namespace && !namespace.is_empty() {
        path += &format!("/namespaces/{namespace}");
    }
    path += &format!("/{plural}");
    if !name.is_empty() {
        path += &format!("/{name}");
    }
    path
}

/// Whether the answer has this status code.
pub(super) fn is(error: &kube::Error, code: u16) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == code)
}

/// A client that asks again when the API server is too busy.
#[derive(Clone)]
pub(super) struct Api(pub(super) Client);

impl Api {
    pub(super) async fn get(&self, path: &str) -> Result<Value, kube::Error> {
        self.call("GET", path, "", None).await
    }

    /// Sends the object with sorted members: the bytes of revisions count.
    pub(super) async fn create(&self, path: &str, object: &Value) -> Result<Value, kube::Error> {
        self.call("POST", path, "application/json", Some(object)).await
    }

    /// `form` is `merge` or `strategic-merge`.
    pub(super) async fn patch(&self, path: &str, form: &str, patch: &Value) -> Result<Value, kube::Error> {
        self.call("PATCH", path, &format!("application/{form}-patch+json"), Some(patch)).await
    }

    /// What is not there is deleted already.
    pub(super) async fn delete(&self, path: &str, options: &Value) -> Result<(), kube::Error> {
        match self.call("DELETE", path, "application/json", Some(options)).await {
            Err(error) if !is(&error, 404) => Err(error),
            _ => Ok(()),
        }
    }

    /// Creates an object that may be there already.
    pub(super) async fn ensure(&self, path: &str, object: &Value) -> Result<(), kube::Error> {
        match self.create(path, object).await {
            Err(error) if !is(&error, 409) => Err(error),
            _ => Ok(()),
        }
    }

    async fn call(
        &self,
        method: &str,
        path: &str,
        kind: &str,
        body: Option<&Value>,
    ) -> Result<Value, kube::Error> {
        let body = body.filter(|body| !body.is_null()).map(|body| {
            let mut body = body.clone();
            body.sort_all_objects();
            body.to_string().into_bytes()
        });
        for _ in 0..20 {
            let mut request = Request::builder().method(method).uri(path);
            if !kind.is_empty() {
                request = request.header("Content-Type", kind);
            }
            let request = request.body(body.clone().unwrap_or_default()).expect("a request");
            match self.0.request(request).await {
                Err(error) if is(&error, 429) => tokio::time::sleep(Duration::from_secs(1)).await,
                other => return other,
            }
        }
        panic!("the API server is too busy for {method} {path}")
    }
}

/// Deletes at once what waits for nobody.
pub(super) fn at_once() -> Value {
    json!({"gracePeriodSeconds": 0})
}
