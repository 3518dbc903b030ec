//! Projected volumes: several sources in one folder.

use std::collections::HashSet;

use super::super::at::At;
use super::super::references::{self, FILE_PATH};
use super::super::report::Report;
use super::super::selectors;
use super::{check_item, check_mode};
use crate::api::names::{is_dns_label, is_dns_subdomain, is_unreserved_path};

const SOURCES: [&str; 5] =
    ["secret", "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle"];
/// How long a token may live, in seconds.
const MIN_EXPIRATION: i64 = 600;
const MAX_EXPIRATION: i64 = 1 << 32;
const SIGNER: &str = "a signer such as \"example.com/signer-name\"";
const BUNDLE: &str = "the name of a trust bundle, such as \"bundle\" or \"example.com:signer:bundle\"";

/// Checks the sources. All but tokens must write different files.
///
/// Rule: A-CORE-17, A-CORE-22.
pub(super) fn check(projected: &At<'_, '_>, report: &mut Report) {
    check_mode(&projected.child("defaultMode"), "A-CORE-17", report);
    let mut files = HashSet::new();
    for source in projected.child("sources").items() {
        let kinds = SOURCES.iter().filter(|name| source.child(name).is_present()).count();
        if kinds > 1 {
            report.forbidden(&source, format!("has {kinds} sources, must have one"), "A-CORE-22");
        }
        for name in ["secret", "configMap"] {
            check_items(&source.child(name), projected, &mut files, report);
        }
        check_downward(&source.child("downwardAPI"), projected, &mut files, report);
        check_token(&source.child("serviceAccountToken"), projected, report);
        let bundle = source.child("clusterTrustBundle");
        if bundle.is_present() {
            check_bundle(&bundle, report);
            claim_file(bundle.text_at("path"), projected, &mut files, "A-CORE-26", report);
        }
    }
}

/// Reports a file that another source writes too.
fn claim_file<'v>(
    path: &'v str,
    projected: &At<'_, '_>,
    files: &mut HashSet<&'v str>,
    rule: &'static str,
    report: &mut Report,
) {
    if !path.is_empty() && !files.insert(path) {
        report.conflict(projected, format!("the file {path:?} is written twice, must be unique"), rule);
    }
}

/// Rule: A-CORE-23.
fn check_items<'v>(
    source: &At<'v, '_>,
    projected: &At<'_, '_>,
    files: &mut HashSet<&'v str>,
    report: &mut Report,
) {
    const RULE: &str = "A-CORE-23";
    if !source.is_present() {
        return;
    }
    report.need(&source.child("name"), "the name of the object to show", RULE);
    for item in source.child("items").items() {
        check_item(&item, report);
        claim_file(item.text_at("path"), projected, files, RULE, report);
    }
}

/// Rule: A-CORE-24.
fn check_downward<'v>(
    source: &At<'v, '_>,
    projected: &At<'_, '_>,
    files: &mut HashSet<&'v str>,
    report: &mut Report,
) {
    for file in source.child("items").items() {
        references::check_file(&file, source, report);
        claim_file(file.text_at("path"), projected, files, "A-CORE-24", report);
    }
}

/// The path of a token is reported on the volume itself.
///
/// Rule: A-CORE-25.
fn check_token(token: &At<'_, '_>, projected: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-25";
    if !token.is_present() {
        return;
    }
    let expiration = token.child("expirationSeconds");
    let fits = |seconds| (MIN_EXPIRATION..=MAX_EXPIRATION).contains(&seconds);
    report.expect_number(&expiration, fits, "from 600 to 4294967296 seconds", RULE);
    let path = token.child("path");
    report.need_text(&projected.child("path").holding(&path), is_unreserved_path, FILE_PATH, RULE);
}

/// Rule: A-CORE-26.
fn check_bundle(bundle: &At<'_, '_>, report: &mut Report) {
    const RULE: &str = "A-CORE-26";
    let (name, signer) = (bundle.child("name"), bundle.child("signerName"));
    let selector = bundle.child("labelSelector");
    match (name.is_present(), signer.is_present()) {
        (true, true) => report.conflict(bundle, "has name and signerName, must have one of them", RULE),
        (false, false) => report.required(bundle, "name or signerName", RULE),
        (true, false) => {
            report.need(&name, BUNDLE, RULE);
            report.expect(&name, is_bundle_name, BUNDLE, RULE);
            if selector.is_present() {
                report.conflict(&selector, "may not be given together with name", RULE);
            }
        }
        (false, true) => {
            report.need_text(&signer, is_signer_name, SIGNER, RULE);
            selectors::check(&selector, RULE, report);
        }
    }
    let path = bundle.child("path");
    report.need_text(&path, is_unreserved_path, FILE_PATH, RULE);
}

/// Whether `text` names a trust bundle: a DNS subdomain, behind the name of its signer if it has one.
fn is_bundle_name(text: &str) -> bool {
    is_dns_subdomain(text.rsplit_once(':').map_or(text, |(_, name)| name))
}

/// Whether `text` is a domain of at least two DNS labels, `/` and a DNS subdomain.
fn is_signer_name(text: &str) -> bool {
    text.split_once('/').is_some_and(|(domain, path)| {
        domain.contains('.')
            && is_dns_subdomain(domain)
            && domain.split('.').all(is_dns_label)
            && is_dns_subdomain(path)
    })
}
