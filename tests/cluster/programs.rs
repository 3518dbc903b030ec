//! Where the programs of the control plane are.

use std::env;
use std::path::{Path, PathBuf};

/// envtest's convention: a folder with `etcd`, `kube-apiserver`, `kubectl`, and maybe more.
const ASSETS: &str = "KUBEBUILDER_ASSETS";

/// The path of a program: from the folder named by `KUBEBUILDER_ASSETS`, else from what
/// `tests/control-plane/build` built.
///
/// # Errors
/// Which program is missing, where it was looked for, and what puts it there.
pub(crate) fn path(name: &str) -> Result<PathBuf, String> {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/bin");
    let assets = env::var_os(ASSETS).filter(|folder| !folder.is_empty()).map(PathBuf::from);
    let folders: Vec<PathBuf> = assets.into_iter().chain([built]).collect();
    folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file()).ok_or_else(|| {
        let looked: Vec<String> = folders.iter().map(|folder| folder.display().to_string()).collect();
        format!(
            "the control plane needs `{name}`, which is not in {}; run tests/control-plane/build (it needs Go), or let \
             {ASSETS} name a folder which has it",
            looked.join(" nor in ")
        )
    })
}
