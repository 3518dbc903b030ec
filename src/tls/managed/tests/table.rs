use std::collections::BTreeMap;

use super::super::authority::{Authority, CA_LIFE, LEAF_LIFE, trusts};
use super::super::contents::{CA_CERTIFICATE, CA_KEY, LEAF, LEAF_KEY, PREVIOUS, Stage};
use super::*;

/// Of a Secret.
type Data = BTreeMap<String, Vec<u8>>;

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// One that has made the Secret and serves, with the CA in the bundle since 0 s.
fn mk_settled() -> (Replica, Contents) {
    let mut replica = mk_replica();
    replica.object_seen(0, Seen::Present(vec![Bundle::default()]), secs(0));
    replica.secret_seen(None, secs(0));
    let contents = replica.perform(Step::Create, NOW).unwrap();
    replica.secret_seen(Some(contents.clone()), secs(0));
    replica.object_seen(0, published(&contents), secs(0));
    assert!(replica.take(NOW, secs(0)).is_some());
    (replica, contents)
}

/// The Secret as the API server gives it back.
fn stored(contents: &Contents) -> Contents {
    let read = Contents::read(&contents.data(), &BTreeMap::new());
    Contents { rotate: contents.rotate.clone(), rotated: contents.rotated.clone(), ..read }
}

#[test]
fn what_is_written_is_read_again() {
    let (replica, contents) = mk_settled();
    assert_eq!(stored(&contents), contents);
    let rotating = replica.perform(Step::StartRotation, NOW).unwrap();
    assert_eq!(rotating.previous.len(), 1);
    assert_eq!(stored(&rotating), rotating);
    let text = format!("{contents:?}");
    assert!(!text.contains("PRIVATE") && text.contains("sidecarset managed CA 2026-11-22T"), "{text}");
}

#[test]
fn nothing_is_done_before_everything_was_looked_at() {
    let mut replica = mk_replica();
    assert_eq!(replica.next(NOW, secs(0)), Next::Wait(Duration::MAX));
    replica.secret_seen(None, secs(0));
    assert_eq!(replica.next(NOW, secs(0)), Next::Wait(Duration::MAX), "the bundles are not known");
    replica.object_seen(0, Seen::Failed, secs(0));
    assert_eq!(step(&replica, NOW, secs(0)), Step::Create, "they cannot be known");
}

#[test]
fn a_leaf_is_for_its_hosts_and_of_its_ca() {
    let (replica, contents) = mk_settled();
    let leaf = replica.held().unwrap();
    assert!(leaf.is_for(HOST) && !leaf.is_for("other.system.svc"));
    trusts(contents.cas(), leaf, NOW).unwrap();
    trusts(contents.cas(), leaf, NOW - 3500).expect("a clock that is behind");
    trusts(contents.cas(), leaf, NOW + LEAF_LIFE + 1).expect_err("it has ended");
    let other = Authority::new(NOW).unwrap();
    trusts([&other.certificate], leaf, NOW).expect_err("another CA");
    assert!(!other.certificate.issued(leaf));
}

