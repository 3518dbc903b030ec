//! The Secret as an object of the API.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::MANAGER;
use crate::tls::managed::contents::{
    CA_CERTIFICATE, CA_KEY, Contents, LEAF, LEAF_KEY, PREVIOUS, ROTATED, STAGE,
};

/// What it holds.
pub(super) fn read(secret: &Secret) -> Contents {
    let data = secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect();
    let none = BTreeMap::new();
    Contents::read(&data, secret.metadata.annotations.as_ref().unwrap_or(&none))
}

/// The object to write so that it holds this: as it was, but for what is ours.
pub(super) fn with_contents(before: Option<&Secret>, name: &str, contents: &Contents) -> Secret {
    let mut secret = before.cloned().unwrap_or_else(|| mk_secret(name));
    let data = secret.data.get_or_insert_default();
    for key in [CA_CERTIFICATE, CA_KEY, PREVIOUS, LEAF, LEAF_KEY] {
        data.remove(key);
    }
    data.extend(contents.data().into_iter().map(|(key, value)| (key, ByteString(value))));
    let annotations = secret.metadata.annotations.get_or_insert_default();
    annotations.insert(STAGE.to_owned(), contents.stage().as_str().to_owned());
    if let Some(rotated) = &contents.rotated {
        annotations.insert(ROTATED.to_owned(), rotated.clone());
    }
    secret
}

fn mk_secret(name: &str) -> Secret {
    let labels = [("app.kubernetes.io/name", "sidecarset"), ("app.kubernetes.io/managed-by", MANAGER)];
    let metadata = ObjectMeta {
        name: Some(name.to_owned()),
        labels: Some(labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into()),
        ..ObjectMeta::default()
    };
    Secret { metadata, type_: Some("Opaque".to_owned()), ..Secret::default() }
}

/// Whether `one` is an older state of the object than `other`. Versions of one object grow.
pub(super) fn is_older(one: &Secret, other: &Secret) -> bool {
    let version = |secret: &Secret| secret.metadata.resource_version.as_deref()?.parse::<u64>().ok();
    one.metadata.uid == other.metadata.uid && version(one) < version(other)
}
