//! Volumes: names, one source each, and what every source needs.

mod projected;
mod sources;

use std::collections::HashMap;

use super::at::At;
use super::claim_template;
use super::containers::{DNS_LABEL, PULL_POLICIES};
use super::env::OBJECT_NAME;
use super::references::{self, FILE_MODE, FILE_PATH};
use super::report::Report;
use crate::api::names::{
    has_parent_element, is_dns_label, is_dns_subdomain, is_file_mode, is_unreserved_path,
};

/// The valid volumes by name.
pub(super) type Volumes<'v> = HashMap<&'v str, VolumeKind>;

/// What a container needs to know about a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum VolumeKind {
    /// Backed by a claim: can be a block device.
    Claim,
    /// The content of an image.
    Image,
    /// Some other known source.
    Other,
    /// Only a newer Kubernetes knows the source.
    Unknown,
}

/// All sources in the order in which the first one counts. Where upstream reports a second source under another name, that comes
/// behind.
const SOURCES: [(&str, &str); 30] = [
    ("emptyDir", "emptyDir"),
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];
const HOST_PATH_TYPES: [&str; 8] =
    ["", "DirectoryOrCreate", "Directory", "FileOrCreate", "File", "Socket", "CharDevice", "BlockDevice"];
/// The longest name of a CSI driver, in bytes.
const MAX_DRIVER: usize = 63;

/// Checks the list of volumes and returns the valid ones; a mount of any other is a finding of its own.
///
/// Rule: A-CORE-10, A-CORE-11.
pub(super) fn check<'v>(volumes: &At<'v, '_>, report: &mut Report) -> Volumes<'v> {
    let mut valid = Volumes::new();
    for volume in volumes.items() {
        let before = report.findings.len();
        let kind = check_source(&volume, report);
        let name = volume.child("name");
        report.need_text(&name, is_dns_label, DNS_LABEL, "A-CORE-10");
        if valid.contains_key(name.text()) {
            report.duplicate(&name, "the volumes", "A-CORE-11");
        }
        if report.findings.len() == before {
            valid.insert(name.text(), kind);
        }
    }
    valid
}

/// Checks that there is one source, and that one. A volume whose only source is unknown is left to the API server.
///
/// Rule: A-CORE-12, A-CORE-13.
/// Decision: D-17.
fn check_source(volume: &At<'_, '_>, report: &mut Report) -> VolumeKind {
    let position = |name| SOURCES.iter().position(|(member, _)| *member == name);
    let mut positions: Vec<_> = volume.member_names().filter_map(position).collect();
    positions.sort_unstable();
    let mut sources = positions.into_iter().filter_map(|position| SOURCES.get(position));
    let Some((first, _)) = sources.next() else {
        let Some(unknown) = volume.member_names().find(|name| *name != "name") else {
            report.required(volume, "a source such as emptyDir: {}", "A-CORE-12");
            return VolumeKind::Other;
        };
        let detail = format!(
            "the source {unknown:?} is not known here and not checked; is it spelled as Kubernetes does?"
        );
        report.warn(volume, detail, "A-CORE-12");
        return VolumeKind::Unknown;
    };
    check_known(&volume.child(first), first, volume, report);
    for (member, name) in sources {
        let detail = format!("may not be given beside {first}; a volume has one source");
        report.forbidden(&volume.child(member).called(name), detail, "A-CORE-13");
    }
    match *first {
        "persistentVolumeClaim" | "ephemeral" => VolumeKind::Claim,
        "image" => VolumeKind::Image,
        _ => VolumeKind::Other,
    }
}

/// Rule: A-CORE-14, A-CORE-16, A-CORE-17, A-CORE-19, A-CORE-20, A-CORE-21, A-CORE-29.
fn check_known(source: &At<'_, '_>, name: &str, volume: &At<'_, '_>, report: &mut Report) {
    match name {
        "emptyDir" => {
            let limit = source.child("sizeLimit");
            if limit.quantity().is_negative() {
                report.forbidden(
                    &limit,
                    format!("found {}, must be 0 or more", limit.quantity()),
                    "A-CORE-14",
                );
            }
        }
        "hostPath" => check_host_path(source, report),
        "secret" => {
            report.need(&source.child("secretName"), "the name of the secret", "A-CORE-16");
            check_files(source, report);
        }
        "configMap" => {
            report.need(&source.child("name"), "the name of the config map", "A-CORE-16");
            check_files(source, report);
        }
        "nfs" => {
            let path = source.child("path");
            report.need(&source.child("server"), "the host of the server", "A-CORE-20");
            report.need(&path, "the exported path", "A-CORE-20");
            report.expect(&path, |text| text.starts_with('/'), "an absolute path", "A-CORE-20");
        }
        "persistentVolumeClaim" => {
            report.need(&source.child("claimName"), "the name of the claim", "A-CORE-19");
        }
        "downwardAPI" => {
            check_mode(&source.child("defaultMode"), "A-CORE-17", report);
            for file in source.child("items").items() {
                references::check_file(&file, source, report);
            }
        }
        "projected" => projected::check(source, report),
        "csi" => check_csi(source, report),
        "ephemeral" => claim_template::check(&source.child("volumeClaimTemplate"), report),
        "image" => report.need_one_of(&source.child("pullPolicy"), &PULL_POLICIES, "A-CORE-29"),
        _ => sources::check(source, name, volume, report),
    }
}

/// Rule: A-CORE-15.
fn check_host_path(source: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-15";
    let path = source.child("path");
    if report.need(&path, "the path on the node", RULE) {
        report.expect(&path, |text| !has_parent_element(text), "a path without \"..\"", RULE);
        report.one_of(&source.child("type"), &HOST_PATH_TYPES, RULE);
    }
}

/// Checks `defaultMode` and `items` of a secret or config map.
///
/// Rule: A-CORE-17, A-CORE-18.
fn check_files(source: &At<'_, '_>, report: &mut Report) {
    check_mode(&source.child("defaultMode"), "A-CORE-17", report);
    for item in source.child("items").items() {
        check_item(&item, report);
    }
}

/// Checks where one key of a secret or config map is written.
///
/// Rule: A-CORE-18.
fn check_item(item: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-18";
    let path = item.child("path");
    report.need(&item.child("key"), "the key to show", RULE);
    report.need(&path, "the path of the file in the volume", RULE);
    report.expect(&path, is_unreserved_path, FILE_PATH, RULE);
    check_mode(&item.child("mode"), RULE, report);
}

fn check_mode(mode: &At<'_, '_>, rule: &'static str, report: &mut Report) {
    report.expect_number(mode, is_file_mode, FILE_MODE, rule);
}

/// Rule: A-CORE-27.
fn check_csi(source: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-27";
    let driver = source.child("driver");
    report.need(&driver, "the name of the CSI driver", RULE);
    if driver.text().len() > MAX_DRIVER {
        report.too_long(&driver, MAX_DRIVER, RULE);
    }
    report.expect(&driver, |text| is_dns_subdomain(&text.to_lowercase()), OBJECT_NAME, RULE);
    let secret = source.child("nodePublishSecretRef");
    if secret.is_present() {
        let name = secret.child("name");
        if report.need(&name, "the name of the secret", RULE) {
            report.expect(&source.child("name").holding(&name), is_dns_subdomain, OBJECT_NAME, RULE);
        }
    }
}
