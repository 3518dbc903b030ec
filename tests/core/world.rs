//! A small world for admissions in tests: SidecarSets and ControllerRevisions, and what becomes of a Pod in it.

use serde_json::Value;
use sidecarset_core::admission::{Decision, Request, Verdict, admit};
use sidecarset_core::context::{Context, Features, FirstPod};
use sidecarset_core::pod::PodLook;
use sidecarset_core::snapshot::{Snapshot, SnapshotParts, UnlistedNamespaces};
use sidecarset_core::source::SidecarSet;

/// Time of admission.
pub(crate) const NOW: i64 = 1_700_000_000;

/// Nothing special: the first Pod of its owner, at [`NOW`], no feature on.
pub(crate) const CONTEXT: Context<'static> = Context {
    now_unix: NOW,
    features: Features { sort_sidecar_containers: false },
    draw: &FirstPod,
    live_namespace: None,
};

/// What a Snapshot is made of, as documents.
#[derive(Debug, Clone, Default)]
pub(crate) struct World {
    /// SidecarSets as files have them.
    pub(crate) sets: Vec<Value>,
    /// ControllerRevisions.
    pub(crate) revisions: Vec<Value>,
    /// Namespaces: name and labels.
    pub(crate) namespaces: Vec<(String, Vec<(String, String)>)>,
}

impl World {
    /// A world with these sets only.
    pub(crate) fn of(sets: impl IntoIterator<Item = Value>) -> Self {
        Self { sets: sets.into_iter().collect(), ..Self::default() }
    }

    /// The sets, defaulted; one that cannot be decoded is left out, as no source loads it.
    pub(crate) fn loaded(&self) -> Vec<SidecarSet> {
        self.sets.iter().filter_map(|set| SidecarSet::from_file_document(set).ok()).collect()
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot::new(SnapshotParts {
            sets: self.loaded(),
            namespaces: self.namespaces.clone(),
            revisions: self.revisions.clone(),
            revision_namespace: None,
            unlisted_namespaces: UnlistedNamespaces::HaveNameLabel,
        })
    }

    /// Admits a Pod that is to be admitted; returns it as it is then.
    pub(crate) fn inject(&self, pod: &Value) -> Value {
        assert_eq!(self.loaded().len(), self.sets.len(), "all sets of a test can be decoded");
        let decision = decide(&self.snapshot(), &CONTEXT, &pod.to_string());
        assert!(!matches!(decision.verdict, Verdict::Denied(_)), "{:?}", decision.verdict);
        apply(pod, &decision)
    }

    /// Admits a Pod that is to be denied; returns code and message.
    pub(crate) fn deny(&self, pod: &Value) -> (u16, String) {
        match decide(&self.snapshot(), &CONTEXT, &pod.to_string()).verdict {
            Verdict::Denied(denial) => (denial.code, denial.message),
            verdict => panic!("expected a denial, found {verdict:?}"),
        }
    }
}

/// Admits a Pod that can be read, in the namespace `default` unless it names one.
pub(crate) fn decide(snapshot: &Snapshot, context: &Context<'_>, pod: &str) -> Decision {
    decide_request(&create(), snapshot, context, pod)
}

/// The request of a Pod's creation.
pub(crate) fn create() -> Request<'static> {
    Request { operation: "CREATE", resource: "pods", namespace: "default", ..Request::default() }
}

/// Admits a Pod that can be read.
pub(crate) fn decide_request(
    request: &Request<'_>,
    snapshot: &Snapshot,
    context: &Context<'_>,
    pod: &str,
) -> Decision {
    let look = PodLook::from_json(pod).unwrap_or_else(|error| panic!("{error}: {pod}"));
    admit(request, &look, snapshot, context).expect("no namespace of a test has to be read live")
}

/// The Pod after the patch of a decision; as it was if there is none.
pub(crate) fn apply(pod: &Value, decision: &Decision) -> Value {
    let mut document = pod.clone();
    if let Verdict::Patch(text) = &decision.verdict {
        let patch: json_patch::Patch =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
        json_patch::patch(&mut document, &patch).unwrap_or_else(|error| panic!("{error}: {text}\n{pod}"));
    }
    document
}
