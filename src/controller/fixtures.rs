//! For tests: a controller on an API server that the test plays itself.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use kube::Client;

use super::leader::Terms;
use super::{Controller, Settings};
use crate::cluster::client::Clients;
use crate::metrics::Metrics;

/// A controller that knows nothing yet and does not lead.
pub(super) fn controller(api_server: Router) -> Arc<Controller> {
    let settings = Settings {
        namespace: "ours".to_owned(),
        revision_namespace: "ours".to_owned(),
        lease: "lease".to_owned(),
        identity: "me".to_owned(),
        terms: Terms::default(),
        workers: 1,
        qps: 200,
        burst: 400,
        resync: Duration::from_secs(60),
        service: "webhook".to_owned(),
        webhook_configuration: "sidecarset".to_owned(),
        terminator: true,
    };
    let metrics = Metrics::for_controller("test").controller;
    let client = Client::new(api_server, "default");
    Controller::new(Clients { reads: client.clone(), writes: client }, Arc::default(), settings, metrics)
}
