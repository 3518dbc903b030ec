//! A client that notices when the API server is heard of. Bookmarks are the only sign of life of a watch on which nothing happens, and
//! the watcher keeps them to itself; so the bytes are noticed on their way to it.

use std::sync::Arc;
use std::time::Instant;

use axum::http::{Request, Response};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;

use super::health::Health;
use crate::metrics::WatchedKind;

/// The same client, for one watch: what it hears goes into `health`.
///
/// A list is not good before it is whole, so of its pages only the success is told. A watch is good from its start on and with each
/// line that it brings, except for what says that it has to start over; the new list follows within seconds.
#[must_use]
pub(super) fn listening(client: &Client, namespace: &str, health: &Arc<Health>, kind: WatchedKind) -> Client {
    let (client, health) = (client.clone(), Arc::clone(health));
    let service = tower::service_fn(move |request: Request<Body>| {
        let (client, health) = (client.clone(), Arc::clone(&health));
        async move {
            let query = request.uri().query().unwrap_or_default();
            let is_watch = query.split('&').any(|part| part == "watch=true");
            let response = client.send(request).await?;
            let is_good = response.status().is_success();
            if is_good {
                health.answered(kind);
            }
            let hear = move || {
                if is_watch && is_good {
                    health.heard(kind, Instant::now());
                }
            };
            hear();
            let (head, body) = response.into_parts();
            let body = body.map_frame(move |frame| {
                hear();
                frame
            });
            Ok::<_, kube::Error>(Response::from_parts(head, body))
        }
    });
    Client::new(service, namespace)
}
