//! What the controller keeps of a Pod: a small part of it, with everything shared that many Pods have in common.

use std::collections::BTreeSet;
use std::num::NonZeroU16;
use std::sync::Arc;

use super::interner::{Interner, Pairs};
use super::object::{ConditionObject, ContainerObject, PodObject, StatusObject};
use super::records::Records;
use crate::api::keys;
use crate::injection::hash_annotation::parse_rfc3339;
use crate::selector::Labels;

/// Which annotations are kept besides those that the controller writes itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keep {
    keys: BTreeSet<Box<str>>,
}

impl Keep {
    /// Keeps these keys: those that `patchPodMetadata` of any set names.
    pub fn new<'k>(keys: impl IntoIterator<Item = &'k str>) -> Self {
        Self { keys: keys.into_iter().map(Into::into).collect() }
    }

    /// Whether Pods that were decoded with this tell the annotation `key`.
    #[must_use]
    pub fn covers(&self, key: &str) -> bool {
        is_own(key) || self.keys.contains(key)
    }
}

/// Annotations that rules read. The two maps of hashes are kept as [`Records`].
fn is_own(key: &str) -> bool {
    matches!(
        key,
        keys::INJECTED_LIST
            | keys::IN_PLACE_STATE
            | keys::IN_PLACE_BEFORE
            | keys::WORKING_HOT_UPGRADE_CONTAINER
            | keys::INJECT
            | keys::SKIP
            | keys::MIRROR_POD
    ) || key.starts_with(keys::VERSION_PREFIX)
        || key.starts_with(keys::VERSION_ALT_PREFIX)
}

/// `status.phase`. Order: that of the update (C-SORT-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Phase {
    /// `Pending`, empty, or a word that we do not know.
    Pending,
    /// `Unknown`.
    Unknown,
    /// `Running`.
    Running,
    /// `Succeeded`.
    Succeeded,
    /// `Failed`.
    Failed,
}

/// `spec.restartPolicy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RestartPolicy {
    /// `Always`, also when absent.
    Always,
    /// `OnFailure`.
    OnFailure,
    /// `Never`.
    Never,
}

/// Which list of the Pod a container is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// `initContainers`, ends before the others start.
    Init,
    /// `initContainers` with `restartPolicy: Always`.
    NativeSidecar,
    /// `containers`.
    Regular,
}

/// How a container wants to be ended when the main containers of its Pod have. Rule: C-TERM-2.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ExitMark {
    /// It is to be killed.
    pub by_kill: bool,
    /// Its exit code must not count.
    pub ignores_exit_code: bool,
    /// The image that exits at once, to be put in its place.
    pub image: Option<Arc<str>>,
}

/// A container of the spec.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerFact {
    /// Its name.
    pub name: Arc<str>,
    /// Its image, as written.
    pub image: Arc<str>,
    /// Its list.
    pub place: Place,
    /// What the terminator reads.
    pub exit: ExitMark,
}

/// Why a container does not start, where somebody most likely has to do something. The kubelet goes on trying.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stuck {
    /// The image cannot be pulled. Also `ErrImagePull`, which takes turns with it.
    ImagePullBackOff,
    /// It is not there and must not be pulled.
    ErrImageNeverPull,
    /// The name of the image is none.
    InvalidImageName,
    /// What it is configured with is not there, for example a ConfigMap.
    CreateContainerConfigError,
    /// The runtime refuses it.
    CreateContainerError,
    /// It cannot be started, for example because its command is not there.
    RunContainerError,
    /// It ends again and again.
    CrashLoopBackOff,
}

impl Stuck {
    fn new(reason: &str) -> Option<Self> {
        Some(match reason {
            "ErrImagePull" | "ImagePullBackOff" => Self::ImagePullBackOff,
            "ErrImageNeverPull" => Self::ErrImageNeverPull,
            "InvalidImageName" => Self::InvalidImageName,
            "CreateContainerConfigError" => Self::CreateContainerConfigError,
            "CreateContainerError" => Self::CreateContainerError,
            "RunContainerError" => Self::RunContainerError,
            "CrashLoopBackOff" => Self::CrashLoopBackOff,
            _ => return None,
        })
    }
}

