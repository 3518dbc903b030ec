//! The image's final stage put together by hand and run as a container runtime would: a folder with nothing but the program as
//! the root, read-only, as the user of the image and without capabilities. There is no container runtime where tests run.

use std::env;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::control_plane::ControlPlane;
use crate::packages::repository;

/// Nothing in the folder but the program, its sets and its certificate, and nothing of it can be written.
#[test]
#[ignore = "needs a control plane: make test"]
fn the_image_serves_a_folder_of_sidecarsets() {
    if !may_play_node() {
        return;
    }
    let plane = ControlPlane::shared();
    let folder = plane.folder.join("data/image_folder");
    let root = Root::new(&folder);
    for entry in fs::read_dir(repository("examples/sidecarsets")).unwrap() {
        let file = entry.unwrap();
        let name = file.file_name().into_string().unwrap();
        root.put(&format!("/etc/sidecarset/sidecarsets/{name}"), &fs::read(file.path()).unwrap());
    }
    let pair = plane.folder.join("data/image_pair");
    plane.authority.server(&pair, &["127.0.0.1"]).unwrap();
    for file in ["tls.crt", "tls.key"] {
        root.put(&format!("/etc/sidecarset/tls/{file}"), &fs::read(pair.join(file)).unwrap());
    }

    let args = [
        "webhook",
        "--sidecarsets=/etc/sidecarset/sidecarsets",
        "--cert-dir=/etc/sidecarset/tls",
        "--listen=127.0.0.1:0",
        "--probe-listen=127.0.0.1:0",
        "--shutdown-delay=0s",
    ]
    .map(str::to_owned);
    let pid = plane.supervisor.start("image_folder", &root.command(&[], &args)).unwrap();
    let mut url = String::new();
    plane
        .await_ready("image_folder", pid, || {
            let log = plane.supervisor.log("image_folder");
            let (_, line) = log.rsplit_once("ready: ").ok_or("no line that says so")?;
            url = line.split_whitespace().next().unwrap_or_default().to_owned();
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for line in ["Uid:\t65532\t65532\t65532\t65532", "CapEff:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.contains(line), "no {line} in {status}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap();
    let mounted: Vec<&str> = mounts.lines().filter(|line| line.split(' ').nth(1) == Some("/")).collect();
    assert!(mounted.iter().all(|line| line.contains(" ro")) && !mounted.is_empty(), "{mounts}");

    let answer = plane
        .http_post(&url, &plane.authority.certificate(), &repository("examples/review.json"))
        .unwrap_or_else(|error| panic!("{error}\n{}", plane.supervisor.log_tail("image_folder")));
    assert!(answer.contains(r#""patchType":"JSONPatch""#), "{answer}");
    assert_eq!(plane.supervisor.stop("image_folder"), Ok(0));
}

/// Whether this machine lets a test give a program a root folder and a network. Says so loudly where it does not and need not.
///
/// # Panics
/// Where it does not and the cluster tier is required.
#[track_caller]
pub(crate) fn may_play_node() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let spaces = Command::new("unshare").args(["--mount", "--net", "--", "true"]).output();
    let may = root && spaces.is_ok_and(|output| output.status.success());
    if !may {
        let reason = "it needs root, to give a container a root folder and a network";
        assert!(env::var("CLUSTER").is_ok_and(|cluster| cluster == "auto"), "{reason}");
        // Past the capture of test output: nobody should believe that this ran.
        let _ = writeln!(std::io::stderr(), "DID NOT RUN: a test of the image: {reason}");
    }
    may
}

/// A folder like the file system of a container.
pub(crate) struct Root {
    folder: PathBuf,
}

impl Root {
    /// With the program that `IMAGE_PROGRAM` names, which must be static as the image's is and so needs nothing else; or with
    /// the test's own build and the libraries of this machine that it is linked to.
    #[track_caller]
    pub(crate) fn new(folder: &Path) -> Self {
        let root = Self { folder: folder.to_owned() };
        let given = env::var_os("IMAGE_PROGRAM").filter(|path| !path.is_empty()).map(PathBuf::from);
        let program = given.clone().unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_sidecarset")));
        let linked = Command::new("ldd").arg(&program).output().unwrap();
        let told = String::from_utf8_lossy(&linked.stdout).into_owned();
        let libraries: Vec<&str> = told.split_whitespace().filter(|word| word.starts_with('/')).collect();
        assert!(given.is_none() || libraries.is_empty(), "{} is not static: {told}", program.display());
        for library in libraries {
            root.put(library, &fs::read(library).unwrap());
        }
        root.put("/sidecarset", &fs::read(&program).unwrap());
        root
    }

    /// Puts a file that everybody may read and run, as a mounted volume has it.
    #[track_caller]
    pub(crate) fn put(&self, path: &str, content: &[u8]) {
        let inside = self.folder.join(path.trim_start_matches('/'));
        fs::create_dir_all(inside.parent().unwrap()).unwrap();
        fs::write(&inside, content).unwrap();
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The words that run the program of the image with these variables and arguments.
    pub(crate) fn command(&self, env: &[(&str, &str)], args: &[String]) -> Vec<String> {
        let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
        let enter = repository("tests/image/enter").display().to_string();
        let mut words = vec!["env".to_owned(), "-i".to_owned(), path];
        words.extend(env.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend([enter, self.folder.display().to_string(), "/sidecarset".to_owned()]);
        words.extend_from_slice(args);
        words
    }
}
