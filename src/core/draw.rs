//! The `Partial` draw: which Pods of an owner receive the stored revision. Deterministic for each owner. Decision: D-25.

use crate::api::keys;
use crate::compile::CompiledSet;
use crate::content::Content;
use crate::context::Context;
use crate::injection::hash_annotation;
use crate::matching::Subject;
use crate::pod::PodLook;

/// Whether the Pod takes the stored revision of a set.
///
/// A Pod that carries one of the two revisions keeps it (D-24). Otherwise the Pods of one owner form a sequence of which any
/// first *n* hold `n * share` stored ones within one; each owner's sequence starts at a place of its own, so that over many
/// owners the share is kept too. A Pod without owner and `generateName` stands for itself.
///
/// Rule: I-REV-5. Decisions: D-24, D-25.
pub(crate) fn takes_stored(
    set: &CompiledSet,
    stored: &Content,
    share: f64,
    subject: &Subject<'_, '_>,
    context: &Context<'_>,
) -> bool {
    let Subject { pod, namespace, dry_run } = *subject;
    if let Some(kept) = carried(set, stored, pod) {
        return kept;
    }
    let owner = match (pod.controller_uid(), pod.generate_name()) {
        ("", "") => None,
        ("", prefix) => Some([namespace, prefix]),
        (uid, _) => Some(["", uid]),
    };
    let [scope, name] = owner.unwrap_or([namespace, pod.name()]);
    let key = mix(&[&set.name, &stored.revision, scope, name]);
    // The upper 53 bits as a fraction: exact in an f64.
    let start = (key >> 11) as f64 / (1_u64 << 53) as f64;
    let index = if owner.is_some() && !dry_run { context.draw.next_index(key) } else { 0 };
    let before = (start + index as f64 * share).floor();
    let after = (start + (index + 1) as f64 * share).floor();
    after > before
}

/// Whether the Pod already carries the stored revision or the live one of this set.
fn carried(set: &CompiledSet, stored: &Content, pod: &PodLook<'_>) -> Option<bool> {
    let text = pod.annotations()?.get(keys::HASH)?;
    let parsed = hash_annotation::parse(text).ok()?;
    let entry = parsed.entries.get(&*set.name)?;
    let is =
        |content: &Content| *entry.hash == *content.hash && *entry.controller_revision == *content.revision;
    if is(stored) {
        Some(true)
    } else if is(&set.live) {
        Some(false)
    } else {
        None
    }
}

/// A hash of texts that every replica and every release computes alike: FNV-1a, then the finaliser of SplitMix64, which
/// spreads the result over all bits.
fn mix(parts: &[&str]) -> u64 {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}
