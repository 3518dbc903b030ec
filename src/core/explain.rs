//! An admission told to a person: every set with the reason why it applies or not, and what was added with where each part
//! came from. The same matching and the same plan as in [`crate::admission`]; only the telling is here.

mod text;

use serde::Serialize;

use crate::admission::{Denial, NamespaceUnknown, Request, Settled, scope, settle};
use crate::compile::CompiledSet;
use crate::context::Context;
use crate::injection::{Built, InjectionPlan, ListPlan, Taken};
use crate::matching::{NamespaceView, why_not};
use crate::patch;
use crate::pod::{ListKind, PodLook};
use crate::snapshot::Snapshot;

/// What an admission does and why.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// Who gets it: `Pod namespace/name`, or the workload whose template it is.
    pub pod: String,
    /// `unchanged`, `patched` or `denied`.
    pub verdict: &'static str,
    /// Why the Pod was denied, or left alone altogether.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Because>,
    /// Every set, sorted by name.
    pub sets: Vec<SetExplanation>,
    /// Annotations that are written, by key.
    pub annotations: Vec<(String, String)>,
    /// What the person who makes the Pod is warned of.
    pub warnings: Vec<String>,
}

/// A reason with the rule behind it.
#[derive(Debug, Clone, Serialize)]
pub struct Because {
    /// Id of the rule.
    pub rule: &'static str,
    /// For people.
    pub text: String,
}

/// What becomes of one set.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SetExplanation {
    /// Name of the set.
    pub set: String,
    /// `not matched`, `skipped`, `at fault`, `applied`, or only `matched` where the Pod is denied.
    pub outcome: &'static str,
    /// Why it does not apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Because>,
    /// The revision that the Pod receives: its name, and whether it is the live one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// Containers that it adds or replaces.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub containers: Vec<ContainerExplanation>,
    /// Volumes that it adds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<String>,
    /// Pull secrets that it adds.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<String>,
    /// Keys that its patchPodMetadata names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub patched_annotations: Vec<String>,
}

/// A revision of a set.
#[derive(Debug, Serialize)]
pub struct Revision {
    /// Name of the ControllerRevision; empty if the set has none yet.
    pub name: String,
    /// Whether it is the set as it is now, and not a restored one.
    pub live: bool,
}

/// A container that a set brings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerExplanation {
    /// Name in the Pod.
    pub name: String,
    /// `initContainers` or `containers`.
    pub list: &'static str,
    /// `before`, `after` or `replaces the entry of that name`.
    pub place: &'static str,
    /// What it takes over from the Pod.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub taken: Vec<TakenExplanation>,
    /// Limits and requests that its resourcesPolicy computed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resources: String,
}

/// Something that a sidecar takes over from an app container.
#[derive(Debug, Serialize)]
pub struct TakenExplanation {
    /// `env`, `volumeMount` or `volumeDevice`.
    pub what: &'static str,
    /// Name of the variable, or path.
    pub key: String,
    /// The container it comes from.
    pub from: String,
}

/// Explains one admission.
///
/// # Errors
///
/// As [`crate::admission::admit`].
pub fn explain(
    request: &Request<'_>,
    pod: &PodLook<'_>,
    snapshot: &Snapshot,
    context: &Context<'_>,
) -> Result<Explanation, NamespaceUnknown> {
    let mut explanation = Explanation {
        pod: String::new(),
        verdict: "unchanged",
        reason: None,
        sets: Vec::new(),
        annotations: Vec::new(),
        warnings: Vec::new(),
    };
    let subject = match scope(request, pod) {
        Ok(subject) => subject,
        Err(reason) => {
            explanation.pod = format!("Pod {}/{}", pod.namespace(), pod.display_name());
            explanation.reason = Some(reason);
            return Ok(explanation);
        }
    };
    explanation.pod = format!("Pod {}/{}", subject.namespace, pod.display_name());
    let view = NamespaceView::new(subject.namespace, snapshot, context);
    for set in snapshot.sets() {
        let reason = why_not(set, &subject, &view)?;
        explanation.sets.push(SetExplanation::new(set, reason));
    }
    let settled = settle(&subject, snapshot, context)?;
    explanation.settle(&settled, pod);
    Ok(explanation)
}