/// Stands for the controller that owns a Pod, in two bytes where a reference to its uid takes sixteen. Two that are taken for one, one
/// pair in 65,535, have Pods evicted as if they had one owner: less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner(NonZeroU16);

impl Owner {
    fn new(uid: &str) -> Self {
        // FNV-1a: a uid is random, and nobody gains by making two alike.
        let fold = |hash: u32, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
        let [a, b, c, d] = uid.bytes().fold(2_166_136_261, fold).to_ne_bytes();
        Self(NonZeroU16::new(u16::from_ne_bytes([a ^ c, b ^ d])).unwrap_or(NonZeroU16::MIN))
    }
}

/// The state of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Waiting, or nothing said; with the reason if waiting alone hardly helps.
    Waiting(Option<Stuck>),
    /// Running.
    Running,
    /// Ended with this exit code.
    Terminated(i32),
}

/// A container of the status.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatusFact {
    /// Its name.
    pub name: Arc<str>,
    /// The image as the runtime calls it.
    pub image: Arc<str>,
    /// What the runtime pulled.
    pub image_id: Arc<str>,
    /// Whether it is ready.
    pub is_ready: bool,
    /// How often it was restarted.
    pub restarts: i32,
    /// What it does.
    pub state: State,
    /// Whether it is of `initContainerStatuses`.
    pub is_init: bool,
}

/// The Pod's condition `SidecarSetUpgradable`. Rule: C-COND-1.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Upgradable {
    /// `True`, `False` or another word.
    pub status: Box<str>,
    /// Why.
    pub reason: Box<str>,
    /// A JSON object: set → whether the Pod can take its change in place.
    pub message: Box<str>,
    /// Seconds since 1970; `None` if absent.
    pub transition_unix: Option<i64>,
}

/// A Pod as the controller knows it, about a third of a kilobyte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.namespace`
    pub namespace: Arc<str>,
    /// `metadata.name`
    pub name: Box<str>,
    /// `metadata.uid`
    pub uid: Box<str>,
    /// `metadata.resourceVersion`
    pub resource_version: Box<str>,
    /// `metadata.labels`
    pub labels: Pairs,
    /// The annotations that are kept.
    pub annotations: Pairs,
    /// What was kept.
    pub keep: Arc<Keep>,
    /// The annotation with hashes.
    pub records: Records,
    /// The annotation with hashes without images.
    pub records_without_image: Records,
    /// `spec.nodeName`
    pub node: Option<Arc<str>>,
    /// `metadata.creationTimestamp`, seconds since 1970.
    pub created_unix: Option<i64>,
    /// When the condition `Ready` changed last, seconds since 1970.
    pub ready_since_unix: Option<i64>,
    /// Whether the condition `Ready` is `True`.
    pub is_ready: bool,
    /// Whether it has a deletionTimestamp.
    pub is_terminating: bool,
    /// The controller that owns it and makes it again.
    pub owner: Option<Owner>,
    /// `status.phase`
    pub phase: Phase,
    /// `status.phase` is empty, which the terminator tells from `Pending` (C-TERM-5).
    pub has_no_phase: bool,
    /// `spec.restartPolicy`
    pub restart_policy: RestartPolicy,
    /// Condition `SidecarSetUpgradable`.
    pub upgradable: Option<Arc<Upgradable>>,
    /// Init containers, then containers, each in their order.
    pub containers: Arc<[ContainerFact]>,
    /// Statuses in the same order.
    pub statuses: Arc<[StatusFact]>,
}

impl PodFacts {
    /// Reads a Pod from JSON in one pass.
    ///
    /// # Errors
    ///
    /// Text that is no Pod.
    ///
    /// Rule: C-RUST-3.
    pub fn from_json(text: &str, keep: &Keep, interner: &mut Interner) -> Result<Self, serde_json::Error> {
        Ok(Self::new(&serde_json::from_str(text)?, keep, interner))
    }

