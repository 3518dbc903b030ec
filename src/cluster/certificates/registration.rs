//! The objects that make an API server call us: webhook configurations and the CustomResourceDefinition. Only what is needed of
//! them is decoded, which keeps the schema of the definition out of memory.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::DynamicResourceScope;
use kube::discovery::ApiResource;
use serde::Deserialize;
use serde_json::{Value, json};

use super::BUNDLE_MANAGER;
use crate::tls::managed::authority::CaCertificate;
use crate::tls::managed::spread::{Bundle, Seen};

/// One of the objects.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Registration {
    metadata: ObjectMeta,
    /// Of a webhook configuration.
    #[serde(default)]
    webhooks: Vec<Webhook>,
    /// Of a CustomResourceDefinition.
    #[serde(default)]
    spec: Spec,
}

#[derive(Debug, Clone, Deserialize)]
struct Webhook {
    name: String,
    #[serde(rename = "clientConfig")]
    client: ClientConfig,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct Spec {
    conversion: Option<Conversion>,
}

#[derive(Debug, Clone, Deserialize)]
struct Conversion {
    webhook: Option<ConversionWebhook>,
}

#[derive(Debug, Clone, Deserialize)]
struct ConversionWebhook {
    #[serde(rename = "clientConfig")]
    client: Option<ClientConfig>,
}

#[derive(Debug, Clone, Deserialize)]
struct ClientConfig {
    service: Option<ServiceReference>,
    #[serde(rename = "caBundle")]
    ca_bundle: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct ServiceReference {
    namespace: String,
    name: String,
}

/// The Service by which we are called.
#[derive(Debug, Clone, Copy)]
pub(super) struct OurService<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl ClientConfig {
    /// A URL has no Service in it; whoever writes one into an object of ours means us.
    fn is_ours(&self, ours: OurService<'_>) -> bool {
        self.service
            .as_ref()
            .is_none_or(|service| service.namespace == ours.namespace && service.name == ours.name)
    }

    fn bundle(&self) -> Bundle {
        let text = self.ca_bundle.as_deref().unwrap_or_default();
        match STANDARD.decode(text) {
            Ok(pem) => Bundle::from_pem(&pem),
            Err(_) => Bundle { cas: Vec::new(), unreadable: true },
        }
    }
}

impl Registration {
    /// The bundles of our webhooks in it.
    pub(super) fn seen(&self, ours: OurService<'_>) -> Seen {
        let bundles: Vec<Bundle> = self.clients(ours).map(|(_, client)| client.bundle()).collect();
        // For example a definition of OpenKruise, which its own webhook converts.
        if bundles.is_empty() { Seen::Missing } else { Seen::Present(bundles) }
    }

    /// Whether a webhook of ours in it has another bundle than this.
    pub(super) fn differs(&self, ours: OurService<'_>, wanted: &[&CaCertificate]) -> bool {
        self.clients(ours).any(|(_, client)| !client.bundle().is(wanted))
    }

    /// What to apply so that our webhooks have this bundle. It carries the version of the object: an apply for an object that has gone
    /// would make one of nothing but bundles.
    pub(super) fn with_bundle(
        &self,
        kind: &ApiResource,
        ours: OurService<'_>,
        wanted: &[&CaCertificate],
    ) -> Value {
        let pem: String = wanted.iter().map(|ca| ca.pem()).collect();
        let client = json!({"caBundle": STANDARD.encode(pem)});
        let mut object = json!({
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "metadata": {
                "name": self.metadata.name,
                "uid": self.metadata.uid,
                "resourceVersion": self.metadata.resource_version,
            },
        });
        let names: Vec<&str> = self.clients(ours).filter_map(|(name, _)| name).collect();
        if names.is_empty() {
            object["spec"] = json!({"conversion": {"webhook": {"clientConfig": client}}});
        } else {
            object["webhooks"] =
                names.iter().map(|name| json!({"name": name, "clientConfig": client})).collect();
        }
        object
    }

    /// Who else has written a bundle of it, by name of the field manager.
    pub(super) fn other_writers(&self) -> Vec<&str> {
        let fields = self.metadata.managed_fields.iter().flatten();
        fields
            .filter(|entry| {
                entry.fields_v1.as_ref().is_some_and(|fields| names_member(&fields.0, "f:caBundle"))
            })
            .filter_map(|entry| entry.manager.as_deref())
            .filter(|manager| *manager != BUNDLE_MANAGER)
            .collect()
    }

    /// Our webhooks: their names, none in a CustomResourceDefinition.
    fn clients(&self, ours: OurService<'_>) -> impl Iterator<Item = (Option<&str>, &ClientConfig)> {
        let webhooks = self.webhooks.iter().map(|webhook| (Some(webhook.name.as_str()), &webhook.client));
        let conversion = self.spec.conversion.as_ref().and_then(|conversion| conversion.webhook.as_ref());
        let conversion = conversion.and_then(|webhook| webhook.client.as_ref()).map(|client| (None, client));
        webhooks.chain(conversion).filter(move |(_, client)| client.is_ours(ours))
    }
}

fn names_member(value: &Value, name: &str) -> bool {
    value
        .as_object()
        .is_some_and(|members| members.iter().any(|(key, value)| key == name || names_member(value, name)))
}

impl kube::Resource for Registration {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
