//! Every label, annotation and environment name of the API (I-CONST, spec 10 section 1.5). No other file spells one out.

/// Annotation on Sets and Pods: hash, or map of hashes by set (I-CONST-1).
pub const HASH: &str = "kruise.io/sidecarset-hash";
/// The same, ignoring images (I-CONST-2).
pub const HASH_WITHOUT_IMAGE: &str = "kruise.io/sidecarset-hash-without-image";
/// Annotation on Pods: names of the injected sets, joined with `,` (I-CONST-3).
pub const INJECTED_LIST: &str = "kruise.io/sidecarset-injected-list";
/// Annotation on Pods: which container of each hot pair works (I-CONST-4).
pub const WORKING_HOT_UPGRADE_CONTAINER: &str = "kruise.io/sidecarset-working-hotupgrade-container";
/// Prefix of the annotation with the version of a hot container (I-CONST-6).
pub const VERSION_PREFIX: &str = "version.sidecarset.kruise.io/";
/// Prefix of the annotation with the version of the other container of a hot pair (I-CONST-7).
pub const VERSION_ALT_PREFIX: &str = "versionalt.sidecarset.kruise.io/";
/// Environment variable that marks an injected container; its value is `true` (I-CONST-8).
pub const ENV_IS_INJECTED: &str = "IS_INJECTED";
/// Environment variable: own version of a hot container (I-CONST-9).
pub const ENV_VERSION: &str = "SIDECARSET_VERSION";
/// Environment variable: version of the other container of a hot pair (I-CONST-10).
pub const ENV_VERSION_ALT: &str = "SIDECARSET_VERSION_ALT";
/// Annotation on Sets: exactly `true` makes the set a canary (I-CONST-12).
pub const CANARY: &str = "apps.kruise.io/sidecarset-canary";
/// Annotation on Sets: name of the canary's base (I-CONST-12).
pub const CANARY_BASE: &str = "apps.kruise.io/sidecarset-base";
/// Label on ControllerRevisions: name of the owning set (I-CONST-13).
pub const REVISION_SET_NAME: &str = "kruise.io/sidecarset-name";
/// Label on ControllerRevisions, in v1alpha1 also on Sets: custom version (I-CONST-14).
pub const CUSTOM_VERSION: &str = "apps.kruise.io/sidecarset-custom-version";
/// Label that every Namespace has: its own name (I-CONST-16).
pub const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";
/// Annotation of mirror Pods, which are left alone (I-DEF-32).
pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
/// Annotation or label on Pods: `false` opts out of all sets. Decision: D-26.
pub const INJECT: &str = "sidecarset.kruise.io/inject";
/// Annotation or label on Pods: comma-separated names of sets to leave out. Decision: D-26.
pub const SKIP: &str = "sidecarset.kruise.io/skip";
/// Annotation on Sets: `Ignore` skips the set instead of denying Pods. Decision: D-22.
pub const FAILURE_POLICY: &str = "sidecarset.kruise.io/failure-policy";
/// Annotation on v1alpha1 Sets: a custom version that is no label value. Decision: D-18.
pub const CUSTOM_VERSION_ANNOTATION: &str = "sidecarset.kruise.io/custom-version";
/// Annotation on Pods: what ran before the last in-place update, by set (I-CONST-5).
pub const IN_PLACE_STATE: &str = "kruise.io/sidecarset-inplace-update-state";
/// Annotation on Pods: image and restarts of containers before the last in-place update, by set. Rule: C-BUG-13.
pub const IN_PLACE_BEFORE: &str = "sidecarset.kruise.io/inplace-update-before";
/// Annotation on Sets: `Evict` replaces Pods that missed injection.
pub const REPAIR: &str = "sidecarset.kruise.io/repair";
/// Label on ControllerRevisions: hash of their data (C-REV-3).
pub const REVISION_HASH: &str = "controller.kubernetes.io/hash";
/// Condition of Pods: whether they can take a change in place (C-COND-1).
pub const CONDITION_UPGRADABLE: &str = "SidecarSetUpgradable";
/// Condition of Pods that the SidecarTerminator ended (C-TERM-13).
pub const CONDITION_TERMINATED: &str = "SidecarTerminated";
/// Environment variable: `true` ends the container when the main ones have (C-TERM-2).
pub const ENV_TERMINATE: &str = "KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT";
/// Environment variable: the image that ends the container (C-TERM-2).
pub const ENV_TERMINATE_WITH_IMAGE: &str = "KRUISE_TERMINATE_SIDECAR_WHEN_JOB_EXIT_WITH_IMAGE";
/// Environment variable: the container's exit code must not count (C-TERM-2).
pub const ENV_IGNORE_EXIT_CODE: &str = "KRUISE_TERMINATE_SIDECAR_IGNORE_EXIT_CODE";
