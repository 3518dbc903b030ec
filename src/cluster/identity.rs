//! Who we are in the cluster: namespace and Pod.

use std::path::Path;

/// Where a Pod finds the name of its namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// Namespace of the manifests, for a process that is in none.
pub const DEFAULT_NAMESPACE: &str = "sidecarset-system";

/// The namespace and the name of the Pod that this process is, as Events and field managers tell them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Namespace of our own objects: Secret, Service, ControllerRevisions. Rule: I-CONST-15.
    pub namespace: String,
    /// Name of the Pod, else of the machine; for people to read.
    pub pod: String,
}

impl Identity {
    /// `namespace` if it is given, else that of the Pod, else [`DEFAULT_NAMESPACE`]; the Pod's name is that of its host.
    #[must_use]
    pub fn new(namespace: Option<String>) -> Self {
        let of_the_pod = || std::fs::read_to_string(Path::new(NAMESPACE_FILE)).ok();
        let namespace = namespace
            .or_else(of_the_pod)
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty())
            .unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let host = std::env::var("HOSTNAME").ok().or_else(|| std::fs::read_to_string("/etc/hostname").ok());
        let pod = host.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty());
        Self { namespace, pod: pod.unwrap_or_else(|| "sidecarset".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_given_namespace_counts() {
        assert_eq!(Identity::new(Some(" kruise-system\n".to_owned())).namespace, "kruise-system");
        assert!(!Identity::new(None).pod.is_empty());
    }
}
