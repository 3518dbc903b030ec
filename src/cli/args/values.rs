//! What a value of a flag may be, and what is told when it is something else.

use std::net::SocketAddr;

use axum::http::Uri;
use sidecarset_core::api::names::{is_dns_label, is_dns_subdomain};
use sidecarset_core::api::quantity::Quantity;
use sidecarset_core::context::Features;
use tracing::level_filters::LevelFilter;

/// Values of the feature gates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Gates {
    /// Those that change what is injected.
    pub features: Features,
    /// A missing allow list allows every annotation (A-API-P2).
    pub patch_metadata_defaults_allowed: bool,
}

/// A Service with its namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceName {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

pub(super) fn parse_service(text: &str) -> Result<ServiceName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if is_dns_label(namespace) && is_dns_label(name) => {
            Ok(ServiceName { namespace: namespace.to_owned(), name: name.to_owned() })
        }
        _ => Err("write it as NAMESPACE/NAME, for example sidecarset-system/sidecarset-webhook".to_owned()),
    }
}

pub(super) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "write an IP address and a port, for example 0.0.0.0:10250 or [::]:10250".to_owned())
}

pub(super) fn parse_number<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (LEAST..=MOST).contains(number));
    number.ok_or_else(|| format!("write a number from {LEAST} to {MOST}"))
}

/// A number of bytes from `LEAST` to `MOST` MiB, as Kubernetes writes memory.
pub(super) fn parse_bytes<const LEAST: usize, const MOST: usize>(text: &str) -> Result<usize, String> {
    let bytes = Quantity::parse(text).ok().map(|quantity| quantity.milli_rounded_up() / 1000);
    let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
    let bytes = bytes.filter(|bytes| (LEAST << 20..=MOST << 20).contains(bytes));
    bytes.ok_or_else(|| format!("write a number of bytes from {LEAST}Mi to {MOST}Mi, for example 64Mi"))
}

pub(super) fn parse_host(text: &str) -> Result<String, String> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(text.to_owned());
    }
    Err("write a DNS name or an IP address, for example webhook.example.com".to_owned())
}

/// Without TLS: a collector is next to us, on the node or in the Pod, and speaks TLS to the outside itself.
pub(super) fn parse_collector(text: &str) -> Result<String, String> {
    let is_good = |uri: &Uri| {
        uri.scheme_str() == Some("http")
            && uri.host().is_some_and(|host| !host.is_empty())
            && uri.path() == "/"
    };
    if text.parse().is_ok_and(|uri: Uri| is_good(&uri)) {
        return Ok(text.to_owned());
    }
    Err("write an http:// URL with host and port and without a path, for example http://localhost:4318"
        .to_owned())
}

pub(super) fn parse_label(text: &str) -> Result<String, String> {
    if is_dns_label(text) {
        return Ok(text.to_owned());
    }
    Err("it has to be of a-z, 0-9 and - (not at an end), at most 63 characters".to_owned())
}

pub(super) fn parse_name(text: &str) -> Result<String, String> {
    if is_dns_subdomain(text) {
        return Ok(text.to_owned());
    }
    Err("it has to be of a-z, 0-9, - and . (not at an end), at most 253 characters".to_owned())
}

pub(super) fn parse_level(text: &str) -> Result<LevelFilter, String> {
    text.parse().map_err(|_| "known are off, error, warn, info, debug and trace".to_owned())
}

/// Names of the gate, ours first; the second is upstream's. Rule: I-CONST-17.
const SORT_GATES: [&str; 2] = ["SortSidecarContainers", "EnableSortSidecarContainerByName"];

/// Name of the gate, ours and upstream's. Rule: A-API-P2.
const ALLOW_LIST_GATE: &str = "SidecarSetPatchPodMetadataDefaultsAllowed";

pub(super) fn parse_feature_gates(text: &str) -> Result<Gates, String> {
    let mut gates = Gates::default();
    for gate in text.split(',').map(str::trim).filter(|gate| !gate.is_empty()) {
        let (name, value) =
            gate.split_once('=').ok_or_else(|| format!("{gate:?} has no value; write {gate}=true"))?;
        let value = match value.to_ascii_lowercase().as_str() {
            "true" => true,
            "false" => false,
            _ => return Err(format!("{name} is {value:?}; it can be true or false")),
        };
        if SORT_GATES.contains(&name) {
            gates.features.sort_sidecar_containers = value;
        } else if name == ALLOW_LIST_GATE {
            gates.patch_metadata_defaults_allowed = value;
        } else {
            let [ours, upstreams] = SORT_GATES;
            return Err(format!(
                "unknown gate {name:?}; known are {ours} (upstream's name {upstreams} is accepted) and {ALLOW_LIST_GATE}"
            ));
        }
    }
    Ok(gates)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rule: I-CONST-17.
    #[test]
    fn gates_are_known_by_both_names() {
        for gate in SORT_GATES {
            let on = parse_feature_gates(&format!("{gate}=true")).expect("known");
            assert!(on.features.sort_sidecar_containers);
            assert!(
                !parse_feature_gates(&format!("{gate}=true,{gate}=False"))
                    .expect("known")
                    .features
                    .sort_sidecar_containers
            );
        }
        assert_eq!(parse_feature_gates(""), Ok(Gates::default()));
        let on = parse_feature_gates("SidecarSetPatchPodMetadataDefaultsAllowed=true").expect("known");
        assert!(on.patch_metadata_defaults_allowed && !on.features.sort_sidecar_containers);
    }

    #[test]
    fn bytes_are_written_as_memory_is() {
        let parse = parse_bytes::<32, 1024>;
        for (text, bytes) in
            [("32Mi", 32 << 20), ("1Gi", 1 << 30), ("100663296", 96 << 20), ("64M", 64_000_000)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "31Mi", "33554431", "1025Mi", "-64Mi", "64MiB", "64 Mi", "9e30"] {
            assert!(parse(text).is_err_and(|told| told.contains("from 32Mi to 1024Mi")), "{text}");
        }
    }

    #[test]
    fn wrong_gates_say_what_would_be_right() {
        for (text, hint) in [
            ("Nope=true", "known are SortSidecarContainers"),
            ("SortSidecarContainers", "=true"),
            ("SortSidecarContainers=1", "true or false"),
        ] {
            assert!(parse_feature_gates(text).is_err_and(|message| message.contains(hint)), "{text}");
        }
    }
}
