//! Reads one Namespace, metadata only, from the API server.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, Client};
use sidecarset_core::api::names::is_dns_label;
use sidecarset_core::snapshot::with_name_label;

use crate::causes;
use crate::source::namespace::{LiveRead, ReadError, ReadNamespace, ReadResult};

/// Live reads with a client.
#[derive(Clone)]
pub struct LiveNamespaces(Api<Namespace>);

impl LiveNamespaces {
    /// Reads with `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self(Api::all(client))
    }
}

impl std::fmt::Debug for LiveNamespaces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LiveNamespaces")
    }
}

impl ReadNamespace for LiveNamespaces {
    /// Decision: D-23.
    fn read(&self, name: &str) -> BoxFuture<'static, ReadResult> {
        let (api, name) = (self.0.clone(), name.to_owned());
        async move {
            if !is_dns_label(&name) {
                // No namespace has such a name, and it must not become a part of a path.
                return Ok(LiveRead::NotFound);
            }
            match api.get_metadata(&name).await {
                Ok(found) => {
                    let labels = found.metadata.labels.unwrap_or_default();
                    Ok(LiveRead::Labels(with_name_label(&name, labels.into_iter().collect()).into()))
                }
                // Only the API server itself gives this reason: the 404 of something in between says nothing about the namespace.
                Err(kube::Error::Api(status)) if status.code == 404 && status.reason == "NotFound" => {
                    Ok(LiveRead::NotFound)
                }
                Err(kube::Error::Api(status)) => {
                    let message = format!("the API server answered {}: {}", status.code, status.message);
                    Err(ReadError { message, retry: !matches!(status.code, 401 | 403) })
                }
                Err(error) => {
                    let message = format!("the API server cannot be reached: {}", causes::told(&error));
                    Err(ReadError { message, retry: true })
                }
            }
        }
        .boxed()
    }
}
