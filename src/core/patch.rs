//! InjectionPlan → JSON Patch (RFC 6902), spliced from fragments into one buffer; never a diff (D-5).
//!
//! Replacements come first, at positions of the Pod as it arrived; then insertions, so that members that we do not know stay
//! with their containers.
//!
//! Rules: I-RESP-3, I-RESP-8, I-RESP-9, I-RESP-10, I-DEF-1.

use std::fmt::{Display, Write};

use crate::hot_upgrade;
use crate::injection::{Built, InjectionPlan, ListPlan, NewEntry, Role, Taken, is_same_json};
use crate::json::{push_pointer_token, push_string};
use crate::pod::{ListKind, PodLook, SpecView};

/// Renders the plan for a Pod; `None` if nothing changes (I-RESP-2).
#[must_use]
pub fn render(plan: &InjectionPlan<'_>, pod: &PodLook<'_>) -> Option<String> {
    let spec = pod.spec();
    let InjectionPlan {
        init_containers,
        containers,
        volumes,
        pull_secrets,
        repeated_pull_secrets,
        annotations: _,
        warnings: _,
    } = plan;
    let mut patch = Patch { out: String::with_capacity(8 * 1024) };
    patch.annotations(plan, pod);
    let adds_to_spec = !volumes.is_empty()
        || !pull_secrets.is_empty()
        || [init_containers, containers].iter().any(|list| list.built().next().is_some());
    if adds_to_spec && !pod.has_spec() {
        patch.operation("add", "/spec", "{}");
    }
    patch.containers(ListKind::Init, init_containers, spec);
    patch.containers(ListKind::Plain, containers, spec);
    patch.append("/spec/volumes", spec.volumes().is_some(), volumes);
    patch.pull_secrets(spec, repeated_pull_secrets, pull_secrets);
    patch.finish()
}

struct Patch {
    out: String,
}

impl Patch {
    /// Starts an operation; `path` needs no escapes.
    fn start(&mut self, operation: &str, path: impl Display) {
        self.out.push(if self.out.is_empty() { '[' } else { ',' });
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{{\"op\":\"{operation}\",\"path\":\"{path}\"");
    }

    fn operation(&mut self, operation: &str, path: impl Display, value: &str) {
        self.start(operation, path);
        self.value(|out| out.push_str(value));
    }

    /// Writes the value of the operation that was started, and ends it.
    fn value(&mut self, write: impl FnOnce(&mut String)) {
        self.out.push_str(",\"value\":");
        write(&mut self.out);
        self.out.push('}');
    }

    fn finish(mut self) -> Option<String> {
        if self.out.is_empty() {
            return None;
        }
        self.out.push(']');
        Some(self.out)
    }

    fn annotations(&mut self, plan: &InjectionPlan<'_>, pod: &PodLook<'_>) {
        if plan.annotations.pod_has_some() {
            for (key, value) in plan.annotations.changes() {
                self.start("add", "/metadata/annotations/");
                self.out.pop();
                push_pointer_token(&mut self.out, key);
                self.out.push('"');
                self.value(|out| push_string(out, value));
            }
            return;
        }
        if plan.annotations.changes().next().is_none() {
            return;
        }
        if !pod.has_metadata() {
            self.operation("add", "/metadata", "{}");
        }
        self.start("add", "/metadata/annotations");
        self.value(|out| {
            out.push('{');
            for (index, (key, value)) in plan.annotations.changes().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                push_string(out, key);
                out.push(':');
                push_string(out, value);
            }
            out.push('}');
        });
    }

    /// Rules: I-ORD-6, I-RESP-8, I-RESP-9.
    fn containers(&mut self, kind: ListKind, list: &ListPlan<'_>, spec: &SpecView<'_>) {
        let ListPlan { replaced, before, after } = list;
        let member = kind.member();
        if !replaced.is_empty() {
            // Only a Pod that was admitted before comes here; an entry that would not change is left alone (D-24).
            let own = spec.list(kind).unwrap_or_default();
            for (position, built) in replaced {
                let mut text = String::new();
                push_container(&mut text, built);
                if own.get(*position).is_none_or(|own| !is_same_json(own.text, &text)) {
                    self.operation("replace", format_args!("/spec/{member}/{position}"), &text);
                }
            }
        }
        if before.is_empty() && after.is_empty() {
            return;
        }
        if spec.list(kind).is_none() {
            self.start("add", format_args!("/spec/{member}"));
            self.value(|out| push_list(out, before.iter().chain(after), push_container));
            return;
        }
        for (position, built) in before.iter().enumerate() {
            self.start("add", format_args!("/spec/{member}/{position}"));
            self.value(|out| push_container(out, built));
        }
        for built in after {
            self.start("add", format_args!("/spec/{member}/-"));
            self.value(|out| push_container(out, built));
        }
    }