#[test]
fn a_rotation_takes_its_steps_in_order() {
    let (mut replica, mut contents) = mk_settled();
    let first_leaf = contents.leaf.clone();
    assert!(matches!(replica.next(NOW, secs(0)), Next::Wait(_)));
    contents.rotate = Some("please".to_owned());
    replica.secret_seen(Some(contents.clone()), secs(100));
    assert_eq!(step(&replica, NOW, secs(100)), Step::StartRotation);

    let publishing = replica.perform(Step::StartRotation, NOW).unwrap();
    assert_eq!((publishing.stage(), &publishing.leaf), (Stage::Publishing, &first_leaf));
    assert_eq!(publishing.rotated.as_deref(), Some("please"));
    replica.secret_seen(Some(stored(&publishing)), secs(101));
    assert_eq!(replica.next(NOW, secs(500)), Next::Wait(Duration::MAX), "nobody has published it");
    replica.object_seen(0, published(&publishing), secs(110));
    assert_eq!(replica.next(NOW, secs(130)), Next::Wait(secs(40)));
    replica.object_seen(0, published(&contents), secs(140));
    replica.object_seen(0, published(&publishing), secs(150));
    assert_eq!(replica.next(NOW, secs(170)), Next::Wait(secs(40)), "it had gone in between");
    assert_eq!(step(&replica, NOW, secs(210)), Step::SwapLeaf);

    let retiring = replica.perform(Step::SwapLeaf, NOW).unwrap();
    assert_eq!((retiring.stage(), retiring.previous.len()), (Stage::Retiring, 1));
    // One that has begun late takes the leaf only after the settling time of its own.
    let mut late = mk_replica();
    late.secret_seen(Some(stored(&publishing)), secs(209));
    late.object_seen(0, published(&publishing), secs(209));
    assert!(late.take(NOW, secs(209)).is_some());
    late.secret_seen(Some(stored(&retiring)), secs(210));
    assert!(late.take(NOW, secs(268)).is_none() && late.take(NOW, secs(269)).is_some());

    replica.secret_seen(Some(stored(&retiring)), secs(211));
    assert!(replica.take(NOW, secs(211)).is_some() && replica.take(NOW, secs(212)).is_none());
    assert_eq!(replica.next(NOW, secs(500)), Next::Wait(secs(71)));
    assert_eq!(step(&replica, NOW, secs(571)), Step::DropCa);
    let settled = replica.perform(Step::DropCa, NOW).unwrap();
    assert_eq!((settled.stage(), settled.previous.len()), (Stage::Settled, 0));
    replica.secret_seen(Some(stored(&settled)), secs(572));
    assert!(matches!(replica.next(NOW, secs(573)), Next::Wait(_)), "asked for once, done once");
}

#[test]
fn certificates_are_renewed_after_two_thirds_of_their_life() {
    let (replica, contents) = mk_settled();
    assert_eq!(step(&replica, NOW + 61 * DAY, secs(0)), Step::RenewLeaf);
    let Next::Wait(wait) = replica.next(NOW + 59 * DAY, secs(0)) else { panic!("too early") };
    assert!(wait < secs(2 * 24 * 3600), "{wait:?}");
    let renewed = replica.perform(Step::RenewLeaf, NOW + 61 * DAY).unwrap();
    assert_eq!((renewed.stage(), renewed.authority == contents.authority), (Stage::Settled, true));

    let mut later = mk_replica();
    let now = NOW + CA_LIFE * 2 / 3 + DAY;
    later.secret_seen(
        Some(Contents {
            leaf: Some(contents.authority.as_ref().unwrap().issue(&[HOST.to_owned()], now).unwrap()),
            ..contents
        }),
        secs(0),
    );
    assert_eq!(step(&later, now, secs(0)), Step::StartRotation);
}

/// A bundle that cannot be written holds a rotation up, and nothing else.
#[test]
fn a_rotation_that_is_stuck_does_not_keep_the_leaf_from_being_renewed() {
    let (mut replica, contents) = mk_settled();
    let publishing = replica.perform(Step::StartRotation, NOW).unwrap();
    replica.secret_seen(Some(stored(&publishing)), secs(1));
    replica.object_seen(0, published(&publishing), secs(1));
    let retiring = replica.perform(Step::SwapLeaf, NOW).unwrap();
    replica.secret_seen(Some(stored(&retiring)), secs(100));
    assert!(replica.take(NOW, secs(100)).is_some());
    replica.object_seen(0, published(&contents), secs(101));
    assert_eq!(replica.next(NOW + 59 * DAY, secs(200)), Next::Wait(Duration::MAX), "its bundle is wrong");
    assert_eq!(step(&replica, NOW + 61 * DAY, secs(200)), Step::RenewLeaf);
    let renewed = replica.perform(Step::RenewLeaf, NOW + 61 * DAY).unwrap();
    assert_eq!((renewed.stage(), &renewed.previous), (Stage::Retiring, &retiring.previous));
    assert!(renewed.leaf != retiring.leaf && renewed.authority == retiring.authority);
}

#[test]
fn replicas_do_not_renew_at_the_same_time() {
    let jitter = |name| Timing::new(SETTLE, name).jitter;
    let (one, other) = (jitter("sidecarset-webhook-7d5b-x2x9k"), jitter("sidecarset-webhook-7d5b-q8zzw"));
    assert!(
        one.abs_diff(other) > 60 && (0..3600).contains(&one) && (0..3600).contains(&other),
        "{one} {other}"
    );
}

