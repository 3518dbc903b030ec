//! The build phase: every container of every set that applies, its holes filled for this Pod.

use std::borrow::Cow;
use std::rc::Rc;

use rustc_hash::FxHashSet;

use crate::api::keys;
use crate::compile::CompiledSet;
use crate::content::Fragment;
use crate::injection::annotations::Annotations;
use crate::injection::bookkeeping::Bookkeeping;
use crate::injection::sharing::Sharing;
use crate::injection::{Built, Fault, Filling, Role, Taken};
use crate::json::{JsonError, WithText};
use crate::matching::Matched;
use crate::pod::{ContainerView, ListKind, PodLook, SpecView};
use crate::resources::{Amounts, Resources, ResourcesPolicy, Target};

/// What the build phase made, in build order.
#[derive(Debug, Default)]
pub(crate) struct Output<'a> {
    pub(crate) init_containers: Vec<Built<'a>>,
    pub(crate) containers: Vec<Built<'a>>,
    pub(crate) warnings: Vec<String>,
}

/// Sources in the Pod that fragments draw from.
struct Sources<'p, 'a> {
    pod: &'p PodLook<'a>,
    spec: &'a SpecView<'a>,
    annotations: &'p Annotations<'a>,
    matched: &'p [Matched<'a>],
    bookkeeping: &'p Bookkeeping<'p>,
    sharing: Option<Sharing<'a>>,
}

/// Builds the containers of all sets. Rules: I-INJ-3, I-INJ-4, I-ORD-2.
pub(crate) fn build<'a>(
    pod: &'a PodLook<'a>,
    spec: &'a SpecView<'a>,
    annotations: &Annotations<'a>,
    matched: &[Matched<'a>],
    bookkeeping: &Bookkeeping<'_>,
) -> Result<Output<'a>, Fault<'a>> {
    let mut sources = Sources { pod, spec, annotations, matched, bookkeeping, sharing: None };
    let mut output = Output::default();
    for Matched { set, content } in matched {
        for fragment in content.fragments() {
            let filling = if fragment.is_fixed() {
                None
            } else {
                let filling = sources.fill(fragment, &mut output.warnings);
                Some(Rc::new(filling.map_err(|error| error.of_set(set, fragment))?))
            };
            let list = match fragment.list {
                ListKind::Init => &mut output.init_containers,
                ListKind::Plain => &mut output.containers,
            };
            let is_hot = fragment.hot_empty_image.is_some();
            let roles: &[Role] = if is_hot { &[Role::HotWorking, Role::HotEmpty] } else { &[Role::Single] };
            list.extend(roles.iter().map(|&role| Built { set, fragment, role, filling: filling.clone() }));
        }
    }
    Ok(output)
}

/// Why a hole could not be filled.
enum FillError {
    /// The Pod cannot be read (I-CALL-11).
    Pod(JsonError),
    /// The set's resourcesPolicy cannot be evaluated (I-RES-15).
    Resources(String),
}

impl From<JsonError> for FillError {
    fn from(error: JsonError) -> Self {
        Self::Pod(error)
    }
}

impl FillError {
    fn of_set<'a>(self, set: &'a CompiledSet, fragment: &Fragment) -> Fault<'a> {
        match self {
            Self::Pod(error) => Fault::Undecodable(error.to_string()),
            Self::Resources(detail) => {
                Fault::Set(set, format!("container \"{}\": {detail}", fragment.name), "I-RES-15")
            }
        }
    }
}

