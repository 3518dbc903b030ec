//! What a Pod gets: matched sets + the Pod → [`InjectionPlan`], a plain value that the renderer, `inject`, `explain` and tests
//! read.
//!
//! During the whole build the Pod's `spec` is the original one: what earlier sets add is no source for later ones (I-INJ-4).
//!
//! Maps whose keys come from the Pod are trees: names made to collide in a hash map without a secret seed would cost time.

pub mod annotations;
pub mod bookkeeping;
mod build;
mod clashes;
pub mod env;
pub mod hash_annotation;
mod json_tree;
mod lists;
pub mod merge_patch;
pub mod metadata;
mod sharing;

use std::borrow::Cow;
use std::rc::Rc;

use crate::compile::CompiledSet;
use crate::content::Fragment;
use crate::context::Context;
use crate::hot_upgrade;
use crate::injection::annotations::Annotations;
use crate::injection::bookkeeping::Bookkeeping;
use crate::json::WithText;
use crate::matching::{Matched, Subject};
use crate::pod::{ContainerView, EnvView, ListKind};

pub use lists::ListPlan;
pub(crate) use lists::is_same_json;

/// All that is done to a Pod.
#[derive(Debug)]
pub struct InjectionPlan<'a> {
    /// Changes of `spec.initContainers`.
    pub init_containers: ListPlan<'a>,
    /// Changes of `spec.containers`.
    pub containers: ListPlan<'a>,
    /// Volumes to append (I-VOL-3).
    pub volumes: Vec<NewEntry<'a>>,
    /// Pull secrets to append (I-VOL-12).
    pub pull_secrets: Vec<NewEntry<'a>>,
    /// Positions of repeated entries in the Pod's own pull secrets, ascending; they are removed (I-VOL-12).
    pub repeated_pull_secrets: Vec<usize>,
    /// The annotations as they will be.
    pub annotations: Annotations<'a>,
    /// For the person who made the Pod.
    pub warnings: Vec<String>,
}

/// An entry that a set adds to a list of the Pod.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry<'a> {
    /// Its name.
    pub name: &'a str,
    /// The entry as JSON text.
    pub text: &'a str,
    /// The set that it comes from.
    pub set: &'a CompiledSet,
}

/// A container to inject: a fragment of a set, and what this Pod puts into its holes.
#[derive(Debug, Clone)]
pub struct Built<'a> {
    /// The set that it comes from.
    pub set: &'a CompiledSet,
    /// The container in pieces.
    pub fragment: &'a Fragment,
    /// Plain, or its place in a hot pair.
    pub role: Role,
    /// What this Pod puts into the holes; `None` if nothing.
    pub filling: Option<Rc<Filling<'a>>>,
}

/// Whether a built container stands alone or is one of a hot pair. Rules: I-HOT-2, I-CONST-11.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It stands alone, under its own name.
    Single,
    /// `<name>-1`, which works at first.
    HotWorking,
    /// `<name>-2`, which is empty at first.
    HotEmpty,
}

impl Role {
    /// What is appended to the container's name.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::Single => "",
            Self::HotWorking => "-1",
            Self::HotEmpty => "-2",
        }
    }
}

impl<'a> Built<'a> {
    /// The name that the container has in the Pod.
    #[must_use]
    pub fn final_name(&self) -> Cow<'a, str> {
        match self.role {
            Role::Single => Cow::Borrowed(&*self.fragment.name),
            role => Cow::Owned(format!("{}{}", self.fragment.name, role.suffix())),
        }
    }
}

/// What a Pod puts into the holes of a fragment.
#[derive(Debug, Default)]
pub struct Filling<'a> {
    /// Env entries taken over from app containers (I-ENV-6…9, I-VOL-8).
    pub env: Vec<Taken<'a>>,
    /// Shared mounts (I-VOL-5).
    pub mounts: Vec<Taken<'a>>,
    /// Shared devices (I-VOL-9).
    pub devices: Vec<Taken<'a>>,
    /// Computed limits and requests (I-RES-13), as `,"limits":{…},"requests":{…}`; empty if there are none.
    pub resources: String,
}