/// The CA is not the one of the leaf that is served: a client that knows only that one goes on being served.
#[test]
fn a_deleted_secret_is_a_rotation() {
    let (mut replica, contents) = mk_settled();
    replica.secret_seen(None, secs(10));
    assert_eq!(step(&replica, NOW, secs(10)), Step::Create);
    let created = replica.perform(Step::Create, NOW).unwrap();
    assert_eq!((created.stage(), &created.leaf), (Stage::Publishing, &contents.leaf));
    assert_eq!(created.previous, [contents.authority.clone().unwrap().certificate]);

    // One that serves nothing knows the older CA from the bundle, and does not know its leaf.
    let mut fresh = mk_replica();
    fresh.object_seen(0, published(&contents), secs(10));
    fresh.secret_seen(None, secs(10));
    let created = fresh.perform(Step::Create, NOW).unwrap();
    assert_eq!((created.stage(), created.previous.len()), (Stage::Retiring, 1));
    fresh.secret_seen(Some(stored(&created)), secs(11));
    assert!(fresh.take(NOW, secs(11)).is_some() && !fresh.was_trusted(secs(11)));
    fresh.object_seen(0, published(&created), secs(12));
    assert!(!fresh.was_trusted(secs(71)), "an API server may not know the CA yet");
    assert!(fresh.was_trusted(secs(72)));
    // The other one goes on with its leaf until then.
    replica.secret_seen(Some(stored(&created)), secs(12));
    replica.object_seen(0, published(&created), secs(12));
    assert!(replica.take(NOW, secs(71)).is_none() && replica.take(NOW, secs(72)).is_some());
}

#[test]
fn what_is_served_stays_trusted_when_the_secret_is_replaced() {
    let (mut replica, contents) = mk_settled();
    let (_, other) = mk_settled();
    replica.secret_seen(Some(stored(&other)), secs(10));
    assert!(replica.take(NOW, secs(10)).is_none());
    assert_eq!(step(&replica, NOW, secs(10)), Step::KeepTrusting);
    let both = replica.perform(Step::KeepTrusting, NOW).unwrap();
    assert_eq!(both.previous, [contents.authority.unwrap().certificate]);
    replica.secret_seen(Some(stored(&both)), secs(11));
    assert!(matches!(replica.next(NOW, secs(11)), Next::Wait(_)));
    // Nobody trusts the old one any more: there is nothing to keep.
    replica.object_seen(0, published(&other), secs(12));
    assert!(replica.take(NOW, secs(12)).is_some());
}