    /// Takes what rules read from a decoded Pod.
    ///
    /// Rule: C-RUST-3.
    #[must_use]
    pub fn new(object: &PodObject, keep: &Keep, interner: &mut Interner) -> Self {
        let PodObject { metadata, spec, status } = object;
        let annotation = |key: &str| metadata.annotations.get(key).map(String::as_str);
        let kept = metadata.annotations.iter().filter(|(key, _)| keep.covers(key));
        let condition = |name: &str| status.conditions.iter().find(|condition| condition.kind == name);
        let ready = condition("Ready");
        let regular = spec.containers.iter().map(|container| (container, Place::Regular));
        let containers = spec.init_containers.iter().map(|container| (container, init_place(container)));
        let containers =
            containers.chain(regular).map(|(container, place)| container.fact(place, interner)).collect();
        let statuses = status.init_container_statuses.iter().map(|status| (status, true));
        let statuses = statuses.chain(status.container_statuses.iter().map(|status| (status, false)));
        let statuses = statuses.map(|(status, is_init)| status.fact(is_init, interner)).collect();
        Self {
            namespace: interner.text(&metadata.namespace),
            name: metadata.name.as_str().into(),
            uid: metadata.uid.as_str().into(),
            resource_version: metadata.resource_version.as_str().into(),
            labels: interner.pairs(metadata.labels.iter().map(|(key, value)| (&**key, &**value))),
            annotations: interner.pairs(kept.map(|(key, value)| (&**key, &**value))),
            keep: interner.keep(keep),
            records: Records::read(annotation(keys::HASH), interner),
            records_without_image: Records::read(annotation(keys::HASH_WITHOUT_IMAGE), interner),
            node: (!spec.node_name.is_empty()).then(|| interner.text(&spec.node_name)),
            created_unix: unix(metadata.creation_timestamp.as_deref()),
            ready_since_unix: ready.and_then(|ready| unix(ready.last_transition_time.as_deref())),
            is_ready: ready.is_some_and(|ready| ready.status == "True"),
            is_terminating: metadata.deletion_timestamp.is_some(),
            owner: metadata
                .owner_references
                .iter()
                .find(|owner| owner.controller == Some(true))
                .map(|owner| Owner::new(&owner.uid)),
            phase: phase(&status.phase),
            has_no_phase: status.phase.is_empty(),
            restart_policy: match spec.restart_policy.as_str() {
                "Never" => RestartPolicy::Never,
                "OnFailure" => RestartPolicy::OnFailure,
                _ => RestartPolicy::Always,
            },
            upgradable: condition(keys::CONDITION_UPGRADABLE)
                .map(|condition| interner.condition(condition.upgradable())),
            containers: interner.containers(containers),
            statuses: interner.statuses(statuses),
        }
    }

    /// Namespace and name, by which Pods are ordered and told.
    #[must_use]
    pub fn key(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }

    /// The value of a kept annotation.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        find(&self.annotations, key)
    }

    /// The sets that the Pod names as injected, split as they stand. Rule: C-MATCH-4.
    pub fn injected_sets(&self) -> impl Iterator<Item = &str> {
        self.annotation(keys::INJECTED_LIST)
            .filter(|list| !list.is_empty())
            .into_iter()
            .flat_map(|list| list.split(','))
    }

    /// Its containers have ended for good.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Succeeded | Phase::Failed)
    }

    /// Neither ended nor being deleted. Rule: C-MATCH-3.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.has_ended() && !self.is_terminating
    }

    /// The container of that name, init containers first. Rule: C-MATCH-5.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&ContainerFact> {
        self.containers.iter().find(|container| &*container.name == name)
    }

    /// The containers of `spec.containers`.
    pub fn regular(&self) -> impl Iterator<Item = &ContainerFact> {
        self.containers.iter().filter(|container| container.place == Place::Regular)
    }

    /// The image of the regular container of that name.
    #[must_use]
    pub fn image(&self, name: &str) -> Option<&str> {
        self.regular().find(|container| &*container.name == name).map(|container| &*container.image)
    }

    /// The statuses of `status.containerStatuses`.
    pub fn regular_statuses(&self) -> impl Iterator<Item = &StatusFact> {
        self.statuses.iter().filter(|status| !status.is_init)
    }

    /// The first container that does not start by itself, init containers first, and why.
    #[must_use]
    pub fn stuck(&self) -> Option<(&str, Stuck)> {
        self.statuses.iter().find_map(|status| match status.state {
            State::Waiting(stuck) => Some((&*status.name, stuck?)),
            State::Running | State::Terminated(_) => None,
        })
    }

    /// The status of the regular container of that name.
    #[must_use]
    pub fn status(&self, name: &str) -> Option<&StatusFact> {
        self.regular_statuses().find(|status| &*status.name == name)
    }
}

impl Labels for PodFacts {
    fn value(&self, key: &str) -> Option<&str> {
        find(&self.labels, key)
    }
}

fn find<'p>(pairs: &'p [(Arc<str>, Arc<str>)], key: &str) -> Option<&'p str> {
    let index = pairs.binary_search_by(|(known, _)| (**known).cmp(key)).ok()?;
    pairs.get(index).map(|(_, value)| &**value)
}

fn unix(time: Option<&str>) -> Option<i64> {
    parse_rfc3339(time?)
}

fn phase(text: &str) -> Phase {
    match text {
        "Running" => Phase::Running,
        "Succeeded" => Phase::Succeeded,
        "Failed" => Phase::Failed,
        "Unknown" => Phase::Unknown,
        _ => Phase::Pending,
    }
}

fn init_place(container: &ContainerObject) -> Place {
    if container.restart_policy == "Always" { Place::NativeSidecar } else { Place::Init }
}

impl ContainerObject {
    /// Rule: C-TERM-2. Only literal values count.
    fn fact(&self, place: Place, interner: &mut Interner) -> ContainerFact {
        let value = |name: &str| {
            let entry = self.env.iter().rev().find(|entry| entry.name == name);
            entry.and_then(|entry| entry.value.as_deref()).unwrap_or_default()
        };
        let by_kill = value(keys::ENV_TERMINATE).eq_ignore_ascii_case("true");
        let image = Some(value(keys::ENV_TERMINATE_WITH_IMAGE)).filter(|image| !image.is_empty());
        ContainerFact {
            name: interner.text(&self.name),
            image: interner.text(&self.image),
            place,
            exit: ExitMark {
                by_kill,
                ignores_exit_code: by_kill && value(keys::ENV_IGNORE_EXIT_CODE).eq_ignore_ascii_case("true"),
                image: image.map(|image| interner.text(image)),
            },
        }
    }
}

impl StatusObject {
    fn fact(&self, is_init: bool, interner: &mut Interner) -> StatusFact {
        StatusFact {
            name: interner.text(&self.name),
            image: interner.text(&self.image),
            image_id: interner.text(&self.image_id),
            is_ready: self.ready,
            restarts: self.restart_count,
            state: match (&self.state.terminated, &self.state.running) {
                (Some(terminated), _) => State::Terminated(terminated.exit_code),
                (None, Some(_)) => State::Running,
                (None, None) => State::Waiting(
                    self.state.waiting.as_ref().and_then(|waiting| Stuck::new(&waiting.reason)),
                ),
            },
            is_init,
        }
    }
}

impl ConditionObject {
    fn upgradable(&self) -> Upgradable {
        Upgradable {
            status: self.status.as_str().into(),
            reason: self.reason.as_str().into(),
            message: self.message.as_str().into(),
            transition_unix: unix(self.last_transition_time.as_deref()),
        }
    }
}

#[cfg(test)]
mod tests;
