//! Mounts and devices that sidecars share with app containers.

use crate::content::Fragment;
use crate::injection::{Filling, env};
use crate::json::{JsonError, WithText};
use crate::pod::{ContainerView, EnvView, MountView};

/// What the app containers have to share, in their order. Containers that are marked as injected and the Pod's init
/// containers share nothing. Rules: I-VOL-5, I-VOL-9.
pub(crate) struct Sharing<'a> {
    mounts: Vec<SharedMount<'a>>,
    devices: Vec<WithText<'a, MountView<'a>>>,
}

struct SharedMount<'a> {
    mount: WithText<'a, MountView<'a>>,
    /// Variables that its `subPathExpr` refers to, from the same container (I-VOL-8).
    env: Vec<WithText<'a, EnvView<'a>>>,
}

impl<'a> Sharing<'a> {
    /// Reads the app containers.
    ///
    /// # Errors
    ///
    /// A member of the wrong type (I-CALL-11).
    pub(crate) fn read(containers: &[WithText<'a, ContainerView<'a>>]) -> Result<Self, JsonError> {
        let mut sharing = Self { mounts: Vec::new(), devices: Vec::new() };
        for container in containers {
            let container = &container.value;
            if container.is_marked_injected()? {
                continue;
            }
            for mount in container.volume_mounts()?.0 {
                let expression = mount.value.sub_path_expr();
                let mut env = Vec::new();
                if expression.contains("$(") {
                    let own = container.env()?;
                    env.extend(
                        env::references(expression).filter_map(|name| env::first(&own, name).cloned()),
                    );
                }
                sharing.mounts.push(SharedMount { mount, env });
            }
            sharing.devices.extend(container.volume_devices()?.0);
        }
        Ok(sharing)
    }

    /// Adds to a fragment what it does not have yet: a path counts once, over mounts and devices, the fragment's own first.
    /// Variables of a mount are copied also when the mount itself is not.
    ///
    /// Rules: I-VOL-6, I-VOL-7, I-VOL-8, I-VOL-10, I-VOL-11.
    pub(crate) fn fill(
        &self,
        fragment: &'a Fragment,
        filling: &mut Filling<'a>,
        mut add_env: impl FnMut(&WithText<'a, EnvView<'a>>),
    ) {
        let own = fragment.mounts.keys.iter().chain(&fragment.devices.keys).map(|path| &**path);
        let mut used: rustc_hash::FxHashSet<&str> = own.collect();
        if fragment.shares_mounts {
            for SharedMount { mount, env } in &self.mounts {
                env.iter().for_each(&mut add_env);
                if used.insert(mount.value.path()) {
                    filling.mounts.push(mount.text);
                }
            }
        }
        if fragment.shares_devices {
            for device in &self.devices {
                if used.insert(device.value.path()) {
                    filling.devices.push(device.text);
                }
            }
        }
    }
}
