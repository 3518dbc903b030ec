//! What `kubectl explain` says. In our words; a member of a type that is used in several places has one text.

/// The description of an object, `None` if its members say enough.
pub(super) fn of_type(ty: &str) -> Option<&'static str> {
    Some(match ty {
        "SidecarSet" => {
            "A SidecarSet puts sidecar containers, init containers, volumes and annotations into the Pods that it selects, when \
             they are created, and can update the sidecars of running Pods without recreating them. It is cluster-scoped."
        }
        "SidecarContainer" => {
            "A container as core/v1 writes it (kubectl explain pod.spec.containers), with some members of its own. The members of \
             core/v1 are not listed here; the API server keeps them as they are, and the webhook checks them."
        }
        _ => return None,
    })
}

/// The description of a member, `None` if it has none, which a test forbids.
pub(super) fn of_member(ty: &str, member: &str) -> Option<&'static str> {
    of_set(ty, member).or_else(|| of_strategies(ty, member)).or_else(|| of_container(ty, member))
}

fn of_set(ty: &str, member: &str) -> Option<&'static str> {
    Some(match (ty, member) {
        ("SidecarSet", "apiVersion") => {
            "Version of the API: apps.kruise.io/v1beta1 or apps.kruise.io/v1alpha1."
        }
        ("SidecarSet", "kind") => "SidecarSet.",
        ("SidecarSet", "spec") => "What is wanted: which Pods get what, and how changes reach running Pods.",
        ("SidecarSet", "status") => "What was observed. Written by the controller.",
        ("SidecarSetSpec", "selector") => {
            "The labels of the Pods that get the sidecars. Required; an empty selector is refused."
        }
        ("SidecarSetSpec", "namespace") => {
            "The only namespace whose Pods get the sidecars. Stored as a namespaceSelector on the label \
             kubernetes.io/metadata.name, and replaces any other namespaceSelector."
        }
        ("SidecarSetSpec", "namespaceSelector") => {
            "The labels of the namespaces whose Pods get the sidecars. Absent: every namespace; an empty selector is refused."
        }
        ("SidecarSetSpec", "initContainers") => {
            "Init containers to add, in the order of their names. With restartPolicy Always they are native sidecars, which need \
             updateStrategy.type NotUpdate."
        }
        ("SidecarSetSpec", "containers") => "Containers to add.",
        ("SidecarSetSpec", "volumes") => {
            "Volumes as core/v1 writes them (kubectl explain pod.spec.volumes). Those that the added containers mount are added."
        }
        ("SidecarSetSpec", "updateStrategy") => {
            "How a change of this set reaches Pods that have its sidecars already."
        }
        ("SidecarSetSpec", "injectionStrategy") => "What new Pods get.",
        ("SidecarSetSpec", "imagePullSecrets") => {
            "Secrets for pulling the images, added to the Pod. They have to exist in the namespace of the Pod."
        }
        ("SidecarSetSpec", "revisionHistoryLimit") => {
            "How many ControllerRevisions of this set are kept. Default 10."
        }
        ("SidecarSetSpec", "patchPodMetadata") => {
            "Annotations to put on the Pods. The ConfigMap kruise-configuration has to allow their keys."
        }
        ("SidecarSetSpec", "customVersion") => {
            "A name for this version of the set, to ask for it in injectionStrategy.revision.customVersion. Has to be a label \
             value."
        }
        ("LocalObjectReference", "name") => "Name of the Secret.",
        ("SidecarSetPatchPodMetadata", "annotations") => "Keys and values.",
        ("SidecarSetPatchPodMetadata", "patchPolicy") => {
            "What happens to a key that the Pod has. Retain (default): it stays, and running Pods are not touched. Overwrite: it \
             is replaced. MergePatchJson: both values are JSON, and this one is merged into the Pod's (RFC 7386)."
        }
        ("LabelSelector", "matchLabels") => "Labels that have to be there with these values.",
        ("LabelSelector", "matchExpressions") => "Further conditions; all have to hold.",
        ("LabelSelectorRequirement", "key") => "Key of the label.",
        ("LabelSelectorRequirement", "operator") => "In, NotIn, Exists or DoesNotExist.",
        ("LabelSelectorRequirement", "values") => {
            "For In and NotIn: the values. Has to be empty for the others."
        }
        ("SidecarSetStatus", "observedGeneration") => "The metadata.generation that this status is about.",
        ("SidecarSetStatus", "matchedPods") => "Pods that the set matches.",
        ("SidecarSetStatus", "updatedPods") => "Matched Pods that carry the current revision.",
        ("SidecarSetStatus", "readyPods") => "Matched Pods that are ready.",
        ("SidecarSetStatus", "updatedReadyPods") => {
            "Matched Pods that carry the current revision and are ready."
        }
        ("SidecarSetStatus", "latestRevision") => "Name of the newest ControllerRevision of this set.",
        ("SidecarSetStatus", "collisionCount") => {
            "Counts name clashes of ControllerRevisions, to make new names."
        }
        _ => return None,
    })
}

