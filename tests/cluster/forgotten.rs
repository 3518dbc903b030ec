//! 410 Gone of a real API server: what a watch has missed is not known any more, and everything is read again.

use std::time::Duration;

use serde_json::json;
use tokio::runtime::Runtime;

use crate::cluster_mode::{containers, install_definition, mk_shop_set};
use crate::control_plane::ControlPlane;
use crate::poll;
use crate::proxy::Proxy;
use crate::webhook::Webhook;

const OURS: &str = "sidecarset-system";

/// Without the API server's own cache a watch goes on in etcd, which forgets what was before a compaction. With it, an API server
/// mostly remembers more than a test can change.
#[test]
#[ignore = "needs a control plane: make test"]
fn what_the_api_server_has_forgotten_is_read_again() {
    let plane = ControlPlane::with_flags("forgotten", &["--watch-cache=false"]).unwrap();
    let runtime = Runtime::new().unwrap();
    let proxy = runtime.block_on(Proxy::start(plane.server()));
    install_definition(&plane.kubectl);
    plane.namespace(OURS, json!({}));
    let kubectl = plane.namespace("shop", json!({}));
    let [goes, changes] = [("goes", "one"), ("changes", "two")].map(|(set, name)| mk_shop_set(set, name));
    plane.kubectl.create(&[goes, changes]);
    let serving = plane.folder.join("serving");
    plane.authority.server(&serving, &["127.0.0.1"]).unwrap();
    let args = [
        format!("--kubeconfig={}", plane.kubeconfig_by("forgetful", &proxy.url()).display()),
        format!("--namespace={OURS}"),
        format!("--cert-dir={}", serving.display()),
    ];
    let webhook = Webhook::launch(&plane, "forgotten", &args, plane.authority.certificate());
    webhook.await_ready();
    webhook.register(&kubectl);
    let old = ["probe", "two", "one"];
    assert_eq!(containers(&kubectl, "probe").unwrap(), old);

    proxy.close();
    plane.kubectl.ok(&["delete", "sidecarset", "goes"]);
    let image = r#"{"spec":{"containers":[{"name":"deux","image":"registry.example/agent:2"}]}}"#;
    plane.kubectl.ok(&["patch", "sidecarset", "changes", "--type=merge", "--patch", image]);
    plane.kubectl.create(&[mk_shop_set("new", "three")]);
    plane.compact_etcd().unwrap();
    for _ in 0..5 {
        assert_eq!(containers(&kubectl, "probe").unwrap(), old, "the state before is served");
    }

    proxy.open();
    let new = ["probe", "deux", "three"];
    poll::until("the new list", Duration::from_secs(30), || {
        let found = containers(&kubectl, "probe")?;
        // One or the other, and nothing between them.
        assert!(found == old || found == new, "{found:?}");
        if found == new { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", webhook.log()));
    let log = webhook.whole_log();
    let told = |line: &str| line.contains("has forgotten where the watch was") && line.contains("SidecarSet");
    assert!(log.lines().any(told), "it was no 410: {log}");
    assert_eq!(webhook.metric("sidecarset_sidecarsets ").unwrap(), 2.0);
}
