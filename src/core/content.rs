//! What one revision of a SidecarSet injects, compiled once into fragments: the member texts as they arrived, with holes
//! where injection adds something for each Pod (D-5, I-DEF-2).

use rustc_hash::FxHashMap;
use serde_json::{Map, Value};

use crate::injection::env::TransferEnv;
use crate::injection::metadata::MetadataPatch;
use crate::json::push_string;
use crate::pod::ListKind;
use crate::resources::ResourcesPolicy;

/// One revision of a set, ready for injection.
#[derive(Debug, Default)]
pub struct Content {
    /// The set's annotation `kruise.io/sidecarset-hash`, or the revision's (I-REV-10, I-REV-12).
    pub hash: Box<str>,
    /// The same without images.
    pub hash_without_image: Box<str>,
    /// `status.latestRevision`, or the name of the restored revision; empty if there is none.
    pub revision: Box<str>,
    /// `spec.initContainers`, in order.
    pub init_containers: Vec<Fragment>,
    /// `spec.containers`, in order.
    pub containers: Vec<Fragment>,
    /// `spec.volumes`, text by name; of a repeated name the last (I-VOL-2).
    pub volumes: FxHashMap<Box<str>, Box<str>>,
    /// `spec.imagePullSecrets`: name and text.
    pub pull_secrets: Vec<(Box<str>, Box<str>)>,
    /// `spec.patchPodMetadata`, in order.
    pub metadata_patches: Vec<MetadataPatch>,
    /// Names for `sidecarList`: native sidecars and containers, sorted, unique (I-ANN-4).
    pub sidecar_names: Vec<String>,
}

/// A container of a set in pieces.
#[derive(Debug)]
pub struct Fragment {
    /// The container's name as the set has it.
    pub name: Box<str>,
    /// The list of the Pod that it goes into.
    pub list: ListKind,
    /// Whether it goes before the Pod's own entries (I-ORD-6).
    pub goes_before: bool,
    /// `image` as JSON text; empty if there is none.
    pub image: Box<str>,
    /// All members without a hole, `,"key":value` each.
    pub members: Box<str>,
    /// The container's own `env`.
    pub env: OwnList,
    /// The container's own `volumeMounts`; keys are mount paths.
    pub mounts: OwnList,
    /// The container's own `volumeDevices`; keys are device paths.
    pub devices: OwnList,
    /// `resources` as JSON text without limits and requests if a policy computes them, else whole; empty if there is none.
    pub resources: Box<str>,
    /// Names of the volumes that own mounts and devices refer to, in order (I-VOL-2).
    pub volume_refs: Vec<Box<str>>,
    /// The empty image as JSON text, if the container becomes a hot pair (I-HOT-1).
    pub hot_empty_image: Option<Box<str>>,
    /// Whether mounts of app containers are shared (I-VOL-4).
    pub shares_mounts: bool,
    /// Whether devices of app containers are shared (I-VOL-9).
    pub shares_devices: bool,
    /// `transferEnv`, in order.
    pub transfer_env: Vec<TransferEnv>,
    /// `resourcesPolicy`.
    pub resources_policy: Option<ResourcesPolicy>,
}

/// A list of a container that injection may add to.
#[derive(Debug, Default)]
pub struct OwnList {
    /// The entries as JSON text, joined with `,`.
    pub text: Box<str>,
    /// The entries' keys: names of env, paths of mounts and devices.
    pub keys: Vec<Box<str>>,
}

/// Members that exist in a SidecarSet's container only and never reach a Pod. Rule: I-INJ-7.
const SET_ONLY_MEMBERS: [&str; 6] = [
    "podInjectPolicy",
    "upgradeStrategy",
    "shareVolumePolicy",
    "shareVolumeDevicePolicy",
    "transferEnv",
    "resourcesPolicy",
];

impl Content {
    /// Compiles the five members of a spec that injection uses.
    #[must_use]
    pub fn compile(spec: &Value, hash: &str, hash_without_image: &str, revision: &str) -> Self {
        let fragments = |member: &str, list| -> Vec<Fragment> {
            items(&spec[member]).map(|container| Fragment::compile(container, list)).collect()
        };
        let init_containers = fragments("initContainers", ListKind::Init);
        let containers = fragments("containers", ListKind::Plain);
        let is_native = |container: &&Value| container["restartPolicy"] == "Always";
        let native =
            items(&spec["initContainers"]).filter(is_native).map(|container| text(&container["name"]));
        let mut sidecar_names: Vec<String> =
            native.chain(containers.iter().map(|fragment| &*fragment.name)).map(Into::into).collect();
        sidecar_names.sort_unstable();
        sidecar_names.dedup();
        Self {
            hash: hash.into(),
            hash_without_image: hash_without_image.into(),
            revision: revision.into(),
            init_containers,
            containers,
            volumes: named(&spec["volumes"]).collect(),
            pull_secrets: named(&spec["imagePullSecrets"]).collect(),
            metadata_patches: items(&spec["patchPodMetadata"]).map(MetadataPatch::compile).collect(),
            sidecar_names,
        }
    }

