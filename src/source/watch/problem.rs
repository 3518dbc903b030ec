//! What is told about a watch that fails: what is missing, and what helps.

use kube::core::Status;
use kube::runtime::watcher;

use super::Scope;
use crate::causes::told;
use crate::metrics::WatchedKind;

/// Whether the API server only asks for a new list, as it does when a watch was away for longer than it remembers.
pub(super) fn is_new_start(error: &watcher::Error) -> bool {
    let status = match error {
        watcher::Error::WatchError(status) => status,
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status)) => status,
        _ => return false,
    };
    status.code == 410
}

/// The failure of a watch, for the log and `/readyz?verbose`.
pub(super) fn describe(kind: WatchedKind, scope: &Scope, error: &watcher::Error) -> String {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => return of_status(kind, scope, status),
        other @ watcher::Error::NoResourceVersion => return told(other),
    };
    match error {
        kube::Error::Api(status) => of_status(kind, scope, status),
        unreadable @ kube::Error::SerdeError(_) => {
            format!("the answer of the API server cannot be read: {}", told(unreadable))
        }
        other => format!("the API server cannot be reached: {}", told(other)),
    }
}

fn of_status(kind: WatchedKind, scope: &Scope, status: &Status) -> String {
    let Status { code, message, .. } = status;
    match (code, kind) {
        (404, WatchedKind::SidecarSet) => {
            "the API server does not know sidecarsets.apps.kruise.io in version v1beta1; \
             install the definition: sidecarset crd | kubectl apply --server-side -f -"
                .to_owned()
        }
        (403, _) => format!("{message}; {}", grant(kind, scope)),
        (401, _) => format!(
            "the API server does not accept our credentials ({message}); check the service account or --kubeconfig"
        ),
        (410, _) => {
            "the API server has forgotten where the watch was; it starts over with a new list".to_owned()
        }
        _ => format!("the API server answered {code}: {message}"),
    }
}

fn grant(kind: WatchedKind, scope: &Scope) -> String {
    let rule = match kind {
        WatchedKind::SidecarSet => {
            "list, watch sidecarsets.apps.kruise.io in the ClusterRole sidecarset-webhook".to_owned()
        }
        WatchedKind::Namespace => {
            "get, list, watch namespaces in the ClusterRole sidecarset-webhook".to_owned()
        }
        WatchedKind::ControllerRevision => format!(
            "list, watch controllerrevisions.apps in a Role sidecarset-webhook of namespace {}",
            scope.revision_namespace
        ),
        WatchedKind::ConfigMap => {
            format!("list, watch configmaps in a Role sidecarset-webhook of namespace {}", scope.namespace)
        }
    };
    format!("grant {rule}")
}
