//! The annotations that tell which sets a Pod carries: read when the Pod came with them, written when something was built.

use std::collections::BTreeSet;

use crate::api::keys;
use crate::context::Context;
use crate::injection::Fault;
use crate::injection::annotations::Annotations;
use crate::injection::hash_annotation::{self, Entries, Entry};
use crate::matching::{Matched, Subject};

/// How many dropped entries are told.
const TOLD: usize = 4;

/// What the Pod's two hash annotations say. Rule: I-ANN-1.
#[derive(Debug, Default)]
pub(crate) struct Bookkeeping<'a> {
    hash: Entries<'a>,
    hash_without_image: Entries<'a>,
    /// What was dropped, for the person who made the Pod.
    pub(crate) warnings: Vec<String>,
}

impl<'a> Bookkeeping<'a> {
    /// Reads both annotations, after patchPodMetadata.
    ///
    /// # Errors
    ///
    /// A value that is no JSON object: the Pod's fault.
    ///
    /// Rules: I-ANN-1, I-DEF-8, I-DEF-9.
    pub(crate) fn read<'f>(
        annotations: &'a Annotations<'_>,
        subject: &Subject<'_, '_>,
    ) -> Result<Self, Fault<'f>> {
        let mut warnings = Vec::new();
        let mut read = |key: &str| -> Result<Entries<'a>, Fault<'f>> {
            let text = annotations.get(key).unwrap_or_default();
            let parsed = hash_annotation::parse(text).map_err(|error| {
                let Subject { pod, namespace, .. } = subject;
                let message = format!(
                    "pod({namespace}/{}) invalid annotations[{key}] value {text}, unmarshal failed: {error}; remove the \
                     annotation [I-ANN-1]",
                    pod.display_name()
                );
                Fault::Pod(message, "I-ANN-1")
            })?;
            let told = parsed.dropped.into_iter().take(TOLD);
            warnings.extend(told.map(|detail| format!("annotation {key}: {detail} [I-DEF-9]")));
            Ok(parsed.entries)
        };
        let hash = read(keys::HASH)?;
        let hash_without_image = read(keys::HASH_WITHOUT_IMAGE)?;
        Ok(Self { hash, hash_without_image, warnings })
    }

    /// Names of the containers that were injected at an earlier admission. Decision: D-29.
    pub(crate) fn recorded(&self) -> BTreeSet<&str> {
        let lists = self.hash.values().filter_map(|entry| entry.sidecar_list.as_deref());
        lists.flatten().map(String::as_str).collect()
    }

    /// The annotations to write: the entries of all sets that built something, and the list of all sets that apply.
    ///
    /// Rules: I-ANN-2, I-ANN-3, I-ANN-5, I-ANN-6, I-ANN-7, I-ANN-8, I-UPD-7, I-DEF-34.
    pub(crate) fn values<'m: 'a>(
        mut self,
        annotations: &Annotations<'_>,
        matched: &'m [Matched<'m>],
        context: &Context<'_>,
    ) -> [(&'static str, String); 3] {
        for Matched { set, content } in
            matched.iter().filter(|matched| matched.content.fragments().next().is_some())
        {
            let entry = |hash: &'m str, revision: &'m str| Entry {
                update_timestamp: Some(context.now_unix),
                hash: hash.into(),
                set_name: (&*set.name).into(),
                sidecar_list: Some(content.sidecar_names.as_slice().into()),
                controller_revision: revision.into(),
                ..Entry::default()
            };
            put(&mut self.hash, entry(&content.hash, &content.revision));
            put(&mut self.hash_without_image, entry(&content.hash_without_image, ""));
        }
        let existing = annotations.get(keys::INJECTED_LIST).filter(|list| !list.is_empty());
        let mut names: Vec<&str> = existing.into_iter().flat_map(|list| list.split(',')).collect();
        names.extend(matched.iter().map(|matched| &*matched.set.name));
        names.sort_unstable();
        names.dedup();
        [
            (keys::HASH, text(&self.hash)),
            (keys::HASH_WITHOUT_IMAGE, text(&self.hash_without_image)),
            (keys::INJECTED_LIST, names.join(",")),
        ]
    }
}

/// Puts an entry in place; one that says the same keeps its time, so that repeated admission changes nothing (I-UPD-6, D-24).
fn put<'a>(entries: &mut Entries<'a>, entry: Entry<'a>) {
    let is_known = entries.get(&entry.set_name).is_some_and(|known| known.same_but_time(&entry));
    if !is_known {
        entries.insert(entry.set_name.clone(), entry);
    }
}

fn text(entries: &Entries<'_>) -> String {
    let mut text = String::with_capacity(256 * entries.len());
    hash_annotation::write(entries, &mut text);
    text
}
