//! The machine of the API server vanishes: nothing is closed and nothing refused, packets get lost without a word.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::cluster_mode::{install_definition, mk_shop_set};
use crate::control_plane::ControlPlane;
use crate::own_network;
use crate::poll;
use crate::webhook::Webhook;

const API_SERVER: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 1);
/// `VANISHED_AFTER` of the client. Without probes the end of a watch, after two minutes, is the first sign.
const PROMISED: Duration = Duration::from_secs(30);
/// For the retry after it, and a machine that is busy.
const SLACK: Duration = Duration::from_secs(15);

#[test]
#[ignore = "needs a control plane: make test"]
fn watches_notice_an_api_server_that_vanishes() {
    own_network::run("vanished::watches_notice_an_api_server_that_vanishes", || {
        let plane = ControlPlane::in_this_network("vanished", &[API_SERVER]).unwrap();
        install_definition(&plane.kubectl);
        let serving = plane.folder.join("serving");
        plane.authority.server(&serving, &["127.0.0.1"]).unwrap();
        let args = [
            format!("--kubeconfig={}", plane.kubectl.kubeconfig.display()),
            "--namespace=sidecarset-system".to_owned(),
            format!("--cert-dir={}", serving.display()),
        ];
        let webhook = Webhook::launch(&plane, "vanished", &args, plane.authority.certificate());
        webhook.await_ready();
        plane.kubectl.create(&[mk_shop_set("before", "one")]);
        until_sets(&webhook, 1.0);

        let told = || webhook.whole_log().matches("the API server cannot be watched").count();
        assert_eq!(told(), 0, "{}", webhook.log());
        plane.cut_off(API_SERVER).unwrap();
        let vanished = Instant::now();
        poll::until("the watches to notice", PROMISED + SLACK, || match told() {
            0 => Err(webhook.log()),
            _ => Ok(()),
        })
        .unwrap_or_else(|error| panic!("{error}"));
        let noticed = vanished.elapsed();
        eprintln!("an API server that vanished was noticed after {noticed:.1?}");
        assert!(noticed > PROMISED / 3, "after {noticed:.1?}: somebody was told, so this proves nothing");

        plane.connect_again(API_SERVER).unwrap();
        poll::until("the API server", PROMISED, || {
            plane.kubectl.run(&["get", "--raw", "/readyz"]).map(|_| ())
        })
        .unwrap_or_else(|error| panic!("{error}"));
        plane.kubectl.create(&[mk_shop_set("after", "two")]);
        until_sets(&webhook, 2.0);
    });
}

#[track_caller]
fn until_sets(webhook: &Webhook<'_>, expected: f64) {
    let limit = Duration::from_secs(30);
    poll::until("the sets", limit, || match webhook.metric("sidecarset_sidecarsets ")? {
        found if (found - expected).abs() < 0.5 => Ok(()),
        found => Err(format!("{found} sets")),
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", webhook.log()));
}
