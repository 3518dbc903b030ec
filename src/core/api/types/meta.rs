//! Types shared by containers, volumes and the SidecarSet itself: metadata, selectors, references.

use super::Kind::{Any, Bool, Int32, Int64, List, Object, Quantity, Text, Time};
use super::{TEXT_MAP, TEXTS, Type, always, omit, pointer, types};

types! {
    LABEL_SELECTOR plain "LabelSelector" [
        omit("matchLabels", TEXT_MAP), omit("matchExpressions", List(&Object(&LABEL_SELECTOR_REQUIREMENT))),
    ]
    LABEL_SELECTOR_REQUIREMENT completed "LabelSelectorRequirement" [
        always("key", Text), always("operator", Text), omit("values", TEXTS),
    ]
    LOCAL_OBJECT_REFERENCE plain "LocalObjectReference" [omit("name", Text)]
    OBJECT_META plain "ObjectMeta" [
        omit("name", Text), omit("generateName", Text), omit("namespace", Text), omit("selfLink", Text),
        omit("uid", Text), omit("resourceVersion", Text), omit("generation", Int64),
        omit("creationTimestamp", Time), pointer("deletionTimestamp", Time),
        pointer("deletionGracePeriodSeconds", Int64), omit("labels", TEXT_MAP), omit("annotations", TEXT_MAP),
        omit("ownerReferences", List(&Object(&OWNER_REFERENCE))), omit("finalizers", TEXTS),
        omit("managedFields", List(&Object(&MANAGED_FIELDS_ENTRY))),
    ]
    OWNER_REFERENCE plain "OwnerReference" [
        always("apiVersion", Text), always("kind", Text), always("name", Text), always("uid", Text),
        pointer("controller", Bool), pointer("blockOwnerDeletion", Bool),
    ]
    MANAGED_FIELDS_ENTRY plain "ManagedFieldsEntry" [
        omit("manager", Text), omit("operation", Text), omit("apiVersion", Text), pointer("time", Time),
        omit("fieldsType", Text), pointer("fieldsV1", Any), omit("subresource", Text),
    ]
    OBJECT_FIELD_SELECTOR plain "ObjectFieldSelector" [omit("apiVersion", Text), always("fieldPath", Text)]
    RESOURCE_FIELD_SELECTOR plain "ResourceFieldSelector" [
        omit("containerName", Text), always("resource", Text), omit("divisor", Quantity),
    ]
    KEY_TO_PATH plain "KeyToPath" [always("key", Text), always("path", Text), pointer("mode", Int32)]
    TRANSFER_FIELD_REF completed "ObjectFieldSelector" [omit("apiVersion", Text), always("fieldPath", Text)]
}