fn of_strategies(ty: &str, member: &str) -> Option<&'static str> {
    Some(match (ty, member) {
        ("SidecarSetUpdateStrategy", "type") => {
            "RollingUpdate (default): running Pods get new sidecar images in place, a few at a time. NotUpdate: only new Pods get \
             a change."
        }
        ("SidecarSetUpdateStrategy", "paused") => {
            "Stop updating running Pods. New Pods still get sidecars (see injectionStrategy.paused)."
        }
        ("SidecarSetUpdateStrategy", "selector") => {
            "Update only the Pods with these labels. Cannot go with a percentage partition."
        }
        ("SidecarSetUpdateStrategy", "partition") => {
            "How many of the matched Pods stay as they are: a number or a percentage such as 90%. Default 0."
        }
        ("SidecarSetUpdateStrategy", "maxUnavailable") => {
            "How many matched Pods may be unavailable during an update: a number or a percentage, rounded up. Default 1."
        }
        ("SidecarSetUpdateStrategy", "priorityStrategy") => {
            "Which Pods are updated first. One of the two lists, not both."
        }
        ("SidecarSetUpdateStrategy", "scatterStrategy") => {
            "Pods with one of these labels are spread over the whole update instead of being updated together."
        }
        ("UpdatePriorityStrategy", "orderPriority") => {
            "Pods with a greater number at the end of the value of these labels come first."
        }
        ("UpdatePriorityStrategy", "weightPriority") => "Pods with a greater sum of weights come first.",
        ("UpdatePriorityOrderTerm", "orderedKey") => "Key of the label.",
        ("UpdatePriorityWeightTerm", "weight") => "From 0 to 100.",
        ("UpdatePriorityWeightTerm", "matchSelector") => "The Pods that this weight counts for.",
        ("UpdateScatterTerm", "key") => "Key of the label.",
        ("UpdateScatterTerm", "value") => "Value of the label.",
        ("SidecarSetInjectionStrategy", "paused") => {
            "Do not put sidecars into new Pods. Running Pods keep theirs, and they are still updated."
        }
        ("SidecarSetInjectionStrategy", "revision") => "Give new Pods an older revision of this set.",
        ("SidecarSetInjectRevision", "customVersion") => "The revision with this custom version.",
        ("SidecarSetInjectRevision", "revisionName") => {
            "The ControllerRevision of this name. Goes before customVersion."
        }
        ("SidecarSetInjectRevision", "policy") => {
            "Always: every new Pod gets that revision. Partial: as many as updateStrategy keeps from being updated."
        }
        _ => return None,
    })
}

fn of_container(ty: &str, member: &str) -> Option<&'static str> {
    Some(match (ty, member) {
        ("SidecarContainer", "podInjectPolicy") => {
            "Where it goes: BeforeAppContainer (default of containers) or AfterAppContainer (default of initContainers)."
        }
        ("SidecarContainer", "upgradeStrategy") => "How a running sidecar gets a new image.",
        ("SidecarContainer", "shareVolumePolicy") => {
            "Whether it gets the volumeMounts of the application's containers too."
        }
        ("SidecarContainer", "shareVolumeDevicePolicy") => {
            "Whether it gets the volumeDevices of the application's containers too."
        }
        ("SidecarContainer", "transferEnv") => {
            "Environment variables to copy from the application's containers."
        }
        ("SidecarContainer", "resourcesPolicy") => {
            "Compute its resources from those of the application's containers instead of giving them in resources."
        }
        ("SidecarContainerUpgradeStrategy", "upgradeType") => {
            "ColdUpgrade (default): the container is restarted with the new image. HotUpgrade: two containers take turns, so \
             that one is always there. Cannot be changed later."
        }
        ("SidecarContainerUpgradeStrategy", "hotUpgradeEmptyImage") => {
            "HotUpgrade: image of the container that does not work at the moment. Required then."
        }
        ("ShareVolumePolicy", "type") => "enabled or disabled (default).",
        ("TransferEnvVar", "sourceContainerName") => "Name of the container to copy from.",
        ("TransferEnvVar", "sourceContainerNameFrom") => "Where the name of that container is found instead.",
        ("TransferEnvVar", "envName") => "The variable to copy.",
        ("TransferEnvVar", "envNames") => "More variables to copy.",
        ("SourceContainerNameSource", "fieldRef") => "A label or annotation of the Pod.",
        ("ObjectFieldSelector", "apiVersion") => "Version of the Pod's API. Default v1.",
        ("ObjectFieldSelector", "fieldPath") => "metadata.labels['KEY'] or metadata.annotations['KEY'].",
        ("ResourcesPolicy", "targetContainersMode") => {
            "sum: the resources of the chosen containers are added up. max: the greatest counts."
        }
        ("ResourcesPolicy", "targetContainersNameRegex") => {
            "Chooses containers by name, with a regular expression that may match anywhere in it. Default .*, which is all. A Pod \
             without such a container is refused."
        }
        ("ResourcesPolicy", "resourcesExpr") => "The expressions.",
        ("ResourcesExpr", "limits") => "Expressions for resources.limits.",
        ("ResourcesExpr", "requests") => "Expressions for resources.requests.",
        ("ResourceExprLimits" | "ResourceExprRequests", "cpu") => {
            "An expression over the variable cpu, for example max(cpu*50%, 50m)."
        }
        ("ResourceExprLimits" | "ResourceExprRequests", "memory") => {
            "An expression over the variable memory, for example memory*10% + 64Mi."
        }
        _ => return None,
    })
}
