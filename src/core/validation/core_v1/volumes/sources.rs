//! Sources of volumes that few still use.

use super::super::at::At;
use super::super::containers::DNS_LABEL;
use super::super::report::Report;
use crate::api::names::{is_dns_label, is_relative_path};

const RULE: &str = "A-CORE-30";
/// What a partition or a logical unit number has to be.
const BYTE: &str = "from 0 to 255";
/// The longest `<volume>:<portal>` of an iSCSI volume with an initiator, in bytes.
const MAX_ISCSI_NAME: usize = 64;
/// The longest tenant of a quobyte volume, in bytes.
const MAX_TENANT: usize = 64;
const IQN: &str =
    "\"iqn.<year>-<month>.<domain>:<name>\", \"eui.<16 characters>\" or \"naa.<32 characters>\"";
const CACHING_MODES: [&str; 3] = ["None", "ReadOnly", "ReadWrite"];
const DISK_KINDS: [&str; 3] = ["Shared", "Dedicated", "Managed"];

/// Checks the source called `name`.
///
/// Rule: A-CORE-30.
pub(super) fn check(source: &At<'_, '_>, name: &str, volume: &At<'_, '_>, report: &mut Report) {
    match name {
        "gitRepo" => {
            need_all(source, &["repository"], report);
            report.expect(
                &source.child("directory"),
                is_relative_path,
                "a relative path without \"..\"",
                RULE,
            );
        }
        // Upstream reports this one as `persistentDisk`.
        "gcePersistentDisk" => check_disk(&source.called("persistentDisk"), "pdName", report),
        "awsElasticBlockStore" => check_disk(source, "volumeID", report),
        "iscsi" => check_iscsi(source, volume, report),
        "glusterfs" => need_all(source, &["endpoints", "path"], report),
        "flocker" => check_flocker(source, report),
        "rbd" => need_all(source, &["monitors", "image"], report),
        "cinder" => {
            need_all(source, &["volumeID"], report);
            need_secret_name(source, report);
        }
        "cephfs" => need_all(source, &["monitors"], report),
        "quobyte" => check_quobyte(source, report),
        "fc" => check_fibre_channel(source, report),
        "flexVolume" => check_flex(source, report),
        "azureFile" => need_all(source, &["secretName", "shareName"], report),
        "azureDisk" => check_azure_disk(source, report),
        "vsphereVolume" => need_all(source, &["volumePath"], report),
        "photonPersistentDisk" => need_all(source, &["pdID"], report),
        "portworxVolume" => need_all(source, &["volumeID"], report),
        "storageos" => {
            let namespace = source.child("volumeNamespace");
            report.need_text(&source.child("volumeName"), is_dns_label, DNS_LABEL, RULE);
            if !namespace.text().is_empty() {
                report.expect(&namespace, is_dns_label, DNS_LABEL, RULE);
            }
            need_secret_name(source, report);
        }
        "scaleIO" => need_all(source, &["gateway", "system", "volumeName"], report),
        _ => {}
    }
}

fn need_all(source: &At<'_, '_>, members: &[&str], report: &mut Report) {
    for member in members {
        report.need(&source.child(member), "the source cannot be used without it", RULE);
    }
}

/// A secret that is referred to has to have a name.
fn need_secret_name(source: &At<'_, '_>, report: &mut Report) {
    let secret = source.child("secretRef");
    if secret.is_present() {
        report.need(&secret.child("name"), "the name of the secret", RULE);
    }
}

fn is_byte(number: i64) -> bool {
    u8::try_from(number).is_ok()
}

fn check_disk(source: &At<'_, '_>, id: &str, report: &mut Report) {
    need_all(source, &[id], report);
    report.expect_number(&source.child("partition"), is_byte, BYTE, RULE);
}

fn check_iscsi(source: &At<'_, '_>, volume: &At<'_, '_>, report: &mut Report) {
    let portal = source.child("targetPortal");
    report.need(&portal, "the address of the target", RULE);
    report.need_text(&source.child("iqn"), is_iscsi_name, IQN, RULE);
    report.expect_number(&source.child("lun"), is_byte, BYTE, RULE);
    let secret = source.child("secretRef");
    let uses_chap = source.child("chapAuthDiscovery").flag() || source.child("chapAuthSession").flag();
    if uses_chap && !secret.is_present() {
        report.required(&secret, "the secret for CHAP", RULE);
    }
    let initiator = source.child("initiatorName");
    if initiator.is_present() {
        report.expect(&initiator.called("initiatorname"), is_iscsi_name, IQN, RULE);
        let name = volume.child("name");
        // One byte is the colon between them.
        if name.text().len() + 1 + portal.text().len() > MAX_ISCSI_NAME {
            let must_be = "shorter: with the colon and iscsi.targetPortal at most 64 characters";
            report.invalid(&name, must_be, RULE);
        }
    }
}