    /// All fragments, init containers first: the order in which they are built (I-INJ-3).
    pub fn fragments(&self) -> impl Iterator<Item = &Fragment> {
        self.init_containers.iter().chain(&self.containers)
    }
}

impl Fragment {
    fn compile(container: &Value, list: ListKind) -> Self {
        let upgrade = &container["upgradeStrategy"];
        let is_native = list == ListKind::Plain || container["restartPolicy"] == "Always";
        let is_hot = is_native && upgrade["upgradeType"] == "HotUpgrade";
        let resources_policy =
            container["resourcesPolicy"].as_object().map(|_| &container["resourcesPolicy"]);
        let mounts = items(&container["volumeMounts"]);
        let devices = items(&container["volumeDevices"]);
        Self {
            name: text(&container["name"]).into(),
            list,
            goes_before: container["podInjectPolicy"] == "BeforeAppContainer",
            image: json_unless_empty(&container["image"]),
            members: plain_members(container),
            env: OwnList::compile(&container["env"], "name"),
            mounts: OwnList::compile(&container["volumeMounts"], "mountPath"),
            devices: OwnList::compile(&container["volumeDevices"], "devicePath"),
            resources: resources_text(&container["resources"], resources_policy.is_some()),
            volume_refs: mounts.chain(devices).map(|item| text(&item["name"]).into()).collect(),
            hot_empty_image: is_hot.then(|| json_unless_empty(&upgrade["hotUpgradeEmptyImage"])),
            shares_mounts: container["shareVolumePolicy"]["type"] == "enabled",
            shares_devices: container["shareVolumeDevicePolicy"]["type"] == "enabled",
            transfer_env: items(&container["transferEnv"]).map(TransferEnv::compile).collect(),
            resources_policy: resources_policy.map(ResourcesPolicy::compile),
        }
    }

    /// The names under which the container appears in a Pod: its own, or those of the hot pair (I-HOT-2).
    pub fn final_names(&self) -> impl Iterator<Item = String> + '_ {
        let suffixes: &[&str] = if self.hot_empty_image.is_some() { &["-1", "-2"] } else { &[""] };
        suffixes.iter().map(|suffix| format!("{}{suffix}", self.name))
    }

    /// Whether building it needs nothing of the Pod.
    #[must_use]
    pub fn is_fixed(&self) -> bool {
        !self.shares_mounts
            && !self.shares_devices
            && self.transfer_env.is_empty()
            && self.resources_policy.is_none()
    }
}

impl OwnList {
    fn compile(list: &Value, key: &str) -> Self {
        let mut joined = String::new();
        let mut keys = Vec::new();
        for item in items(list) {
            if !joined.is_empty() {
                joined.push(',');
            }
            joined.push_str(&item.to_string());
            keys.push(text(&item[key]).into());
        }
        Self { text: joined.into(), keys }
    }
}

/// The objects of a list. A `null` item counts as the empty object, as the API server reads it.
pub(crate) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    static EMPTY: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| Value::Object(Map::new()));
    list.as_array().into_iter().flatten().map(|item| if item.is_null() { &*EMPTY } else { item })
}

/// A string, empty if it is none.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn named(list: &Value) -> impl Iterator<Item = (Box<str>, Box<str>)> {
    items(list).map(|item| (text(&item["name"]).into(), item.to_string().into()))
}

fn json_unless_empty(value: &Value) -> Box<str> {
    match text(value) {
        "" => "".into(),
        text => {
            let mut out = String::new();
            push_string(&mut out, text);
            out.into()
        }
    }
}

fn plain_members(container: &Value) -> Box<str> {
    const WITH_HOLES: [&str; 6] = ["name", "image", "env", "volumeMounts", "volumeDevices", "resources"];
    let mut out = String::new();
    for (key, value) in container.as_object().into_iter().flatten() {
        let is_left_out =
            WITH_HOLES.contains(&&**key) || SET_ONLY_MEMBERS.contains(&&**key) || value.is_null();
        if !is_left_out {
            push_member(&mut out, key, value);
        }
    }
    out.into()
}

/// Rule: I-RES-13 with I-DEF-23: a policy replaces limits and requests, other members such as `claims` stay.
fn resources_text(resources: &Value, has_policy: bool) -> Box<str> {
    let mut out = String::new();
    for (key, value) in resources.as_object().into_iter().flatten() {
        let is_computed = has_policy && matches!(&**key, "limits" | "requests");
        if !is_computed && !value.is_null() {
            push_member(&mut out, key, value);
        }
    }
    out.into()
}

fn push_member(out: &mut String, key: &str, value: &Value) {
    out.push(',');
    push_string(out, key);
    out.push(':');
    out.push_str(&value.to_string());
}