/// Each key of the Secret lost or replaced, and clocks that jump: what is done at once, and what is served after it.
#[test]
fn what_cannot_be_used_is_repaired() {
    let (replica, contents) = mk_settled();
    let (_, other) = mk_settled();
    let change = |change: &dyn Fn(&mut Data)| {
        let mut data = contents.data();
        change(&mut data);
        Contents::read(&data, &BTreeMap::new())
    };
    let put = |key: &'static str, value: &[u8]| {
        let value = value.to_vec();
        change(&move |data| drop(data.insert(key.to_owned(), value.clone())))
    };
    let gone = |key: &'static str| change(&move |data| drop(data.remove(key)));
    let of_other = |key: &str| other.data().remove(key).unwrap();
    let two_cas = [contents.data().remove(CA_CERTIFICATE).unwrap(), of_other(CA_CERTIFICATE)].concat();
    for (what, found, told, expected, keeps_leaf) in [
        ("no CA", gone(CA_CERTIFICATE), "ca.crt: 0 certificates", Step::ReplaceCa, true),
        ("two CAs", put(CA_CERTIFICATE, &two_cas), "ca.crt: 2 certificates", Step::ReplaceCa, true),
        ("no CA key", gone(CA_KEY), "ca.key: no usable private key", Step::ReplaceCa, true),
        (
            "a foreign CA key",
            put(CA_KEY, &of_other(CA_KEY)),
            "ca.key: it is the key of another",
            Step::ReplaceCa,
            true,
        ),
        ("bytes as CA key", put(CA_KEY, &[0xff, 0]), "ca.key: it is no text", Step::ReplaceCa, true),
        (
            "the leaf as CA",
            put(CA_CERTIFICATE, &contents.data()[LEAF]),
            "ca.crt: 0 certificates",
            Step::ReplaceCa,
            true,
        ),
        ("no leaf", gone(LEAF), "tls.crt: it has no block", Step::ReplaceLeaf, true),
        ("no key", gone(LEAF_KEY), "tls.key: ", Step::ReplaceLeaf, true),
        (
            "a foreign key",
            put(LEAF_KEY, &of_other(LEAF_KEY)),
            "do not belong together",
            Step::ReplaceLeaf,
            true,
        ),
        (
            "garbage",
            put(LEAF, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
            "tls.crt: ",
            Step::ReplaceLeaf,
            true,
        ),
        ("nothing", change(&BTreeMap::clear), "ca.crt: 0 certificates", Step::ReplaceCa, true),
    ] {
        let mut replica = replica.clone();
        assert!(found.problems.iter().any(|problem| problem.contains(told)), "{what}: {:?}", found.problems);
        replica.secret_seen(Some(found), secs(10));
        assert!(replica.take(NOW, secs(10)).is_none(), "{what}");
        assert_eq!(step(&replica, NOW, secs(10)), expected, "{what}");
        let repaired = replica.perform(expected, NOW).unwrap();
        assert_eq!(stored(&repaired), repaired, "{what}");
        assert_eq!(repaired.leaf == contents.leaf, keeps_leaf, "{what}");
        let old_ca = &contents.authority.as_ref().unwrap().certificate;
        assert!(repaired.cas().any(|ca| ca == old_ca), "{what}: who knows only the old CA");
        replica.secret_seen(Some(stored(&repaired)), secs(11));
        assert!(matches!(replica.next(NOW, secs(11)), Next::Wait(_)), "{what}");
    }
    let lost_previous = put(PREVIOUS, b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    assert_eq!(lost_previous.stage(), Stage::Settled);
    assert!(lost_previous.problems[0].contains("previous-ca.crt: 1 blocks"), "{:?}", lost_previous.problems);
}

#[test]
fn a_clock_that_jumps_ends_certificates_and_they_are_replaced() {
    for (now, expected) in [
        (NOW + 91 * DAY, Step::ReplaceLeaf),
        (NOW + CA_LIFE + DAY, Step::ReplaceCa),
        (NOW - DAY, Step::ReplaceCa),
    ] {
        let (mut replica, contents) = mk_settled();
        assert_eq!(step(&replica, now, secs(10)), expected);
        let repaired = replica.perform(expected, now).unwrap();
        assert_ne!(repaired.leaf, contents.leaf);
        assert!(repaired.previous.iter().all(|ca| ca.validity.until >= now), "{repaired:?}");
        replica.secret_seen(Some(stored(&repaired)), secs(11));
        assert!(replica.take(now, secs(11)).is_some(), "what is served is of no use to anybody");
        assert!(matches!(replica.next(now, secs(11)), Next::Wait(_)));
    }
}

#[test]
fn a_leaf_for_other_hosts_is_replaced() {
    let (_, contents) = mk_settled();
    let mut replica =
        Replica::new(vec![HOST.to_owned(), "10.1.2.3".to_owned()], Timing { settle: SETTLE, jitter: 0 }, 1);
    replica.object_seen(0, published(&contents), secs(0));
    replica.secret_seen(Some(contents), secs(0));
    assert!(replica.take(NOW, secs(0)).is_some(), "better than none");
    let Next::Write { step: Step::ReplaceLeaf, because } = replica.next(NOW, secs(0)) else {
        panic!("no repair")
    };
    assert_eq!(because, "the leaf is not for 10.1.2.3");
    replica.secret_seen(Some(replica.perform(Step::ReplaceLeaf, NOW).unwrap()), secs(1));
    assert!(replica.take(NOW, secs(1)).is_some_and(|_| replica.held().unwrap().is_for("10.1.2.3")));
}

#[test]
fn too_many_older_cas_are_forgotten_but_that_of_the_leaf() {
    let (mut replica, contents) = mk_settled();
    let mut many = contents.clone();
    for _ in 0..9 {
        many.trust(Authority::new(NOW).unwrap().certificate);
    }
    many.previous.insert(0, many.authority.take().unwrap().certificate);
    replica.secret_seen(Some(many), secs(1));
    let after = replica.perform(Step::ReplaceCa, NOW).unwrap();
    assert_eq!(after.previous.len(), 6);
    assert!(after.issuer(after.leaf.as_ref().unwrap()).is_some() && after.leaf == contents.leaf);
}
