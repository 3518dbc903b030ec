//! The control plane itself: it runs Pods, and nothing of it is left when it ends.

use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::control_plane::ControlPlane;
use crate::poll;
use crate::supervisor::{Network, Supervisor};

#[test]
#[ignore = "needs a control plane: make test"]
fn a_pod_becomes_ready() {
    let kubectl = ControlPlane::shared().namespace("plain-pod", json!({}));
    kubectl.ok(&["run", "plain", "--image=shop:1"]);
    kubectl.ok(&["wait", "--for=condition=Ready", "pod/plain", "--timeout=60s"]);
    let pod = kubectl.json(&["get", "pod", "plain"]);
    assert_eq!(pod["spec"]["nodeName"], "node-1");
    assert_eq!(pod["status"]["containerStatuses"][0]["image"], "shop:1");
    kubectl.ok(&["delete", "pod", "plain", "--timeout=60s"]);
}

#[test]
#[ignore = "needs a control plane: make test"]
fn a_dropped_control_plane_leaves_no_process_and_no_data() {
    let plane = ControlPlane::in_own_network("dropped", &[Ipv4Addr::new(10, 1, 0, 1)]).unwrap();
    let folder = plane.folder.clone();
    assert_ne!(programs_of(&folder), Vec::<String>::new());
    drop(plane);
    assert_eq!(programs_of(&folder), Vec::<String>::new());
    assert!(!folder.join("data").exists());
    assert!(folder.join("apiserver.log").is_file(), "the logs stay");
}

#[test]
#[ignore = "needs a control plane: make test"]
fn a_supervisor_whose_input_ends_stops_what_ignores_sigterm_last_started_first() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("supervisor-{}", std::process::id()));
    std::fs::create_dir_all(folder.join("data")).unwrap();
    let supervisor = Supervisor::new(&folder, Network::Shared).unwrap();
    let order = folder.join("order").display().to_string();
    let says = |name: &str| {
        let script = format!("trap 'echo {name} >>\"$0\"; exit 7' TERM; while :; do sleep 0.05; done");
        ["sh", "-c", &script, &order].map(str::to_owned)
    };
    supervisor.start("first", &says("first")).unwrap();
    supervisor.start("second", &says("second")).unwrap();
    let third = supervisor.start("third", &says("third")).unwrap();
    assert!(!Supervisor::ended(third));
    let ended = supervisor.start("short", &["true".to_owned()]).unwrap();
    poll::until("the end of `true`", Duration::from_secs(10), || {
        if Supervisor::ended(ended) { Ok(()) } else { Err("it runs".to_owned()) }
    })
    .unwrap();
    assert_eq!(supervisor.stop("third"), Ok(7), "the exit status of the program");
    drop(supervisor);
    assert_eq!(std::fs::read_to_string(&order).unwrap(), "third\nsecond\nfirst\n");
    std::fs::remove_dir_all(&folder).unwrap();
}

/// The command lines that name a folder.
fn programs_of(folder: &Path) -> Vec<String> {
    let name = folder.display().to_string();
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(&name))
        .collect()
}
