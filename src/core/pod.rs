//! What rules read of a Pod, borrowed from the request body. The body itself stays text (D-5).
//!
//! One pass over the Pod finds all of it; env, mounts and devices stay text until a rule asks for them.

use std::borrow::Cow;

use crate::api::keys;
use crate::api::quantity::Quantity;
use crate::json::{Cursor, JsonError, List, Raw, Read, Str, StrMap, WithText, object_view};

object_view! {
    struct PodObject<'a> {
        api_version: Str<'a> = "apiVersion",
        kind: Str<'a> = "kind",
        metadata: MetaView<'a> = "metadata",
        spec: SpecView<'a> = "spec",
    }
}

object_view! {
    struct MetaView<'a> {
        name: Str<'a> = "name",
        generate_name: Str<'a> = "generateName",
        namespace: Str<'a> = "namespace",
        labels: StrMap<'a> = "labels",
        annotations: StrMap<'a> = "annotations",
        owners: List<OwnerView<'a>> = "ownerReferences",
    }
}

object_view! {
    struct OwnerView<'a> {
        uid: Str<'a> = "uid",
        controller: bool = "controller",
    }
}

/// A Pod as rules see it. Rule: I-CALL-11 (what cannot be decoded).
#[derive(Debug, Clone, Default)]
pub struct PodLook<'a> {
    metadata: Option<MetaView<'a>>,
    spec: SpecView<'a>,
    has_spec: bool,
}

impl<'a> Read<'a> for PodLook<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        let pod = PodObject::read(cursor)?;
        for (member, found, expected) in [("apiVersion", &pod.api_version, "v1"), ("kind", &pod.kind, "Pod")]
        {
            let found = found.as_deref().unwrap_or_default();
            if !found.is_empty() && found != expected {
                return Err(cursor.error(format!("found `{found}`, expected `{expected}`")).within(member));
            }
        }
        let has_spec = pod.spec.is_some();
        Ok(Self { metadata: pod.metadata, spec: pod.spec.unwrap_or_default(), has_spec })
    }
}

impl<'a> PodLook<'a> {
    /// Looks at a Pod that stands alone as JSON text.
    ///
    /// # Errors
    ///
    /// Text that is no JSON, or a member of the wrong type (I-CALL-11).
    pub fn from_json(text: &'a str) -> Result<Self, JsonError> {
        Cursor::read_all(text)
    }

    /// `metadata.namespace`, empty if absent.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.meta_text(|meta| meta.namespace.as_ref())
    }

    /// `metadata.name`, empty if absent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.meta_text(|meta| meta.name.as_ref())
    }

    /// `metadata.generateName`, empty if absent.
    #[must_use]
    pub fn generate_name(&self) -> &str {
        self.meta_text(|meta| meta.generate_name.as_ref())
    }

    /// `metadata.name`, else `metadata.generateName`, else empty: how logs call the Pod.
    #[must_use]
    pub fn display_name(&self) -> &str {
        match self.name() {
            "" => self.generate_name(),
            name => name,
        }
    }

    /// `metadata.labels`; `None` if absent.
    #[must_use]
    pub fn labels(&self) -> Option<&StrMap<'a>> {
        self.metadata.as_ref()?.labels.as_ref()
    }

    /// `metadata.annotations`; `None` if absent.
    #[must_use]
    pub fn annotations(&self) -> Option<&StrMap<'a>> {
        self.metadata.as_ref()?.annotations.as_ref()
    }

    /// The value of a label or an annotation with this key, the annotation first.
    #[must_use]
    pub fn annotation_or_label(&self, key: &str) -> Option<&str> {
        self.annotations().and_then(|map| map.get(key)).or_else(|| self.labels().and_then(|map| map.get(key)))
    }

    /// Uid of the owner that is the controller; empty if there is none.
    #[must_use]
    pub fn controller_uid(&self) -> &str {
        let owners = self.metadata.as_ref().and_then(|meta| meta.owners.as_deref());
        let owners = owners.unwrap_or_default();
        owners
            .iter()
            .find(|owner| owner.controller == Some(true))
            .and_then(|owner| owner.uid.as_deref())
            .unwrap_or_default()
    }

    /// Whether the Pod has a `metadata` object.
    #[must_use]
    pub fn has_metadata(&self) -> bool {
        self.metadata.is_some()
    }

    /// `spec`, empty if absent.
    #[must_use]
    pub fn spec(&self) -> &SpecView<'a> {
        &self.spec
    }

    /// Whether the Pod has a `spec` object.
    #[must_use]
    pub fn has_spec(&self) -> bool {
        self.has_spec
    }

    /// Checks what the API server's decoder would refuse and no rule reads on the way.
    ///
    /// # Errors
    ///
    /// A quantity that is none (I-CALL-11).
    pub fn check_quantities(&self) -> Result<(), JsonError> {
        let containers = self.spec.init_containers().iter().chain(self.spec.containers());
        let mut containers = containers;
        containers.try_for_each(|item| item.value.check_quantities())
    }

    fn meta_text<'s>(&'s self, member: impl Fn(&'s MetaView<'a>) -> Option<&'s Str<'a>>) -> &'s str {
        self.metadata.as_ref().and_then(member).map_or("", |text| text)
    }
}

