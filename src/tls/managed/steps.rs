//! The steps that change the Secret. Each is one write; between any two of them a replica may end.

use super::authority::{Authority, CaCertificate, Leaf};
use super::contents::Contents;
use crate::tls::source::CertificateError;

/// One write of the Secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// There is no Secret: a new CA. Who is served by an older one goes on with it until the new one is known.
    Create,
    /// The CA cannot sign: a new one, beside those that are known.
    ReplaceCa,
    /// There is no usable leaf: the one that this replica serves, else a new one.
    ReplaceLeaf,
    /// The leaf comes near its end: a new one of the same CA, which every client takes at once.
    RenewLeaf,
    /// This replica serves a leaf whose CA is not in the Secret: have it trusted until the replica has another.
    KeepTrusting,
    /// A new CA beside the old one, which has signed the leaf.
    StartRotation,
    /// Every client trusts the new CA: a leaf of it.
    SwapLeaf,
    /// No leaf of an older CA is served any more: clients need not trust it.
    DropCa,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::ReplaceCa,
        Self::ReplaceLeaf,
        Self::RenewLeaf,
        Self::KeepTrusting,
        Self::StartRotation,
        Self::SwapLeaf,
        Self::DropCa,
    ];

    /// The word in the metric and in the log.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::ReplaceCa => "replace_ca",
            Self::ReplaceLeaf => "replace_leaf",
            Self::RenewLeaf => "renew_leaf",
            Self::KeepTrusting => "keep_trusting",
            Self::StartRotation => "start_rotation",
            Self::SwapLeaf => "swap_leaf",
            Self::DropCa => "drop_ca",
        }
    }

    /// Whether it trusts the CAs that are found in the bundles. Those have to be read after the Secret was, right before the step: a
    /// Secret that came and went meanwhile may have left a CA in them that a replica serves a leaf of.
    #[must_use]
    pub fn goes_by_bundles(self) -> bool {
        matches!(self, Self::Create | Self::ReplaceCa)
    }

    /// Whether it undoes what somebody or something has done to the Secret.
    #[must_use]
    pub fn is_repair(self) -> bool {
        matches!(self, Self::Create | Self::ReplaceCa | Self::ReplaceLeaf | Self::KeepTrusting)
    }
}

/// What a step needs to know beside the Secret.
pub(super) struct Facts<'a> {
    /// Names and addresses for a new leaf.
    pub(super) hosts: &'a [String],
    /// What this replica serves, with its CA, if a client would still take it.
    pub(super) held: Option<(&'a Leaf, &'a CaCertificate)>,
    /// CAs of ours in the bundles that are in use: another replica may serve a leaf of one.
    pub(super) found: Vec<&'a CaCertificate>,
    /// Seconds since 1970.
    pub(super) now: i64,
}

impl Facts<'_> {
    /// What the Secret holds after the step.
    pub(super) fn perform(&self, step: Step, before: &Contents) -> Result<Contents, CertificateError> {
        let mut after = Contents { problems: Vec::new(), ..before.clone() };
        match step {
            Step::Create | Step::ReplaceCa => {
                self.new_authority(&mut after)?;
                for ca in self.found.iter().copied().chain(self.held.map(|(_, ca)| ca)) {
                    after.trust(ca.clone());
                }
                if !after.leaf.as_ref().is_some_and(|leaf| leaf.validity.contains(self.now)) {
                    after.leaf = self.held.map(|(leaf, _)| leaf.clone());
                }
                if after.leaf.is_none() {
                    self.new_leaf(&mut after)?;
                }
            }
            Step::StartRotation => self.new_authority(&mut after)?,
            Step::ReplaceLeaf => match self.held {
                Some((leaf, ca))
                    if before.cas().any(|known| known == ca)
                        && self.hosts.iter().all(|host| leaf.is_for(host)) =>
                {
                    after.leaf = Some(leaf.clone());
                }
                _ => self.new_leaf(&mut after)?,
            },
            Step::RenewLeaf | Step::SwapLeaf => self.new_leaf(&mut after)?,
            Step::KeepTrusting => {
                if let Some((_, ca)) = self.held {
                    after.trust(ca.clone());
                }
            }
            Step::DropCa => after.previous.clear(),
        }
        after.trim(self.now);
        Ok(after)
    }

    fn new_authority(&self, after: &mut Contents) -> Result<(), CertificateError> {
        let new = Authority::new(self.now)?;
        if let Some(old) = after.authority.replace(new) {
            after.trust(old.certificate);
        }
        // A new CA is what somebody asked for, whatever the reason for it.
        after.rotated.clone_from(&after.rotate);
        Ok(())
    }

    fn new_leaf(&self, after: &mut Contents) -> Result<(), CertificateError> {
        if let Some(authority) = &after.authority {
            after.leaf = Some(authority.issue(self.hosts, self.now)?);
        }
        Ok(())
    }
}
