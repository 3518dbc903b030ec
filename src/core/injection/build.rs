//! The build phase: every container of every set that applies, its holes filled for this Pod.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use crate::api::keys;
use crate::compile::CompiledSet;
use crate::content::Fragment;
use crate::injection::annotations::Annotations;
use crate::injection::bookkeeping::Bookkeeping;
use crate::injection::is_same_json;
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

/// Sources in the Pod that fragments draw from. What several fragments need is read once.
struct Sources<'p, 'a> {
    pod: &'a PodLook<'a>,
    spec: &'a SpecView<'a>,
    annotations: &'p Annotations<'a>,
    matched: &'p [Matched<'a>],
    earlier: Earlier<'p>,
    sharing: Option<Sharing<'a>>,
    targets: Option<Vec<TargetTexts<'p>>>,
}

/// A container whose resources may count: its name, limits and requests (cpu, memory).
type TargetTexts<'p> = (&'p str, [[Option<Cow<'p, str>>; 2]; 2]);

/// Env entries: text by name.
type NamedTexts<'a> = BTreeMap<Cow<'a, str>, &'a str>;

/// Containers of the Pod that were injected at an earlier admission.
pub(crate) struct Earlier<'p> {
    recorded: BTreeSet<&'p str>,
}

impl Earlier<'_> {
    /// Whether the container was: it carries the mark, and the Pod's hash annotation has its name, of a hot pair the name
    /// without suffix (I-HOT-6). Decisions: D-24, D-29.
    pub(crate) fn has(&self, container: &ContainerView<'_>) -> Result<bool, JsonError> {
        let name = container.name();
        let of_pair = [Role::HotWorking, Role::HotEmpty].into_iter();
        let of_pair = of_pair.filter_map(|role| name.strip_suffix(role.suffix()));
        let is_recorded = [name].into_iter().chain(of_pair).any(|name| self.recorded.contains(name));
        Ok(is_recorded && container.carries_mark()?)
    }
}

/// Builds the containers of all sets. Rules: I-INJ-3, I-INJ-4, I-ORD-2.
pub(crate) fn build<'a>(
    pod: &'a PodLook<'a>,
    spec: &'a SpecView<'a>,
    annotations: &Annotations<'a>,
    matched: &[Matched<'a>],
    bookkeeping: &Bookkeeping<'_>,
) -> Result<Output<'a>, Fault<'a>> {
    let earlier = Earlier { recorded: bookkeeping.recorded() };
    let mut sources = Sources { pod, spec, annotations, matched, earlier, sharing: None, targets: None };
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

impl<'p, 'a> Sources<'p, 'a> {
    /// Rules: I-ENV-1, I-ENV-3, I-VOL-6, I-VOL-8, I-VOL-10.
    fn fill(&mut self, fragment: &'a Fragment, warnings: &mut Vec<String>) -> Result<Filling<'a>, FillError> {
        let mut filling = Filling::default();
        if let Some(policy) = &fragment.resources_policy {
            filling.resources = self.resources(policy, fragment, warnings)?;
        }
        let mut env = NewEnv::new(fragment);
        if !fragment.transfer_env.is_empty() {
            let known = self.known_env(fragment)?;
            let is_known = |taken: &Taken<'_>| {
                let is_same = |own: &&str| is_same_json(own, taken.text);
                known.as_ref().is_none_or(|known| known.get(&taken.key).is_some_and(is_same))
            };
            for transfer in &fragment.transfer_env {
                let taken = transfer.take(self.pod, self.annotations, &self.earlier, is_known)?;
                taken.iter().for_each(|taken| env.add(taken));
            }
        }
        if fragment.shares_mounts || fragment.shares_devices {
            if self.sharing.is_none() {
                self.sharing = Some(Sharing::read(self.spec.containers(), &self.earlier)?);
            }
            if let Some(sharing) = &self.sharing {
                sharing.fill(fragment, &mut filling, |taken| env.add(taken));
            }
        }
        filling.env = env.added;
        Ok(filling)
    }

    /// The env by name of the container that the fragment becomes again; `None` if it was not injected earlier. Sidecars that
    /// came together did not see each other (I-INJ-4), so a later admission gives it nothing of theirs that it does not have
    /// already. Decision: D-24.
    fn known_env(&self, fragment: &Fragment) -> Result<Option<NamedTexts<'a>>, JsonError> {
        let Some(name) = fragment.final_names().next() else { return Ok(None) };
        let mut own = self.spec.list(fragment.list).unwrap_or_default().iter().rev();
        let Some(own) = own.find(|own| own.value.name() == name) else { return Ok(None) };
        // The mark has to do: plain init containers are recorded nowhere (I-ANN-4).
        if !own.value.carries_mark()? {
            return Ok(None);
        }
        let entries = own.value.env()?.0.into_iter();
        Ok(Some(entries.map(|entry| (entry.value.into_name(), entry.text)).collect()))
    }

    /// Rule: I-RES-5.
    fn resources(
        &mut self,
        policy: &ResourcesPolicy,
        fragment: &Fragment,
        warnings: &mut Vec<String>,
    ) -> Result<String, FillError> {
        if self.targets.is_none() {
            self.targets = Some(self.targets()?);
        }
        let texts = self.targets.as_deref().unwrap_or_default();
        let targets: Vec<Target<'_>> = texts
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

    /// The Pod's native sidecars and containers, without sidecars: of a set that applies now, recorded in the Pod's
    /// annotation, or marked.
    ///
    /// D-29 would count a marked container that no set recorded as an app container; the recorded answers do not.
    ///
    /// Rules: I-RES-1, I-RES-2, I-UPD-5, I-DEF-24. Decision: D-29.
    fn targets(&self) -> Result<Vec<TargetTexts<'p>>, JsonError> {
        let fragments = self.matched.iter().flat_map(|matched| matched.content.fragments());
        let of_sets: BTreeSet<Cow<'_, str>> = fragments
            .flat_map(|fragment| {
                let finals = fragment.final_names().map(Cow::Owned);
                finals.chain([Cow::Borrowed(&*fragment.name)])
            })
            .collect();
        let native = self.spec.init_containers().iter().filter(|item| item.value.is_native_sidecar());
        let mut targets = Vec::new();
        for WithText { value: container, .. } in native.chain(self.spec.containers()) {
            let name = container.name();
            let is_injected = of_sets.contains(name)
                || self.earlier.recorded.contains(name)
                || container.is_marked_injected()?;
            if !is_injected {
                targets.push((name, ["limits", "requests"].map(|part| container.amounts(part))));
            }
        }
        Ok(targets)
    }
}

fn borrowed<'t>([cpu, memory]: &'t [Option<Cow<'_, str>>; 2]) -> Amounts<'t> {
    Amounts { cpu: cpu.as_deref(), memory: memory.as_deref() }
}

/// `,"limits":{…},"requests":{…}`, empty parts left out. Rules: I-RES-13, I-RES-14.
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
    names: BTreeSet<Cow<'a, str>>,
}

impl<'a> NewEnv<'a> {
    fn new(fragment: &'a Fragment) -> Self {
        Self { fragment, added: Vec::new(), names: BTreeSet::default() }
    }

    fn add(&mut self, taken: &Taken<'a>) {
        let name = &*taken.key;
        let is_own = name == keys::ENV_IS_INJECTED || self.fragment.env.keys.iter().any(|key| **key == *name);
        if !is_own && self.names.insert(taken.key.clone()) {
            self.added.push(taken.clone());
        }
    }
}
