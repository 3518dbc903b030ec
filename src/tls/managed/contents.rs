//! What the Secret holds.

use std::collections::BTreeMap;

use super::authority::{Authority, CaCertificate, Leaf};

/// Key of the Secret: certificate of the CA that signs.
pub const CA_CERTIFICATE: &str = "ca.crt";
/// Key of the Secret: its key.
pub const CA_KEY: &str = "ca.key";
/// Key of the Secret: certificates of CAs that have to be trusted still, without their keys.
pub const PREVIOUS: &str = "previous-ca.crt";
/// Key of the Secret: the serving certificate.
pub const LEAF: &str = "tls.crt";
/// Key of the Secret: its key.
pub const LEAF_KEY: &str = "tls.key";
/// Annotation of the Secret: any new value asks for a new CA and a new leaf.
pub const ROTATE: &str = "sidecarset.kruise.io/rotate";
/// Annotation of the Secret: the value of [`ROTATE`] that was last obeyed.
pub const ROTATED: &str = "sidecarset.kruise.io/rotated";
/// Annotation of the Secret, for people: the stage. It is never read.
pub const STAGE: &str = "sidecarset.kruise.io/rotation-stage";

/// More CAs than this are not kept beside the one that signs. Usually there is one, and only during a rotation; more come together if
/// the Secret is deleted again and again.
const MOST_PREVIOUS: usize = 6;

/// Where a rotation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// One CA, and a leaf of it.
    Settled,
    /// A new CA is made known; the leaf is still of an older one.
    Publishing,
    /// The leaf is of the new CA; the old one is still trusted.
    Retiring,
    /// Something in the Secret cannot be used.
    Broken,
}

impl Stage {
    /// The word in logs, probes and the annotation.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::Publishing => "publishing",
            Self::Retiring => "retiring",
            Self::Broken => "broken",
        }
    }
}

/// The Secret, read. What cannot be used is absent and told in `problems`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contents {
    /// The CA that signs.
    pub authority: Option<Authority>,
    /// Other CAs that clients have to trust.
    pub previous: Vec<CaCertificate>,
    /// What is served. It was signed by one of these CAs, or it is not here.
    pub leaf: Option<Leaf>,
    /// Value of [`ROTATE`].
    pub rotate: Option<String>,
    /// Value of [`ROTATED`].
    pub rotated: Option<String>,
    /// What could not be used and why, for the log. No text of the Secret is in it.
    pub problems: Vec<String>,
}

impl Contents {
    /// Reads the data and annotations of a Secret.
    #[must_use]
    pub fn read(data: &BTreeMap<String, Vec<u8>>, annotations: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| data.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut contents = Self {
            rotate: annotations.get(ROTATE).cloned(),
            rotated: annotations.get(ROTATED).cloned(),
            ..Self::default()
        };
        let (mut signing, unreadable) = CaCertificate::all_of_pem(text(CA_CERTIFICATE));
        if unreadable > 0 || signing.len() != 1 {
            contents
                .problems
                .push(format!("{CA_CERTIFICATE}: {} certificates of a CA instead of one", signing.len()));
        } else if let Some(certificate) = signing.pop() {
            match Authority::from_pem(certificate.clone(), text(CA_KEY)) {
                Ok(authority) => contents.authority = Some(authority),
                Err(problem) => {
                    contents.problems.push(format!("{CA_KEY}: {problem}"));
                    signing.push(certificate);
                }
            }
        }
        let (previous, unreadable) = CaCertificate::all_of_pem(text(PREVIOUS));
        if unreadable > 0 {
            contents
                .problems
                .push(format!("{PREVIOUS}: {unreadable} blocks that are no certificate of a CA"));
        }
        // A CA whose key is lost signs nothing more, but what it has signed may be in use.
        for certificate in signing.into_iter().chain(previous) {
            contents.trust(certificate);
        }
        match Leaf::from_pem(text(LEAF), text(LEAF_KEY)) {
            Ok(leaf) if contents.issuer(&leaf).is_some() => contents.leaf = Some(leaf),
            Ok(_) => contents.problems.push(format!("{LEAF}: it was signed by no CA of this Secret")),
            Err(problem) => contents.problems.push(problem),
        }
        contents
    }

    /// The data for the Secret.
    #[must_use]
    pub fn data(&self) -> BTreeMap<String, Vec<u8>> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, text: String| data.insert(key.to_owned(), text.into_bytes());
        if let Some(authority) = &self.authority {
            put(CA_CERTIFICATE, authority.certificate.pem());
            put(CA_KEY, authority.key_pem().to_owned());
        }
        if !self.previous.is_empty() {
            put(PREVIOUS, self.previous.iter().map(CaCertificate::pem).collect());
        }
        if let Some(leaf) = &self.leaf {
            put(LEAF, leaf.chain_pem());
            put(LEAF_KEY, leaf.key_pem().to_owned());
        }
        data
    }

    /// Every CA that clients have to trust: what a `caBundle` has to hold, the one that signs first.
    pub fn cas(&self) -> impl Iterator<Item = &CaCertificate> {
        self.authority.iter().map(|authority| &authority.certificate).chain(&self.previous)
    }

    /// The CA of these that signed a leaf.
    #[must_use]
    pub fn issuer(&self, leaf: &Leaf) -> Option<&CaCertificate> {
        self.cas().find(|ca| ca.issued(leaf))
    }

    /// Has clients trust one more CA.
    pub fn trust(&mut self, certificate: CaCertificate) {
        if self.cas().all(|known| *known != certificate) {
            self.previous.push(certificate);
        }
    }

    /// Forgets older CAs that have ended at `now`, and the oldest of too many; never the one that signed the leaf.
    pub fn trim(&mut self, now: i64) {
        let leaf = self.leaf.clone();
        let needed = |ca: &CaCertificate| leaf.as_ref().is_some_and(|leaf| ca.issued(leaf));
        self.previous.retain(|ca| now <= ca.validity.until || needed(ca));
        while self.previous.len() > MOST_PREVIOUS {
            let Some(oldest) = self.previous.iter().position(|ca| !needed(ca)) else { break };
            self.previous.remove(oldest);
        }
    }

    /// Where the rotation is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match (&self.authority, &self.leaf) {
            (Some(authority), Some(leaf)) if !authority.certificate.issued(leaf) => Stage::Publishing,
            (Some(_), Some(_)) if !self.previous.is_empty() => Stage::Retiring,
            (Some(_), Some(_)) => Stage::Settled,
            _ => Stage::Broken,
        }
    }

    /// Whether somebody has asked for a rotation that was not begun.
    #[must_use]
    pub fn rotation_asked(&self) -> bool {
        self.rotate.is_some() && self.rotate != self.rotated
    }
}