impl Explanation {
    fn settle(&mut self, settled: &Settled<'_>, pod: &PodLook<'_>) {
        self.warnings.clone_from(&settled.matches.warnings);
        for skipped in &settled.matches.skipped {
            if let Some(set) = self.set(&skipped.set) {
                set.outcome = "skipped";
                set.reason = Some(Because { rule: skipped.rule, text: skipped.reason.clone() });
            }
        }
        match &settled.plan {
            Err(denial) => self.deny(denial, settled.at_fault.as_deref()),
            Ok(None) => {}
            Ok(Some(plan)) => {
                self.warnings.extend_from_slice(&plan.warnings);
                if patch::render(plan, pod).is_some() {
                    self.verdict = "patched";
                }
                self.applied(settled, plan);
            }
        }
    }

    fn deny(&mut self, denial: &Denial, at_fault: Option<&str>) {
        self.verdict = "denied";
        let because = Because { rule: denial.rule, text: denial.message.clone() };
        if let Some(set) = at_fault.and_then(|name| self.set(name)) {
            set.outcome = "at fault";
            set.reason = Some(because.clone());
        }
        self.reason = Some(because);
    }

    fn applied(&mut self, settled: &Settled<'_>, plan: &InjectionPlan<'_>) {
        for matched in &settled.matches.sets {
            let Some(set) = self.set(&matched.set.name) else { continue };
            set.outcome = "applied";
            let live = std::ptr::eq(matched.content, &raw const *matched.set.live);
            set.revision = Some(Revision { name: matched.content.revision.to_string(), live });
            let keys = matched.content.metadata_patches.iter().flat_map(|patch| patch.keys());
            set.patched_annotations = keys.map(ToOwned::to_owned).collect();
        }
        for (kind, list) in [(ListKind::Init, &plan.init_containers), (ListKind::Plain, &plan.containers)] {
            for (place, built) in placed(list) {
                if let Some(set) = self.set(&built.set.name) {
                    set.containers.push(ContainerExplanation::new(kind, place, built));
                }
            }
        }
        for volume in &plan.volumes {
            if let Some(set) = self.set(&volume.set.name) {
                set.volumes.push(volume.name.to_owned());
            }
        }
        for secret in &plan.pull_secrets {
            if let Some(set) = self.set(&secret.set.name) {
                set.image_pull_secrets.push(secret.name.to_owned());
            }
        }
        self.annotations =
            plan.annotations.changes().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    }

    fn set(&mut self, name: &str) -> Option<&mut SetExplanation> {
        self.sets.iter_mut().find(|set| set.set == name)
    }
}

fn placed<'p, 'a>(list: &'p ListPlan<'a>) -> impl Iterator<Item = (&'static str, &'p Built<'a>)> {
    let ListPlan { replaced, before, after } = list;
    let before = before.iter().map(|built| ("before", built));
    let replaced = replaced.iter().map(|(_, built)| ("replaces the entry of that name", built));
    before.chain(replaced).chain(after.iter().map(|built| ("after", built)))
}

impl SetExplanation {
    fn new(set: &CompiledSet, reason: Option<Because>) -> Self {
        Self {
            set: set.name.to_string(),
            outcome: if reason.is_some() { "not matched" } else { "matched" },
            reason,
            revision: None,
            containers: Vec::new(),
            volumes: Vec::new(),
            image_pull_secrets: Vec::new(),
            patched_annotations: Vec::new(),
        }
    }
}

impl ContainerExplanation {
    fn new(kind: ListKind, place: &'static str, built: &Built<'_>) -> Self {
        let mut explanation = Self {
            name: built.final_name().into_owned(),
            list: kind.member(),
            place,
            taken: Vec::new(),
            resources: String::new(),
        };
        if let Some(filling) = &built.filling {
            let lists =
                [("env", &filling.env), ("volumeMount", &filling.mounts), ("volumeDevice", &filling.devices)];
            for (what, list) in lists {
                let told = |taken: &Taken<'_>| TakenExplanation {
                    what,
                    key: taken.key.to_string(),
                    from: taken.from.to_string(),
                };
                explanation.taken.extend(list.iter().map(told));
            }
            explanation.resources = filling.resources.trim_start_matches(',').to_owned();
        }
        explanation
    }
}