impl<'a> Sources<'_, 'a> {
    /// Rules: I-ENV-1, I-ENV-3, I-VOL-6, I-VOL-8, I-VOL-10.
    fn fill(&mut self, fragment: &'a Fragment, warnings: &mut Vec<String>) -> Result<Filling<'a>, FillError> {
        let mut filling = Filling::default();
        if let Some(policy) = &fragment.resources_policy {
            filling.resources = self.resources(policy, fragment, warnings)?;
        }
        let mut env = NewEnv::new(fragment);
        for transfer in &fragment.transfer_env {
            for entry in transfer.take(self.pod, self.annotations, self.spec.containers())? {
                env.add(&entry);
            }
        }
        if fragment.shares_mounts || fragment.shares_devices {
            if self.sharing.is_none() {
                self.sharing = Some(Sharing::read(self.spec.containers())?);
            }
            if let Some(sharing) = &self.sharing {
                sharing.fill(fragment, &mut filling, |entry| env.add(entry));
            }
        }
        filling.env = env.added;
        Ok(filling)
    }

    /// Rules: I-RES-1, I-RES-2, I-RES-5, I-DEF-24. Decision: D-29.
    fn resources(
        &self,
        policy: &ResourcesPolicy,
        fragment: &Fragment,
        warnings: &mut Vec<String>,
    ) -> Result<String, FillError> {
        let native = self.spec.init_containers().iter().filter(|item| item.value.is_native_sidecar());
        let mut amounts = Vec::new();
        for WithText { value: container, .. } in native.chain(self.spec.containers()) {
            if !self.is_injected(container)? {
                amounts.push((container.name(), ["limits", "requests"].map(|part| container.amounts(part))));
            }
        }
        let targets: Vec<Target<'_>> = amounts
            .iter()
            .map(|(name, [limits, requests])| Target {
                name,
                limits: borrowed(limits),
                requests: borrowed(requests),
            })
            .collect();
        let resolved = policy.resolve(&targets).map_err(|error| FillError::Resources(error.to_string()))?;
        warnings.extend(resolved.notes.iter().map(|note| format!("container \"{}\": {note}", fragment.name)));
        Ok(resources_members(&resolved))
    }

    /// Whether a container of the Pod is a sidecar: of a set that applies now, recorded in the Pod's annotation, or marked.
    ///
    /// D-29 would count a marked container that no set recorded as an app container; the recorded answers do not.
    fn is_injected(&self, container: &ContainerView<'_>) -> Result<bool, JsonError> {
        let name = container.name();
        let is_name_of =
            |fragment: &Fragment| *fragment.name == *name || fragment.final_names().any(|n| n == name);
        let is_of_set = || self.matched.iter().any(|matched| matched.content.fragments().any(is_name_of));
        Ok(self.bookkeeping.has_recorded(name) || is_of_set() || container.is_marked_injected()?)
    }
}

fn borrowed<'t>([cpu, memory]: &'t [Option<Cow<'_, str>>; 2]) -> Amounts<'t> {
    Amounts { cpu: cpu.as_deref(), memory: memory.as_deref() }
}

/// `,"limits":{…},"requests":{…}`, empty parts left out. Rule: I-RES-13.
fn resources_members(resources: &Resources) -> String {
    let Resources { cpu_limit, memory_limit, cpu_request, memory_request, notes: _ } = resources;
    let mut out = String::new();
    for (part, cpu, memory) in
        [("limits", cpu_limit, memory_limit), ("requests", cpu_request, memory_request)]
    {
        let amounts = [("cpu", cpu), ("memory", memory)];
        let set: Vec<String> = amounts
            .into_iter()
            .filter_map(|(resource, amount)| {
                amount.as_ref().map(|amount| format!("\"{resource}\":\"{amount}\""))
            })
            .collect();
        if !set.is_empty() {
            out.push_str(&format!(",\"{part}\":{{{}}}", set.join(",")));
        }
    }
    out
}

/// Collects env entries to append: the first of a name wins, the container's own and `IS_INJECTED` before all. Rule: I-ENV-3.
struct NewEnv<'a> {
    fragment: &'a Fragment,
    added: Vec<Taken<'a>>,
    names: FxHashSet<Cow<'a, str>>,
}

impl<'a> NewEnv<'a> {
    fn new(fragment: &'a Fragment) -> Self {
        Self { fragment, added: Vec::new(), names: FxHashSet::default() }
    }

    fn add(&mut self, taken: &Taken<'a>) {
        let name = &*taken.key;
        let is_own = name == keys::ENV_IS_INJECTED || self.fragment.env.keys.iter().any(|key| **key == *name);
        if !is_own && self.names.insert(taken.key.clone()) {
            self.added.push(taken.clone());
        }
    }
}
