//! A test in a network namespace of its own: it runs itself again there, so that its own sockets are inside.

use std::env;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use crate::supervisor::own_network_flags;

/// Set in the process that runs inside.
const INSIDE: &str = "CLUSTER_TEST_INSIDE";

/// Runs `test`, whose path is `name`, in a network namespace of its own, and fails as it fails. Without the right to make one
/// it is an error, and with `CLUSTER=auto` a line that says so.
#[track_caller]
pub(crate) fn run(name: &str, test: impl FnOnce()) {
    if env::var_os(INSIDE).is_some() {
        thread::spawn(end_with_parent);
        return test();
    }
    let flags = match own_network_flags() {
        Ok(flags) => flags,
        Err(reason) if env::var("CLUSTER").is_ok_and(|cluster| cluster == "auto") => {
            // Past the capture of test output: nobody should believe that this ran.
            let _ = writeln!(std::io::stderr(), "DID NOT RUN: {name}: {reason}");
            return;
        }
        Err(reason) => panic!("{reason}"),
    };
    let mut inside = Command::new("unshare")
        .args(flags)
        .arg("--")
        .arg(env::current_exe().unwrap())
        .args(["--ignored", "--nocapture", "--exact", name])
        .env(INSIDE, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Waiting would close it.
    let _input = inside.stdin.take();
    let status = inside.wait().unwrap();
    assert!(status.success(), "{name} failed in its own network: {status}; its output is above");
}

/// The parent never writes; when it is gone, our input ends. Leaving ends what we started, see [`crate::supervisor`].
fn end_with_parent() {
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::exit(1);
}
