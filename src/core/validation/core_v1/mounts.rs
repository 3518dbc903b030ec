//! Volumes inside a container: as folders and as block devices.

use std::collections::HashSet;

use super::at::At;
use super::report::Report;
use super::volumes::{VolumeKind, Volumes};
use crate::api::names::{has_parent_element, is_relative_path};

const SUB_PATH: &str = "a relative path without \"..\"";
const PROPAGATIONS: [&str; 3] = ["Bidirectional", "HostToContainer", "None"];
const RECURSIVE: [&str; 3] = ["Disabled", "IfPossible", "Enabled"];
const A_VOLUME: &str = "the name of a valid volume in spec.volumes of this set";

/// Checks `volumeMounts` and `volumeDevices` of a container, which may not share a volume or a path.
///
/// Rule: A-CORE-50, A-CORE-51, A-CORE-52, A-CORE-57, A-CORE-58.
pub(super) fn check(container: &At<'_, '_>, volumes: &Volumes<'_>, report: &mut Report) {
    let (mounts, devices) = (container.child("volumeMounts"), container.child("volumeDevices"));
    let privileged = container.child("securityContext").child("privileged").flag();
    let (device_names, device_paths) = (texts(&devices, "name"), texts(&devices, "devicePath"));
    let mut paths = HashSet::new();
    for mount in mounts.items() {
        let (name, path) = (mount.child("name"), mount.child("mountPath"));
        report.need(&name, A_VOLUME, "A-CORE-50");
        if !volumes.contains_key(name.text()) {
            report.not_found(&name, A_VOLUME, "A-CORE-50");
        }
        report.need(&path, "the path in the container", "A-CORE-51");
        if !paths.insert(path.text()) {
            report.invalid(&path, "unique among the mounts of the container", "A-CORE-51");
        }
        if device_names.contains(name.text()) {
            report.invalid(&name, "other than the volumes in volumeDevices", "A-CORE-52");
        }
        if device_paths.contains(path.text()) {
            report.invalid(&path, "other than the paths in volumeDevices", "A-CORE-52");
        }
        check_sub_path(&mount, &mounts, volumes, report);
        check_propagation(&mount, &mounts, privileged, report);
        check_recursive(&mount, &mounts, report);
    }
    check_devices(&devices, &mounts, volumes, report);
}

/// Newer Kubernetes takes parts of an image volume too.
///
/// Rule: A-CORE-53, A-CORE-54.
/// Decision: D-16.
fn check_sub_path(mount: &At<'_, '_>, mounts: &At<'_, '_>, volumes: &Volumes<'_>, report: &mut Report) {
    let (path, expression) = (mount.child("subPath"), mount.child("subPathExpr"));
    for (name, sub) in [("subPath", &path), ("subPathExpr", &expression)] {
        report.expect(&mounts.child(name).holding(sub), is_relative_path, SUB_PATH, "A-CORE-53");
        if !sub.text().is_empty() && volumes.get(mount.text_at("name")) == Some(&VolumeKind::Image) {
            let detail = "a part of an image volume is refused by older versions of Kubernetes";
            report.warn(sub, detail, "A-CORE-54");
        }
    }
    if !path.text().is_empty() && !expression.text().is_empty() {
        report.conflict(
            &expression,
            "may not be given together with subPath; remove one of them",
            "A-CORE-54",
        );
    }
}

/// Rule: A-CORE-55.
fn check_propagation(mount: &At<'_, '_>, mounts: &At<'_, '_>, privileged: bool, report: &mut Report) {
    let propagation = mount.child("mountPropagation");
    if !propagation.is_present() {
        return;
    }
    let propagation = mounts.child("mountPropagation").holding(&propagation);
    report.one_of(&propagation, &PROPAGATIONS, "A-CORE-55");
    if propagation.text() == "Bidirectional" && !privileged {
        let detail = "\"Bidirectional\" needs securityContext.privileged: true";
        report.forbidden(&propagation, detail, "A-CORE-55");
    }
}

/// Rule: A-CORE-56.
fn check_recursive(mount: &At<'_, '_>, mounts: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-56";
    let recursive = mount.child("recursiveReadOnly");
    if !recursive.is_present() {
        return;
    }
    let recursive = mounts.child("recursiveReadOnly").holding(&recursive);
    report.one_of(&recursive, &RECURSIVE, RULE);
    if matches!(recursive.text(), "IfPossible" | "Enabled") {
        if !mount.child("readOnly").flag() {
            report.forbidden(&recursive, "needs readOnly: true on the same mount", RULE);
        }
        let propagation = mount.child("mountPropagation");
        if propagation.is_present() && propagation.text() != "None" {
            report.forbidden(
                &recursive,
                "needs mountPropagation: None on the same mount, or none at all",
                RULE,
            );
        }
    }
}

fn check_devices(devices: &At<'_, '_>, mounts: &At<'_, '_>, volumes: &Volumes<'_>, report: &mut Report) {
    let (mount_names, mount_paths) = (texts(mounts, "name"), texts(mounts, "mountPath"));
    let (mut names, mut paths) = (HashSet::new(), HashSet::new());
    for device in devices.items() {
        let (name, path) = (device.child("name"), device.child("devicePath"));
        report.need(&name, A_VOLUME, "A-CORE-57");
        if !name.text().is_empty() && !names.insert(name.text()) {
            report.invalid(&name, "unique among the devices of the container", "A-CORE-57");
        }
        match volumes.get(name.text()) {
            Some(VolumeKind::Claim | VolumeKind::Unknown) => {}
            Some(_) => report.invalid(&name, "a persistentVolumeClaim or ephemeral volume", "A-CORE-57"),
            None => report.not_found(&name, A_VOLUME, "A-CORE-57"),
        }
        if mount_names.contains(name.text()) {
            report.invalid(&name, "other than the volumes in volumeMounts", "A-CORE-57");
        }
        report.need(&path, "the path of the device in the container", "A-CORE-58");
        if has_parent_element(path.text()) {
            report.invalid(&path, "a path without \"..\"", "A-CORE-58");
        }
        if !paths.insert(path.text()) {
            report.invalid(&path, "unique among the devices of the container", "A-CORE-58");
        }
        if mount_paths.contains(path.text()) {
            report.invalid(&path, "other than the paths in volumeMounts", "A-CORE-58");
        }
    }
}

/// The texts at the member `name` of all items.
fn texts<'v>(list: &At<'v, '_>, name: &str) -> HashSet<&'v str> {
    list.items().map(|item| item.text_at(name)).collect()
}
