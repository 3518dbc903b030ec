//! The objects of ours in the API server, as kube addresses them.

use k8s_openapi::api::apps::v1::ControllerRevision;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::{Api, Client};
use sidecarset_core::api::keys;

/// The kind SidecarSet in the version that is stored. Decision: D-1.
#[must_use]
pub fn sidecar_set_resource() -> ApiResource {
    let kind = GroupVersionKind::gvk("apps.kruise.io", "v1beta1", "SidecarSet");
    ApiResource::from_gvk_with_plural(&kind, "sidecarsets")
}

/// The kind ControllerRevision.
#[must_use]
pub fn revision_resource() -> ApiResource {
    ApiResource::erase::<ControllerRevision>(&())
}

/// SidecarSets in the version that is stored (D-1), as JSON: nothing of them is lost (D-5).
#[must_use]
pub fn sidecar_sets(client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &sidecar_set_resource())
}

/// What an Event about a SidecarSet points to.
#[must_use]
pub fn reference_to_set(name: &str, uid: Option<String>) -> ObjectReference {
    let ApiResource { api_version, kind, .. } = sidecar_set_resource();
    ObjectReference {
        api_version: Some(api_version),
        kind: Some(kind),
        name: Some(name.to_owned()),
        uid,
        ..ObjectReference::default()
    }
}

/// ControllerRevisions of a namespace.
#[must_use]
pub fn revisions(client: Client, namespace: &str) -> Api<ControllerRevision> {
    Api::namespaced(client, namespace)
}

/// What selects the ControllerRevisions of the set `name`. Rule: C-REV-10.
#[must_use]
pub fn revisions_of(name: &str) -> String {
    format!("{}={name}", keys::REVISION_SET_NAME)
}
