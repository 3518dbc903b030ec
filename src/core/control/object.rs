//! The slim type that a Pod is decoded into: what [`super::pod::PodFacts`] needs, everything else is passed over.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, de::IgnoredAny};

/// A `null` reads as absent, as the API server reads it.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A Pod, as far as it is read. Rule: C-RUST-3.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PodObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) metadata: MetadataObject,
    #[serde(deserialize_with = "or_default")]
    pub(super) spec: SpecObject,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: PodStatusObject,
}

impl PodObject {
    /// `metadata.namespace`, `metadata.name`, `metadata.uid`, `metadata.resourceVersion`; empty if absent.
    #[must_use]
    pub fn identity(&self) -> (&str, &str, &str, &str) {
        let MetadataObject { namespace, name, uid, resource_version, .. } = &self.metadata;
        (namespace, name, uid, resource_version)
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct MetadataObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) namespace: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) uid: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) resource_version: String,
    pub(super) creation_timestamp: Option<String>,
    pub(super) deletion_timestamp: Option<String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(deserialize_with = "or_default")]
    pub(super) owner_references: Vec<OwnerObject>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct OwnerObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) uid: String,
    pub(super) controller: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SpecObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) node_name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) restart_policy: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) init_containers: Vec<ContainerObject>,
    #[serde(deserialize_with = "or_default")]
    pub(super) containers: Vec<ContainerObject>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) image: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) restart_policy: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) env: Vec<EnvObject>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct EnvObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    pub(super) value: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodStatusObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) phase: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) conditions: Vec<ConditionObject>,
    #[serde(deserialize_with = "or_default")]
    pub(super) container_statuses: Vec<StatusObject>,
    #[serde(deserialize_with = "or_default")]
    pub(super) init_container_statuses: Vec<StatusObject>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ConditionObject {
    #[serde(rename = "type", deserialize_with = "or_default")]
    pub(super) kind: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) status: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) reason: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) message: String,
    pub(super) last_transition_time: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct StatusObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) image: String,
    #[serde(rename = "imageID", deserialize_with = "or_default")]
    pub(super) image_id: String,
    #[serde(deserialize_with = "or_default")]
    pub(super) ready: bool,
    #[serde(deserialize_with = "or_default")]
    pub(super) restart_count: i32,
    #[serde(deserialize_with = "or_default")]
    pub(super) state: StateObject,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct StateObject {
    pub(super) waiting: Option<WaitingObject>,
    pub(super) running: Option<IgnoredAny>,
    pub(super) terminated: Option<TerminatedObject>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct WaitingObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) reason: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct TerminatedObject {
    #[serde(deserialize_with = "or_default")]
    pub(super) exit_code: i32,
}
