//! The API server on cores of its own, as on a machine of its own: what is measured then is what the webhook does to itself.

use std::fs;
use std::process::Command;
use std::thread::available_parallelism;

use crate::control_plane::ControlPlane;

/// Moves etcd and API server to all cores but the first, and webhooks, proxy and load to the first. False if that cannot be done here.
pub(super) fn part(plane: &ControlPlane) -> bool {
    let count = available_parallelism().map_or(1, usize::from);
    if count < 2 {
        return false;
    }
    let (first, others) = ("0".to_owned(), format!("1-{}", count - 1));
    let folder = plane.folder.to_string_lossy().into_owned();
    let mut moved = vec![move_to(std::process::id(), &first)];
    for process in fs::read_dir("/proc").unwrap().filter_map(Result::ok) {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(command) = fs::read_to_string(process.path().join("cmdline")) else { continue };
        let program = command.split('\0').next().and_then(|path| path.rsplit('/').next()).unwrap_or_default();
        let cores = match program {
            "etcd" | "kube-apiserver" => &others,
            "sidecarset" => &first,
            _ => continue,
        };
        if command.contains(&folder) {
            moved.push(move_to(pid, cores));
        }
    }
    moved.len() > 4 && moved.into_iter().all(|is_moved| is_moved)
}

/// All threads of a process; those that it starts later follow.
fn move_to(pid: u32, cores: &str) -> bool {
    let moved = Command::new("taskset").args(["-apc", cores, &pid.to_string()]).output();
    moved.is_ok_and(|output| output.status.success())
}
