//! Mounts and devices that sidecars share with app containers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::content::Fragment;
use crate::injection::build::Earlier;
use crate::injection::{Filling, Taken, env};
use crate::json::{JsonError, WithText};
use crate::pod::ContainerView;

/// What the app containers have to share, in their order. Containers that are marked as injected or were injected earlier, and
/// the Pod's init containers share nothing. Rules: I-VOL-5, I-VOL-9. Decision: D-24.
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
    pub(crate) fn read(
        containers: &'a [WithText<'a, ContainerView<'a>>],
        earlier: &Earlier<'_>,
    ) -> Result<Self, JsonError> {
        let mut sharing = Self { mounts: Vec::new(), devices: Vec::new() };
        for WithText { value: container, .. } in containers {
            if container.is_marked_injected()? || earlier.has(container)? {
                continue;
            }
            // Read for the first mount that needs it: there may be many of both.
            let mut own_env = None;
            for WithText { text, value: mount } in container.volume_mounts()?.0 {
                let mut env = Vec::new();
                if mount.sub_path_expr().contains("$(") {
                    let own = match &mut own_env {
                        Some(own) => own,
                        empty => empty.insert(first_of_each_name(container)?),
                    };
                    env.extend(
                        env::references(mount.sub_path_expr()).filter_map(|name| own.get(name).cloned()),
                    );
                }
                let mount = Taken { text, key: mount.into_path(), from: container.name().into() };
                sharing.mounts.push(SharedMount { mount, env });
            }
            let devices = container.volume_devices()?.0.into_iter();
            sharing.devices.extend(devices.map(|WithText { text, value: device }| Taken {
                text,
                key: device.into_path(),
                from: container.name().into(),
            }));
        }
        Ok(sharing)
    }

    /// Adds to a fragment what it does not have yet: a path counts once, over mounts and devices, the fragment's own first.
    /// Variables of a mount are copied also when the mount itself is not.
    ///
    /// Rules: I-VOL-6, I-VOL-7, I-VOL-8, I-VOL-10, I-VOL-11, I-VOL-13.
    pub(crate) fn fill(
        &self,
        fragment: &'a Fragment,
        filling: &mut Filling<'a>,
        mut add_env: impl FnMut(&Taken<'a>),
    ) {
        let own = fragment.mounts.keys.iter().chain(&fragment.devices.keys).map(|path| &**path);
        let mut used: BTreeSet<&str> = own.collect();
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

/// The container's env by name; of several entries of one name the first counts. Rule: I-VOL-8.
fn first_of_each_name<'a>(
    container: &'a ContainerView<'a>,
) -> Result<BTreeMap<Cow<'a, str>, Taken<'a>>, JsonError> {
    // The last of equal keys stays in a map, so the first has to come last.
    let entries = container.env()?.0.into_iter().rev();
    Ok(entries.map(|entry| Taken::env(container, entry)).map(|taken| (taken.key.clone(), taken)).collect())
}
