//! Clashes that the API server would refuse with words that help nobody: found before, and told with both owners.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::injection::{Built, Fault, InjectionPlan};
use crate::pod::{ListKind, SpecView};

/// Denies a plan whose Pod could not be created.
///
/// Rules: I-ORD-8, I-DEF-14, I-DEF-43. Decision: D-27.
pub(crate) fn check<'a>(spec: &SpecView<'a>, plan: &InjectionPlan<'a>) -> Result<(), Fault<'a>> {
    check_names(spec, plan)?;
    check_volumes(spec, plan)
}

/// No two containers of a Pod share a name, init containers included.
fn check_names<'a>(spec: &SpecView<'a>, plan: &InjectionPlan<'a>) -> Result<(), Fault<'a>> {
    let mut owners: BTreeMap<Cow<'a, str>, &Built<'a>> = BTreeMap::default();
    for (list, kind) in [(&plan.init_containers, ListKind::Init), (&plan.containers, ListKind::Plain)] {
        let other = match kind {
            ListKind::Init => ListKind::Plain,
            ListKind::Plain => ListKind::Init,
        };
        for built in list.built() {
            let name = built.final_name();
            // In the same list the Pod's entry was replaced; in the other one it stays.
            if spec.list(other).unwrap_or_default().iter().any(|own| own.value.name() == name) {
                return Err(Fault::Set(
                    built.set,
                    format!(
                        "container \"{name}\" clashes with an entry of the Pod's {} of the same name; rename one of them",
                        other.member()
                    ),
                    "D-27",
                ));
            }
            if let Some(earlier) = owners.insert(name.clone(), built) {
                return Err(Fault::Set(
                    built.set,
                    format!(
                        "container \"{name}\" clashes with a container of the same name of SidecarSet \"{}\", which \
                         matches the Pod too; rename one of them or narrow a selector",
                        earlier.set.name
                    ),
                    "D-27",
                ));
            }
        }
    }
    Ok(())
}

/// Every volume that a sidecar's own mounts and devices refer to exists.
fn check_volumes<'a>(spec: &SpecView<'a>, plan: &InjectionPlan<'a>) -> Result<(), Fault<'a>> {
    let own = spec.volumes().unwrap_or_default().iter().map(|volume| volume.value.name());
    let defined: BTreeSet<&str> = own.chain(plan.volumes.iter().map(|volume| volume.name)).collect();
    for built in plan.init_containers.built().chain(plan.containers.built()) {
        if let Some(missing) = built.fragment.volume_refs.iter().find(|name| !defined.contains(&***name)) {
            return Err(Fault::Set(
                built.set,
                format!(
                    "container \"{}\" refers to volume \"{missing}\", which neither the SidecarSet nor the Pod defines; \
                     add it to spec.volumes of the SidecarSet",
                    built.fragment.name
                ),
                "D-27",
            ));
        }
    }
    Ok(())
}