object_view! {
    /// What rules read of `spec`.
    pub struct SpecView<'a> {
        containers: List<WithText<'a, ContainerView<'a>>> = "containers",
        init_containers: List<WithText<'a, ContainerView<'a>>> = "initContainers",
        volumes: List<WithText<'a, NamedView<'a>>> = "volumes",
        pull_secrets: List<WithText<'a, NamedView<'a>>> = "imagePullSecrets",
    }
}

object_view! {
    /// An object of which only the name counts.
    pub struct NamedView<'a> {
        name: Str<'a> = "name",
    }
}

impl NamedView<'_> {
    /// `name`, empty if absent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }
}

/// The two lists of a Pod that sidecars go into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListKind {
    /// `spec.initContainers`
    Init,
    /// `spec.containers`
    Plain,
}

impl ListKind {
    /// Name of the member of `spec`.
    #[must_use]
    pub fn member(self) -> &'static str {
        match self {
            Self::Init => "initContainers",
            Self::Plain => "containers",
        }
    }
}

impl<'a> SpecView<'a> {
    /// One of the container lists; `None` if absent.
    #[must_use]
    pub fn list(&self, kind: ListKind) -> Option<&[WithText<'a, ContainerView<'a>>]> {
        match kind {
            ListKind::Init => self.init_containers.as_deref(),
            ListKind::Plain => self.containers.as_deref(),
        }
    }

    /// `initContainers`, empty if absent.
    #[must_use]
    pub fn init_containers(&self) -> &[WithText<'a, ContainerView<'a>>] {
        self.list(ListKind::Init).unwrap_or_default()
    }

    /// `containers`, empty if absent.
    #[must_use]
    pub fn containers(&self) -> &[WithText<'a, ContainerView<'a>>] {
        self.list(ListKind::Plain).unwrap_or_default()
    }

    /// `volumes`; `None` if absent.
    #[must_use]
    pub fn volumes(&self) -> Option<&[WithText<'a, NamedView<'a>>]> {
        self.volumes.as_deref()
    }

    /// `imagePullSecrets`; `None` if absent.
    #[must_use]
    pub fn pull_secrets(&self) -> Option<&[WithText<'a, NamedView<'a>>]> {
        self.pull_secrets.as_deref()
    }
}

object_view! {
    /// What rules read of a container of the Pod.
    pub struct ContainerView<'a> {
        name: Str<'a> = "name",
        restart_policy: Str<'a> = "restartPolicy",
        env: Raw<'a> = "env",
        volume_mounts: Raw<'a> = "volumeMounts",
        volume_devices: Raw<'a> = "volumeDevices",
        resources: ResourcesView<'a> = "resources",
    }
}

object_view! {
    struct ResourcesView<'a> {
        limits: RawMap<'a> = "limits",
        requests: RawMap<'a> = "requests",
    }
}

object_view! {
    /// An entry of `env`.
    pub struct EnvView<'a> {
        name: Str<'a> = "name",
        value: Str<'a> = "value",
    }
}

object_view! {
    /// An entry of `volumeMounts` or `volumeDevices`.
    pub struct MountView<'a> {
        mount_path: Str<'a> = "mountPath",
        device_path: Str<'a> = "devicePath",
        sub_path_expr: Str<'a> = "subPathExpr",
    }
}

impl<'a> EnvView<'a> {
    /// `name` as it was read.
    #[must_use]
    pub fn key(&self) -> Cow<'a, str> {
        self.name.clone().unwrap_or_default().0
    }

    /// `name`, empty if absent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// `name`, empty if absent.
    #[must_use]
    pub fn into_name(self) -> Cow<'a, str> {
        self.name.unwrap_or_default().0
    }
}

impl<'a> MountView<'a> {
    /// `mountPath` of a mount, `devicePath` of a device; empty if absent.
    #[must_use]
    pub fn path(&self) -> &str {
        self.mount_path.as_deref().or(self.device_path.as_deref()).unwrap_or_default()
    }

    /// [`MountView::path`], taken out.
    #[must_use]
    pub fn into_path(self) -> Cow<'a, str> {
        self.mount_path.or(self.device_path).unwrap_or_default().0
    }

    /// `subPathExpr`, empty if absent.
    #[must_use]
    pub fn sub_path_expr(&self) -> &str {
        self.sub_path_expr.as_deref().unwrap_or_default()
    }
}

impl<'a> ContainerView<'a> {
    /// `name`, empty if absent.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// Whether this init container is a native sidecar: its restart policy is `Always`.
    #[must_use]
    pub fn is_native_sidecar(&self) -> bool {
        self.restart_policy.as_deref() == Some("Always")
    }

