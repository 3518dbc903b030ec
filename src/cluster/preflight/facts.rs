//! What the checks may know: objects as the API server sends them, and the answers to trials.

use serde::Serialize;
use serde_json::Value;

use super::trial::{PodTrial, SetTrial};

/// What was found where something was asked for.
#[derive(Debug, Clone, Default)]
pub enum Fetched<T> {
    /// It is there.
    Found(T),
    /// It is not there.
    #[default]
    Absent,
    /// The API server would not tell, and why.
    Refused(String),
}

impl<T> Fetched<T> {
    /// The value, if it is there.
    #[must_use]
    pub fn get(&self) -> Option<&T> {
        match self {
            Self::Found(found) => Some(found),
            Self::Absent | Self::Refused(_) => None,
        }
    }
}

/// Name of the Deployment and the ServiceAccount of the controller.
pub const CONTROLLER: &str = "sidecarset-controller";

/// Whether sidecarset is installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It is about to be.
    Before,
    /// It should be there and work.
    After,
}

/// Names of our objects.
#[derive(Debug, Clone)]
pub struct Target {
    /// Namespace of our own objects.
    pub namespace: String,
    /// Name of the Service, the Deployment and the ServiceAccount.
    pub service: String,
    /// Names of our mutating and validating webhook configurations.
    pub webhook_configurations: Vec<String>,
}

impl Target {
    /// The name that the API server expects in the serving certificate.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.service, self.namespace)
    }

    /// `NAMESPACE/NAME` of the Service.
    #[must_use]
    pub fn service_name(&self) -> String {
        format!("{}/{}", self.namespace, self.service)
    }
}

/// The version of the API server.
#[derive(Debug, Clone, Default)]
pub struct Version {
    /// As it says, for example `v1.36.3`.
    pub git_version: String,
    /// The second number of it.
    pub minor: u32,
}

/// What somebody needs a right for, and whether he has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The right, as `kubectl auth can-i` takes it.
    pub right: Right,
    /// The answer; `Err` if the API server gave none.
    pub allowed: Result<bool, String>,
}

/// Whether somebody may make roles and bindings: the API server refuses those that give more than their maker has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Gifts {
    /// Rights that lift this limit: `escalate` and `bind`.
    pub unlimited: Vec<Asked>,
    /// Without them: the rights that the roles give.
    pub held: Vec<Asked>,
}

/// A right to one call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Right {
    /// `get`, `create` and so on.
    pub verb: &'static str,
    /// API group, empty for the first one.
    pub group: &'static str,
    /// Plural name of the kind, with a subresource as in `pods/status`.
    pub resource: &'static str,
    /// Name of the one object, empty for all.
    pub name: String,
    /// Namespace, empty for kinds without.
    pub namespace: String,
    /// What does not work without it.
    pub needed_for: &'static str,
}

/// Everything that the checks know. Built by [`super::fetch::facts`], or by hand in tests.
#[derive(Debug)]
pub struct Facts {
    /// Names of our objects.
    pub target: Target,
    /// What is expected to be there.
    pub phase: Phase,
    /// Seconds since 1970.
    pub now_unix: i64,
    /// The API server's version.
    pub version: Version,
    /// Versions of `admissionregistration.k8s.io` that are served.
    pub admission_versions: Vec<String>,
    /// Versions of `apps.kruise.io` that are served.
    pub set_versions: Vec<String>,
    /// The definition of SidecarSet.
    pub definition: Fetched<Value>,
    /// All mutating webhook configurations.
    pub mutating: Fetched<Vec<Value>>,
    /// All validating webhook configurations.
    pub validating: Fetched<Vec<Value>>,
    /// Deployments named as the manager of OpenKruise.
    pub kruise_managers: Fetched<Vec<Value>>,
    /// What the caller may do, of what an install needs. Asked for before the install.
    pub caller_rights: Vec<Asked>,
    /// Which rights the caller may give away. Asked for before the install.
    pub caller_gifts: Gifts,
    /// What the webhook may do, of what it needs. Asked for after the install.
    pub webhook_rights: Vec<Asked>,
    /// What the controller may do, of what it needs. Asked for after the install, where there is one.
    pub controller_rights: Vec<Asked>,
    /// Our namespace.
    pub namespace: Fetched<Value>,
    /// Name of the namespace of ControllerRevisions, and the namespace.
    pub revision_namespace: (String, Fetched<Value>),
    /// The Deployment of the webhook.
    pub deployment: Fetched<Value>,
    /// The Deployment of the controller.
    pub controller: Fetched<Value>,
    /// How many SidecarSets are stored. Asked for after the install.
    pub sets: Fetched<u64>,
    /// The Service of the webhook.
    pub service: Fetched<Value>,
    /// The EndpointSlices of the Service.
    pub endpoint_slices: Fetched<Vec<Value>>,
    /// Name of the Secret with the serving certificate, and its `tls.crt`; never its key.
    pub serving: (String, Fetched<String>),
    /// A Pod that was tried.
    pub pod_trial: Option<PodTrial>,
    /// SidecarSets that were tried.
    pub set_trial: Option<SetTrial>,
}
