//! Built containers, volumes and pull secrets against what the Pod already has.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::injection::bookkeeping::Bookkeeping;
use crate::injection::{Built, Fault, InjectionPlan, NewEntry};
use crate::json::WithText;
use crate::matching::Matched;
use crate::pod::{ListKind, SpecView};

/// What happens to one of the Pod's container lists: some entries are replaced in place, the rest goes before or after the
/// Pod's own.
#[derive(Debug, Default)]
pub struct ListPlan<'a> {
    /// Position in the Pod's list, and what stands there instead.
    pub replaced: Vec<(usize, Built<'a>)>,
    /// In front of the Pod's own, in order.
    pub before: Vec<Built<'a>>,
    /// Behind the Pod's own, in order.
    pub after: Vec<Built<'a>>,
}

impl<'a> ListPlan<'a> {
    /// Merges built containers into a list of the Pod. An entry of the same name is replaced in place, the last one if the
    /// Pod has several; of several built ones with that name the last wins.
    ///
    /// Rules: I-ORD-6, I-ORD-7, I-UPD-4.
    #[must_use]
    pub(crate) fn merge(spec: &SpecView<'a>, kind: ListKind, built: Vec<Built<'a>>) -> Self {
        let own = spec.list(kind).unwrap_or_default();
        let mut plan = Self::default();
        for container in built {
            let name = container.final_name();
            if let Some(position) = own.iter().rposition(|entry| entry.value.name() == name) {
                match plan.replaced.iter_mut().find(|(taken, _)| *taken == position) {
                    Some((_, earlier)) => *earlier = container,
                    None => plan.replaced.push((position, container)),
                }
            } else if container.fragment.goes_before {
                plan.before.push(container);
            } else {
                plan.after.push(container);
            }
        }
        plan
    }

    /// All containers that end up in the Pod.
    pub fn built(&self) -> impl Iterator<Item = &Built<'a>> {
        self.before.iter().chain(self.replaced.iter().map(|(_, built)| built)).chain(&self.after)
    }
}

/// Volumes to append: those that containers of the sets refer to, in order, unless the name is taken.
///
/// Rules: I-VOL-1, I-VOL-2, I-VOL-3.
pub(crate) fn new_volumes<'a>(spec: &'a SpecView<'a>, matched: &[Matched<'a>]) -> Vec<NewEntry<'a>> {
    let mut taken: BTreeSet<&str> =
        spec.volumes().unwrap_or_default().iter().map(|volume| volume.value.name()).collect();
    let mut volumes = Vec::new();
    for Matched { set, content } in matched {
        for name in content.fragments().flat_map(|fragment| &fragment.volume_refs) {
            if let Some(text) = content.volumes.get(name)
                && taken.insert(name)
            {
                volumes.push(NewEntry { name, text, set });
            }
        }
    }
    volumes
}

/// Pull secrets to append, and positions of repeated ones in the Pod's own list.
///
/// Rule: I-VOL-12.
pub(crate) fn new_pull_secrets<'a>(
    spec: &'a SpecView<'a>,
    matched: &[Matched<'a>],
) -> (Vec<NewEntry<'a>>, Vec<usize>) {
    let mut taken: BTreeSet<&str> = BTreeSet::default();
    let own = spec.pull_secrets().unwrap_or_default().iter().enumerate();
    let repeated =
        own.filter(|(_, secret)| !taken.insert(secret.value.name())).map(|(position, _)| position).collect();
    let mut secrets = Vec::new();
    for Matched { set, content } in matched {
        for (name, text) in &content.pull_secrets {
            if taken.insert(name) {
                secrets.push(NewEntry { name, text, set });
            }
        }
    }
    (secrets, repeated)
}

/// Warns of containers of the Pod's author that a sidecar of the same name replaces. Rule: I-DEF-13.
pub(crate) fn replaced_app_containers<'a>(
    plan: &InjectionPlan<'a>,
    spec: &SpecView<'a>,
    bookkeeping: &Bookkeeping<'_>,
) -> Result<Vec<String>, Fault<'a>> {
    let recorded = bookkeeping.recorded();
    let mut warnings = Vec::new();
    for (kind, list) in [(ListKind::Init, &plan.init_containers), (ListKind::Plain, &plan.containers)] {
        for (position, built) in &list.replaced {
            let Some(WithText { value: own, .. }) = spec.list(kind).and_then(|list| list.get(*position))
            else {
                continue;
            };
            let is_marked =
                own.is_marked_injected().map_err(|error| Fault::Undecodable(error.to_string()))?;
            if !is_marked && !recorded.contains(own.name()) {
                warnings.push(format!(
                    "SidecarSet \"{}\" replaces the Pod's own container \"{}\": they have the same name [I-DEF-13]",
                    built.set.name,
                    own.name()
                ));
            }
        }
    }
    Ok(warnings)
}

/// Warns of volumes that a sidecar refers to and that the Pod defines otherwise than the set. Rule: I-DEF-27.
pub(crate) fn differing_volumes(spec: &SpecView<'_>, matched: &[Matched<'_>]) -> Vec<String> {
    let own = spec.volumes().unwrap_or_default();
    let mut warnings = Vec::new();
    for Matched { set, content } in matched {
        let mut seen = BTreeSet::default();
        for name in content.fragments().flat_map(|fragment| &fragment.volume_refs) {
            let Some(position) = own.iter().position(|volume| volume.value.name() == &**name) else {
                continue;
            };
            let Some(text) = content.volumes.get(name).filter(|_| seen.insert(name)) else { continue };
            if own.get(position).is_some_and(|own| !is_same_json(own.text, text)) {
                warnings.push(format!(
                    "volume \"{name}\" of SidecarSet \"{}\" is not used: the Pod defines a volume of that name otherwise \
                     [I-DEF-27]",
                    set.name
                ));
            }
        }
    }
    warnings
}

/// Whether two texts are the same JSON but for spaces and the order of members.
pub(crate) fn is_same_json(a: &str, b: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    a == b || parse(a).is_some_and(|a| parse(b) == Some(a))
}