/// An entry of an app container that a sidecar takes over.
#[derive(Debug, Clone)]
pub struct Taken<'a> {
    /// The entry as it arrived, JSON text.
    pub text: &'a str,
    /// Name of the variable, or path of the mount or device.
    pub key: Cow<'a, str>,
    /// Name of the app container that it comes from.
    pub from: Cow<'a, str>,
}

impl<'a> Taken<'a> {
    /// An env entry of a container.
    pub(crate) fn env(container: &'a ContainerView<'a>, entry: WithText<'a, EnvView<'a>>) -> Self {
        Self { text: entry.text, key: entry.value.into_name(), from: container.name().into() }
    }
}

/// Why no plan could be made.
#[derive(Debug)]
pub enum Fault<'a> {
    /// The Pod cannot be decoded: denied with 400 (I-CALL-11).
    Undecodable(String),
    /// The Pod's own annotations are broken: denied with 500 (I-ANN-1).
    Pod(String, &'static str),
    /// A set is at fault (D-22.2). The text names what is in the set, not the set.
    Set(&'a CompiledSet, String, &'static str),
}

/// Makes the plan for a Pod and the sets that apply to it.
///
/// # Errors
///
/// Whose fault it is, with a text for people.
///
/// Rules: I-INJ-1, I-INJ-2, I-INJ-3, I-INJ-5, I-INJ-6, I-INJ-8, I-INJ-9, I-META-9, I-META-10.
pub fn plan<'a>(
    subject: &Subject<'a, 'a>,
    matched: &[Matched<'a>],
    context: &Context<'_>,
) -> Result<InjectionPlan<'a>, Fault<'a>> {
    let spec = subject.pod.spec();
    let mut annotations = Annotations::new(subject.pod.annotations());
    for Matched { set, content } in matched {
        for patch in &content.metadata_patches {
            patch.apply(&mut annotations).map_err(|error| Fault::Set(set, error.to_string(), "I-META-8"))?;
        }
    }
    let bookkeeping = Bookkeeping::read(&annotations, subject)?;
    let built = build::build(subject.pod, spec, &annotations, matched, &bookkeeping)?;
    let mut plan = InjectionPlan {
        init_containers: ListPlan::default(),
        containers: ListPlan::default(),
        volumes: Vec::new(),
        pull_secrets: Vec::new(),
        repeated_pull_secrets: Vec::new(),
        annotations: Annotations::new(None),
        warnings: built.warnings,
    };
    // Rule: I-INJ-6. Where nothing was built only what patchPodMetadata did is kept.
    if !built.init_containers.is_empty() || !built.containers.is_empty() {
        plan.init_containers = ListPlan::merge(spec, ListKind::Init, sorted_by_name(built.init_containers));
        let containers = if context.features.sort_sidecar_containers {
            sorted_by_name(built.containers)
        } else {
            built.containers
        };
        plan.containers = ListPlan::merge(spec, ListKind::Plain, containers);
        plan.volumes = lists::new_volumes(spec, matched);
        (plan.pull_secrets, plan.repeated_pull_secrets) = lists::new_pull_secrets(spec, matched);
        clashes::check(spec, &plan)?;
        plan.warnings.extend(lists::replaced_app_containers(&plan, spec, &bookkeeping)?);
        plan.warnings.extend(lists::differing_volumes(spec, matched));
        plan.warnings.extend_from_slice(&bookkeeping.warnings);
        let values = bookkeeping.values(&annotations, matched, context);
        for (key, value) in values {
            annotations.set(key, value);
        }
        hot_upgrade::annotate(&mut annotations, matched);
    }
    plan.annotations = annotations;
    Ok(plan)
}

/// Rules: I-ORD-3, I-ORD-4, I-ORD-5: stable, by the final name.
fn sorted_by_name(mut built: Vec<Built<'_>>) -> Vec<Built<'_>> {
    built.sort_by(|a, b| a.final_name().cmp(&b.final_name()));
    built
}
