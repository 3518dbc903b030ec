//! SidecarSet of both versions, and the sidecar container with all core/v1 Container members.

use super::Kind::{Bool, Int32, Int64, IntOrText, List, Object, Text};
use super::{
    CONTAINER_PORT, CONTAINER_RESIZE_POLICY, ENV_FROM_SOURCE, ENV_VAR, LABEL_SELECTOR, LIFECYCLE,
    LOCAL_OBJECT_REFERENCE, OBJECT_META, PROBE, RESOURCE_REQUIREMENTS, SECURITY_CONTEXT, TEXT_MAP, TEXTS,
    TRANSFER_FIELD_REF, Type, VOLUME, VOLUME_DEVICE, VOLUME_MOUNT, always, omit, pointer, types,
};

types! {
    SIDECARSET_V1BETA1 plain "SidecarSet" [
        omit("kind", Text), omit("apiVersion", Text), omit("metadata", Object(&OBJECT_META)),
        omit("spec", Object(&SPEC_V1BETA1)), omit("status", Object(&SIDECAR_SET_STATUS)),
    ]
    SIDECARSET_V1ALPHA1 plain "SidecarSet" [
        omit("kind", Text), omit("apiVersion", Text), omit("metadata", Object(&OBJECT_META)),
        omit("spec", Object(&SPEC_V1ALPHA1)), omit("status", Object(&SIDECAR_SET_STATUS)),
    ]
    SPEC_V1BETA1 plain "SidecarSetSpec" [
        pointer("selector", Object(&LABEL_SELECTOR)), pointer("namespaceSelector", Object(&LABEL_SELECTOR)),
        omit("initContainers", List(&Object(&SIDECAR_CONTAINER))),
        omit("containers", List(&Object(&SIDECAR_CONTAINER))), omit("volumes", List(&Object(&VOLUME))),
        omit("updateStrategy", Object(&SIDECAR_SET_UPDATE_STRATEGY)),
        omit("injectionStrategy", Object(&SIDECAR_SET_INJECTION_STRATEGY)),
        omit("imagePullSecrets", List(&Object(&LOCAL_OBJECT_REFERENCE))),
        pointer("revisionHistoryLimit", Int32),
        omit("patchPodMetadata", List(&Object(&SIDECAR_SET_PATCH_POD_METADATA))), omit("customVersion", Text),
    ]
    SPEC_V1ALPHA1 plain "SidecarSetSpec" [
        pointer("selector", Object(&LABEL_SELECTOR)), omit("namespace", Text),
        pointer("namespaceSelector", Object(&LABEL_SELECTOR)),
        omit("initContainers", List(&Object(&SIDECAR_CONTAINER))),
        omit("containers", List(&Object(&SIDECAR_CONTAINER))), omit("volumes", List(&Object(&VOLUME))),
        omit("updateStrategy", Object(&SIDECAR_SET_UPDATE_STRATEGY)),
        omit("injectionStrategy", Object(&SIDECAR_SET_INJECTION_STRATEGY)),
        omit("imagePullSecrets", List(&Object(&LOCAL_OBJECT_REFERENCE))),
        pointer("revisionHistoryLimit", Int32),
        omit("patchPodMetadata", List(&Object(&SIDECAR_SET_PATCH_POD_METADATA))),
    ]
    SIDECAR_CONTAINER plain "SidecarContainer" [
        always("name", Text), omit("image", Text), omit("command", TEXTS), omit("args", TEXTS),
        omit("workingDir", Text), omit("ports", List(&Object(&CONTAINER_PORT))),
        omit("envFrom", List(&Object(&ENV_FROM_SOURCE))), omit("env", List(&Object(&ENV_VAR))),
        omit("resources", Object(&RESOURCE_REQUIREMENTS)),
        omit("resizePolicy", List(&Object(&CONTAINER_RESIZE_POLICY))), pointer("restartPolicy", Text),
        omit("volumeMounts", List(&Object(&VOLUME_MOUNT))),
        omit("volumeDevices", List(&Object(&VOLUME_DEVICE))), pointer("livenessProbe", Object(&PROBE)),
        pointer("readinessProbe", Object(&PROBE)), pointer("startupProbe", Object(&PROBE)),
        pointer("lifecycle", Object(&LIFECYCLE)), omit("terminationMessagePath", Text),
        omit("terminationMessagePolicy", Text), omit("imagePullPolicy", Text),
        pointer("securityContext", Object(&SECURITY_CONTEXT)), omit("stdin", Bool), omit("stdinOnce", Bool),
        omit("tty", Bool), omit("podInjectPolicy", Text),
        omit("upgradeStrategy", Object(&SIDECAR_CONTAINER_UPGRADE_STRATEGY)),
        omit("shareVolumePolicy", Object(&SHARE_VOLUME_POLICY)),
        pointer("shareVolumeDevicePolicy", Object(&SHARE_VOLUME_POLICY)),
        omit("transferEnv", List(&Object(&TRANSFER_ENV_VAR))),
        pointer("resourcesPolicy", Object(&RESOURCES_POLICY)),
    ]
    UPDATE_PRIORITY_ORDER_TERM completed "UpdatePriorityOrderTerm" [always("orderedKey", Text)]
    UPDATE_PRIORITY_STRATEGY plain "UpdatePriorityStrategy" [
        omit("orderPriority", List(&Object(&UPDATE_PRIORITY_ORDER_TERM))),
        omit("weightPriority", List(&Object(&UPDATE_PRIORITY_WEIGHT_TERM))),
    ]
    UPDATE_PRIORITY_WEIGHT_TERM completed "UpdatePriorityWeightTerm" [
        always("weight", Int32), always("matchSelector", Object(&LABEL_SELECTOR)),
    ]
    RESOURCE_EXPR_LIMITS plain "ResourceExprLimits" [omit("cpu", Text), omit("memory", Text)]
    RESOURCE_EXPR_REQUESTS plain "ResourceExprRequests" [omit("cpu", Text), omit("memory", Text)]
    RESOURCES_EXPR plain "ResourcesExpr" [
        pointer("limits", Object(&RESOURCE_EXPR_LIMITS)),
        pointer("requests", Object(&RESOURCE_EXPR_REQUESTS)),
    ]
    RESOURCES_POLICY completed "ResourcesPolicy" [
        always("targetContainersMode", Text), omit("targetContainersNameRegex", Text),
        always("resourcesExpr", Object(&RESOURCES_EXPR)),
    ]
    SHARE_VOLUME_POLICY plain "ShareVolumePolicy" [omit("type", Text)]
    SIDECAR_CONTAINER_UPGRADE_STRATEGY plain "SidecarContainerUpgradeStrategy" [
        omit("upgradeType", Text), omit("hotUpgradeEmptyImage", Text),
    ]
    SIDECAR_SET_INJECT_REVISION plain "SidecarSetInjectRevision" [
        pointer("customVersion", Text), pointer("revisionName", Text), omit("policy", Text),
    ]
    SIDECAR_SET_INJECTION_STRATEGY plain "SidecarSetInjectionStrategy" [
        omit("paused", Bool), pointer("revision", Object(&SIDECAR_SET_INJECT_REVISION)),
    ]
    SIDECAR_SET_PATCH_POD_METADATA plain "SidecarSetPatchPodMetadata" [
        omit("annotations", TEXT_MAP), omit("patchPolicy", Text),
    ]
    SIDECAR_SET_STATUS plain "SidecarSetStatus" [
        omit("observedGeneration", Int64), always("matchedPods", Int32), always("updatedPods", Int32),
        always("readyPods", Int32), omit("updatedReadyPods", Int32), omit("latestRevision", Text),
        pointer("collisionCount", Int32),
    ]
    SIDECAR_SET_UPDATE_STRATEGY plain "SidecarSetUpdateStrategy" [
        omit("type", Text), omit("paused", Bool), pointer("selector", Object(&LABEL_SELECTOR)),
        pointer("partition", IntOrText), pointer("maxUnavailable", IntOrText),
        pointer("priorityStrategy", Object(&UPDATE_PRIORITY_STRATEGY)),
        omit("scatterStrategy", List(&Object(&UPDATE_SCATTER_TERM))),
    ]
    SOURCE_CONTAINER_NAME_SOURCE plain "SourceContainerNameSource" [
        pointer("fieldRef", Object(&TRANSFER_FIELD_REF)),
    ]
    TRANSFER_ENV_VAR plain "TransferEnvVar" [
        omit("sourceContainerName", Text),
        pointer("sourceContainerNameFrom", Object(&SOURCE_CONTAINER_NAME_SOURCE)), omit("envName", Text),
        omit("envNames", TEXTS),
    ]
    UPDATE_SCATTER_TERM completed "UpdateScatterTerm" [always("key", Text), always("value", Text)]
}