    /// Rule: I-VOL-12.
    fn pull_secrets(&mut self, spec: &SpecView<'_>, repeated: &[usize], new: &[NewEntry<'_>]) {
        const PATH: &str = "/spec/imagePullSecrets";
        if repeated.is_empty() {
            return self.append(PATH, spec.pull_secrets().is_some(), new);
        }
        // One operation, whatever their number: many removals would make a patch larger than the Pod.
        let own = spec.pull_secrets().unwrap_or_default().iter().enumerate();
        let kept = own.filter(|(position, _)| repeated.binary_search(position).is_err());
        let texts = kept.map(|(_, secret)| secret.text).chain(new.iter().map(|secret| secret.text));
        self.start("replace", PATH);
        self.value(|out| push_list(out, texts, |out, text| out.push_str(text)));
    }

    fn append(&mut self, path: &str, is_present: bool, entries: &[NewEntry<'_>]) {
        if entries.is_empty() {
            return;
        }
        if is_present {
            for entry in entries {
                self.operation("add", format_args!("{path}/-"), entry.text);
            }
        } else {
            self.start("add", path);
            self.value(|out| push_list(out, entries.iter(), |out, entry| out.push_str(entry.text)));
        }
    }
}

fn push_list<T>(out: &mut String, items: impl Iterator<Item = T>, push: impl Fn(&mut String, T)) {
    out.push('[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

/// Writes a container: the fragment's members, its holes filled.
///
/// Rules: I-INJ-7, I-ENV-1, I-ENV-2, I-ENV-4, I-ENV-5, I-HOT-2.
fn push_container(out: &mut String, built: &Built<'_>) {
    let fragment = built.fragment;
    let name = built.final_name();
    out.push_str("{\"name\":");
    push_string(out, &name);
    let image = match (built.role, &fragment.hot_empty_image) {
        (Role::HotEmpty, Some(empty)) => empty,
        _ => &fragment.image,
    };
    if !image.is_empty() {
        out.push_str(",\"image\":");
        out.push_str(image);
    }
    out.push_str(&fragment.members);
    out.push_str(",\"env\":[");
    out.push_str(&fragment.env.text);
    if !fragment.env.text.is_empty() {
        out.push(',');
    }
    out.push_str(IS_INJECTED_ENTRY);
    let filling = built.filling.as_deref();
    for entry in filling.map(|filling| filling.env.as_slice()).unwrap_or_default() {
        out.push(',');
        out.push_str(entry.text);
    }
    if built.role != Role::Single {
        hot_upgrade::push_version_env(out, &name);
    }
    out.push(']');
    push_extended(
        out,
        "volumeMounts",
        &fragment.mounts.text,
        filling.map(|filling| filling.mounts.as_slice()),
    );
    push_extended(
        out,
        "volumeDevices",
        &fragment.devices.text,
        filling.map(|filling| filling.devices.as_slice()),
    );
    let computed = filling.map(|filling| filling.resources.as_str()).unwrap_or_default();
    if !fragment.resources.is_empty() || !computed.is_empty() {
        out.push_str(",\"resources\":{");
        // Members start with a comma each, of which the first goes.
        let start = out.len();
        out.push_str(&fragment.resources);
        out.push_str(computed);
        out.remove(start);
        out.push('}');
    }
    out.push('}');
}

/// The env entry that marks an injected container (I-CONST-8).
const IS_INJECTED_ENTRY: &str = r#"{"name":"IS_INJECTED","value":"true"}"#;

fn push_extended(out: &mut String, member: &str, own: &str, shared: Option<&[Taken<'_>]>) {
    let shared = shared.unwrap_or_default();
    if own.is_empty() && shared.is_empty() {
        return;
    }
    out.push_str(",\"");
    out.push_str(member);
    out.push_str("\":[");
    out.push_str(own);
    for (index, entry) in shared.iter().enumerate() {
        if index > 0 || !own.is_empty() {
            out.push(',');
        }
        out.push_str(entry.text);
    }
    out.push(']');
}
