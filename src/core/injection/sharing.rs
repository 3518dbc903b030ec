//! Mounts and devices that sidecars share with app containers.

use std::borrow::Cow;

use rustc_hash::FxHashSet;

use crate::content::Fragment;
use crate::injection::{Filling, Taken, env};
use crate::json::{JsonError, WithText};
use crate::pod::ContainerView;

/// What the app containers have to share, in their order. Containers that are marked as injected and the Pod's init
/// containers share nothing. Rules: I-VOL-5, I-VOL-9.
pub(crate) struct Sharing<'a> {
    mounts: Vec<SharedMount<'a>>,
    devices: Vec<Taken<'a>>,
}

struct SharedMount<'a> {
    mount: Taken<'a>,
    /// Variables that its `subPathExpr` refers to, from the same container (I-VOL-8).
    env: Vec<Taken<'a>>,
}

impl<'a> Sharing<'a> {
    /// Reads the app containers.
    ///
    /// # Errors
    ///
    /// A member of the wrong type (I-CALL-11).
    pub(crate) fn read(containers: &'a [WithText<'a, ContainerView<'a>>]) -> Result<Self, JsonError> {
        let mut sharing = Self { mounts: Vec::new(), devices: Vec::new() };
        for WithText { value: container, .. } in containers {
            if container.is_marked_injected()? {
                continue;
            }
            let from = || Cow::Borrowed(container.name());
            for WithText { text, value: mount } in container.volume_mounts()?.0 {
                let expression = mount.sub_path_expr();
                let mut env = Vec::new();
                if expression.contains("$(") {
                    let own = container.env()?;
                    let found = env::references(expression).filter_map(|name| env::first(&own, name));
                    env.extend(found.map(|entry| Taken {
                        text: entry.text,
                        key: entry.value.key(),
                        from: from(),
                    }));
                }
                sharing
                    .mounts
                    .push(SharedMount { mount: Taken { text, key: mount.into_path(), from: from() }, env });
            }
            let devices = container.volume_devices()?.0.into_iter();
            let taken =
                devices.map(|item| Taken { text: item.text, key: item.value.into_path(), from: from() });
            sharing.devices.extend(taken);
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
        mut add_env: impl FnMut(&Taken<'a>),
    ) {
        let own = fragment.mounts.keys.iter().chain(&fragment.devices.keys).map(|path| &**path);
        let mut used: FxHashSet<&str> = own.collect();
        if fragment.shares_mounts {
            for SharedMount { mount, env } in &self.mounts {
                env.iter().for_each(&mut add_env);
                if used.insert(&mount.key) {
                    filling.mounts.push(mount.clone());
                }
            }
        }
        if fragment.shares_devices {
            let new = self.devices.iter().filter(|device| used.insert(&device.key));
            filling.devices.extend(new.cloned());
        }
    }
}