    /// The entries of `env`.
    ///
    /// # Errors
    ///
    /// A member of the wrong type.
    pub fn env(&self) -> Result<List<WithText<'a, EnvView<'a>>>, JsonError> {
        entries(self.env)
    }

    /// The entries of `volumeMounts`.
    ///
    /// # Errors
    ///
    /// A member of the wrong type.
    pub fn volume_mounts(&self) -> Result<List<WithText<'a, MountView<'a>>>, JsonError> {
        entries(self.volume_mounts)
    }

    /// The entries of `volumeDevices`.
    ///
    /// # Errors
    ///
    /// A member of the wrong type.
    pub fn volume_devices(&self) -> Result<List<WithText<'a, MountView<'a>>>, JsonError> {
        entries(self.volume_devices)
    }

    /// Whether the container is marked as injected: its first env entry named `IS_INJECTED` has the value `true`.
    /// Rule: I-VOL-5.
    ///
    /// # Errors
    ///
    /// A member of the wrong type.
    pub fn is_marked_injected(&self) -> Result<bool, JsonError> {
        Ok(self.marks()?.next() == Some(true))
    }

    /// Whether the container has the mark at all: also behind an `IS_INJECTED` of another value, as a sidecar has it whose set
    /// defines that variable (I-ENV-2, I-DEF-12).
    ///
    /// # Errors
    ///
    /// A member of the wrong type.
    pub fn carries_mark(&self) -> Result<bool, JsonError> {
        Ok(self.marks()?.any(|is_true| is_true))
    }

    /// For each env entry named `IS_INJECTED`, whether its value is `true`.
    fn marks(&self) -> Result<impl Iterator<Item = bool>, JsonError> {
        // Most containers do not have the name anywhere in their env: then there is nothing to read.
        let may_have = self.env.is_some_and(|env| env.0.contains(keys::ENV_IS_INJECTED));
        let env = if may_have { self.env()? } else { List::default() };
        let is_mark = |entry: &WithText<'_, EnvView<'_>>| entry.value.name() == keys::ENV_IS_INJECTED;
        Ok(env.0.into_iter().filter(is_mark).map(|entry| entry.value.value.as_deref() == Some("true")))
    }

    /// `cpu` and `memory` of `resources.limits` or `resources.requests` as text: `200m`.
    #[must_use]
    pub fn amounts(&self, part: &str) -> [Option<Cow<'a, str>>; 2] {
        let resources = self.resources.as_ref();
        let map = resources.and_then(|resources| match part {
            "limits" => resources.limits.as_ref(),
            _ => resources.requests.as_ref(),
        });
        ["cpu", "memory"].map(|resource| map.and_then(|map| map.quantity(resource)))
    }

    fn check_quantities(&self) -> Result<(), JsonError> {
        let Some(resources) = &self.resources else { return Ok(()) };
        let maps = [("limits", &resources.limits), ("requests", &resources.requests)];
        for (part, map) in maps.into_iter().filter_map(|(part, map)| Some((part, map.as_ref()?))) {
            for (resource, raw) in &map.entries {
                if let Err(error) = Quantity::parse(&quantity_text(*raw)) {
                    let path = format!("spec.containers[{}].resources.{part}[{}]", self.name(), &**resource);
                    return Err(JsonError { detail: error.to_string(), path, offset: 0 });
                }
            }
        }
        Ok(())
    }
}

/// A JSON object whose values stay text.
#[derive(Debug, Clone, Default)]
struct RawMap<'a> {
    entries: Vec<(Str<'a>, Raw<'a>)>,
}

impl<'a> RawMap<'a> {
    fn quantity(&self, key: &str) -> Option<Cow<'a, str>> {
        self.entries.iter().rev().find(|(k, _)| &**k == key).map(|(_, raw)| quantity_text(*raw))
    }
}

impl<'a> Read<'a> for RawMap<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        let mut entries = Vec::new();
        cursor.object(|cursor, key| {
            entries.push((key, Raw::read(cursor)?));
            Ok(())
        })?;
        Ok(Self { entries })
    }
}

/// A quantity as text: the inside of a JSON string, or the digits of a JSON number; `null` is `0`, as the API server reads it.
fn quantity_text(raw: Raw<'_>) -> Cow<'_, str> {
    match raw.0 {
        "null" => Cow::Borrowed("0"),
        text if text.starts_with('"') => Cursor::read_all::<Str<'_>>(text).unwrap_or_default().0,
        text => Cow::Borrowed(text),
    }
}

fn entries<'a, V: Read<'a> + Default>(list: Option<Raw<'a>>) -> Result<List<WithText<'a, V>>, JsonError> {
    list.map_or_else(|| Ok(List::default()), |list| Cursor::read_all(list.0))
}