/// Whether `text` names an iSCSI node. The name in the `iqn` form need not begin where the text begins.
fn is_iscsi_name(text: &str) -> bool {
    let is_id = |prefix: &str, length: usize| {
        let rest = text.strip_prefix(prefix).map(str::chars).and_then(|mut rest| {
            let any = rest.next()?;
            (any != '\n').then_some(rest.as_str())
        });
        rest.is_some_and(|id| id.len() == length && id.bytes().all(|b| b.is_ascii_alphanumeric()))
    };
    let is_iqn =
        || text.match_indices("iqn.").any(|(start, _)| text.get(start..).is_some_and(is_qualified_iqn));
    is_id("eui", 16) || is_id("naa", 32) || (text.starts_with("iqn") && is_iqn())
}

/// `iqn.<4 digits>-<2 digits>.<domain>:<name>`.
fn is_qualified_iqn(text: &str) -> bool {
    let is_number = |text: &str, length| text.len() == length && text.bytes().all(|b| b.is_ascii_digit());
    let is_forbidden = |c: char| ",;*&$| \t\n\u{c}\r".contains(c);
    let parts = || {
        let (year, rest) = text.strip_prefix("iqn.")?.split_once('-')?;
        let (month, rest) = rest.split_once('.')?;
        let (domain, name) = rest.split_once(':')?;
        Some((year, month, domain, name))
    };
    parts().is_some_and(|(year, month, domain, name)| {
        is_number(year, 4)
            && is_number(month, 2)
            && !domain.is_empty()
            && domain.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'))
            && !name.is_empty()
            && !name.contains(is_forbidden)
    })
}

fn check_flocker(source: &At<'_, '_>, report: &mut Report) {
    let (name, uuid) = (source.child("datasetName"), source.child("datasetUUID"));
    match (name.text().is_empty(), uuid.text().is_empty()) {
        (true, true) => report.required(source, "datasetName or datasetUUID", RULE),
        (false, false) => {
            report.conflict(source, "has datasetName and datasetUUID, must have one of them", RULE);
        }
        (true, false) | (false, true) => {}
    }
    report.expect(&name, |text| !text.contains('/'), "a name without \"/\"", RULE);
}

fn check_quobyte(source: &At<'_, '_>, report: &mut Report) {
    let (registry, tenant) = (source.child("registry"), source.child("tenant"));
    if report.need(&registry, "host:port, or several with commas between", RULE) {
        if tenant.text().len() > MAX_TENANT {
            report.required(&tenant, "a tenant of at most 64 characters", RULE);
        } else {
            let is_right = |text: &str| text.split(',').all(is_host_and_port);
            report.expect(&registry, is_right, "host:port, or several with commas between", RULE);
        }
    }
    need_all(source, &["volume"], report);
}

/// Whether `text` is `host:port` or `[address]:port`; what the two are is not looked at.
fn is_host_and_port(text: &str) -> bool {
    let is_plain = |text: &str| !text.contains(['[', ']', ':']);
    match text.strip_prefix('[') {
        Some(rest) => rest
            .split_once("]:")
            .is_some_and(|(address, port)| !address.contains(['[', ']']) && is_plain(port)),
        None => text.split_once(':').is_some_and(|(host, port)| is_plain(host) && is_plain(port)),
    }
}

fn check_fibre_channel(source: &At<'_, '_>, report: &mut Report) {
    let (targets, lun) = (source.child("targetWWNs"), source.child("lun"));
    match (targets.list().is_empty(), source.child("wwids").list().is_empty()) {
        (true, true) => report.required(&targets, "targetWWNs or wwids", RULE),
        (false, false) => report.conflict(&targets, "given together with wwids, must be one of them", RULE),
        (true, false) | (false, true) => {}
    }
    if !targets.list().is_empty() {
        if lun.is_present() {
            report.expect_number(&lun, is_byte, BYTE, RULE);
        } else {
            report.required(&lun, "the logical unit of the targets", RULE);
        }
    }
}

fn check_flex(source: &At<'_, '_>, report: &mut Report) {
    need_all(source, &["driver"], report);
    for (key, option) in source.child("options").entries() {
        let domain = key.split_once('/').map_or(key, |(domain, _)| domain);
        let domain = format!(".{}", domain.to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let detail = format!("found the key {key:?}, must be outside of kubernetes.io and k8s.io");
            report.conflict(&option, detail, RULE);
        }
    }
}

fn check_azure_disk(source: &At<'_, '_>, report: &mut Report) {
    need_all(source, &["diskName", "diskURI"], report);
    let (mode, kind, uri) = (source.child("cachingMode"), source.child("kind"), source.child("diskURI"));
    if mode.is_present() {
        report.one_of(&mode, &CACHING_MODES, RULE);
    }
    if kind.is_present() {
        report.one_of(&kind, &DISK_KINDS, RULE);
        let prefix = if kind.text() == "Managed" { "/subscriptions/" } else { "https://" };
        if !uri.text().starts_with(prefix) {
            report.unsupported(&uri, &[&format!("{prefix}<rest>")], RULE);
        }
    }
}
