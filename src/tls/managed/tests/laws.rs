//! A model of the API server and some replicas. What comes in which order is drawn; the law is checked after each move.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::contents::{CA_KEY, LEAF, Stage};
use super::*;

const REPLICAS: usize = 3;
const OBJECTS: usize = 2;

#[derive(Debug, Clone)]
enum Move {
    /// A watch brings the Secret, or an object.
    Deliver(usize, Option<usize>),
    /// A replica decides and begins a write of the Secret.
    Decide(usize),
    /// A replica reads the Secret and begins to write a bundle.
    Publish(usize, usize),
    /// What a replica has begun arrives at the API server.
    Arrive(usize),
    /// Time goes by.
    Tick(u64),
    /// A replica sees everything, does what it wants, and nobody comes in between.
    Round(usize),
    /// A rotation is asked for, and a replica brings it as far as this number of steps.
    Rotate(usize, usize),
    /// A replica ends and begins anew.
    Restart(usize),
    /// A person.
    DeleteSecret,
    AskForRotation,
    LoseKey(&'static str),
}

fn mk_move() -> impl Strategy<Value = Move> {
    let replica = 0..REPLICAS;
    prop_oneof![
        4 => (replica.clone(), proptest::option::of(0..OBJECTS)).prop_map(|(r, o)| Move::Deliver(r, o)),
        4 => replica.clone().prop_map(Move::Decide),
        4 => (replica.clone(), 0..OBJECTS).prop_map(|(r, o)| Move::Publish(r, o)),
        6 => replica.clone().prop_map(Move::Arrive),
        4 => (1..80_u64).prop_map(Move::Tick),
        6 => replica.clone().prop_map(Move::Round),
        1 => (replica.clone(), 1..3_usize).prop_map(|(r, steps)| Move::Rotate(r, steps)),
        2 => replica.prop_map(Move::Restart),
        2 => prop_oneof![
            Just(Move::DeleteSecret),
            Just(Move::AskForRotation),
            prop_oneof![Just(CA_KEY), Just(LEAF)].prop_map(Move::LoseKey),
        ],
    ]
}

/// A write on its way, with the version that it is for.
#[derive(Clone)]
enum Pending {
    Secret { version: u64, contents: Box<Contents> },
    Bundle { object: usize, version: u64, bundle: Bundle },
}

struct Member {
    replica: Replica,
    pending: Option<Pending>,
    /// Versions that it has seen, of the Secret and of each object.
    secret: Option<u64>,
    objects: [u64; OBJECTS],
    looked_at: Duration,
}

impl Member {
    fn new(at: Duration) -> Self {
        let timing = Timing { settle: SETTLE, jitter: 0 };
        let replica = Replica::new(vec![HOST.to_owned()], timing, OBJECTS);
        Self { replica, pending: None, secret: None, objects: [0; OBJECTS], looked_at: at }
    }
}

struct Model {
    at: Duration,
    version: u64,
    /// `None`: deleted. Its version counts on, as that of a cluster does.
    secret: (u64, Option<Contents>),
    /// Every state of each object's bundle: version, since when, what.
    objects: [Vec<(u64, Duration, Bundle)>; OBJECTS],
    members: Vec<Member>,
    asked: u32,
}

impl Model {
    /// A cluster that was installed some time ago, with replicas that serve.
    fn new() -> Self {
        let mut first = Replica::new(vec![HOST.to_owned()], Timing { settle: SETTLE, jitter: 0 }, OBJECTS);
        first.secret_seen(None, Duration::ZERO);
        let contents = first.perform(Step::Create, NOW).unwrap();
        let bundle = bundle_of(&contents);
        let at = SETTLE * 20;
        let mut model = Self {
            at,
            version: 2,
            secret: (1, Some(contents)),
            objects: std::array::from_fn(|_| vec![(2, Duration::ZERO, bundle.clone())]),
            members: (0..REPLICAS).map(|_| Member::new(at)).collect(),
            asked: 0,
        };
        for member in 0..REPLICAS {
            model.deliver_all(member);
            model.take(member);
        }
        model
    }

    fn now(&self) -> i64 {
        NOW + i64::try_from(self.at.as_secs()).unwrap()
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    fn deliver_secret(&mut self, member: usize) {
        let (version, contents) = self.secret.clone();
        let member = &mut self.members[member];
        member.secret = Some(version);
        let read = contents.map(|contents| {
            let read = Contents::read(&contents.data(), &BTreeMap::new());
            Contents { rotate: contents.rotate, rotated: contents.rotated, ..read }
        });
        member.replica.secret_seen(read, self.at);
    }

    fn deliver_object(&mut self, member: usize, object: usize) {
        let (version, _, bundle) = self.objects[object].last().unwrap().clone();
        self.members[member].objects[object] = version;
        self.members[member].replica.object_seen(object, Seen::Present(vec![bundle]), self.at);
    }

    fn deliver_all(&mut self, member: usize) {
        self.deliver_secret(member);
        (0..OBJECTS).for_each(|object| self.deliver_object(member, object));
        self.members[member].looked_at = self.at;
    }

    fn take(&mut self, member: usize) {
        let (now, at) = (self.now(), self.at);
        let replica = &mut self.members[member].replica;
        replica.take(now, at);
        replica.was_trusted(at);
    }

    fn decide(&mut self, member: usize) -> bool {
        self.take(member);
        let (now, at) = (self.now(), self.at);
        let Next::Write { step, .. } = self.members[member].replica.next(now, at) else { return false };
        if step.goes_by_bundles() {
            // As the manager does.
            (0..OBJECTS).for_each(|object| self.deliver_object(member, object));
        }
        let member = &mut self.members[member];
        let Some(version) = member.secret else { return false };
        let contents = Box::new(member.replica.perform(step, now).unwrap());
        member.pending = Some(Pending::Secret { version, contents });
        true
    }

    fn publish(&mut self, member: usize, object: usize) {
        // As the manager does: nothing is published while the Secret needs a repair, and it is read again just before.
        self.take(member);
        let (now, at) = (self.now(), self.at);
        if matches!(self.members[member].replica.next(now, at), Next::Write { step, .. } if step.is_repair())
        {
            return;
        }
        self.deliver_secret(member);
        let member = &mut self.members[member];
        let Some(wanted) = member.replica.bundle() else { return };
        let bundle = Bundle { cas: wanted.into_iter().cloned().collect(), unreadable: false };
        member.pending = Some(Pending::Bundle { object, version: member.objects[object], bundle });
    }

    fn arrive(&mut self, member: usize) {
        match self.members[member].pending.take() {
            Some(Pending::Secret { version, contents }) => {
                if version == self.secret.0 {
                    self.secret = (self.next_version(), Some(*contents));
                }
                self.deliver_secret(member);
            }
            Some(Pending::Bundle { object, version, bundle }) => {
                let (known, _, current) = self.objects[object].last().unwrap();
                if version == *known && bundle != *current {
                    let entry = (self.next_version(), self.at, bundle);
                    self.objects[object].push(entry);
                }
                self.deliver_object(member, object);
            }
            None => {}
        }
        self.take(member);
    }

    /// Time goes by, and what replicas wait for by their own clocks happens: a leaf that is trusted by then is taken.
    fn wait(&mut self, time: Duration) {
        self.at += time;
        // No watch is behind for longer than an old CA stays: the manager begins a silent one again.
        for member in 0..REPLICAS {
            if self.at - self.members[member].looked_at > SETTLE * 3 {
                self.deliver_all(member);
            }
            self.take(member);
        }
    }

    fn round(&mut self, member: usize) {
        self.deliver_all(member);
        while self.decide(member) {
            self.arrive(member);
        }
        for object in 0..OBJECTS {
            self.publish(member, object);
            self.arrive(member);
        }
    }

    fn ask_for_rotation(&mut self) {
        self.asked += 1;
        let (asked, version) = (self.asked.to_string(), self.next_version());
        if let (known, Some(contents)) = &mut self.secret {
            *known = version;
            contents.rotate = Some(asked);
        }
    }

    fn play(&mut self, one: &Move) {
        match *one {
            Move::Deliver(member, None) => self.deliver_secret(member),
            Move::Deliver(member, Some(object)) => self.deliver_object(member, object),
            Move::Decide(member) => drop(self.decide(member)),
            Move::Publish(member, object) => self.publish(member, object),
            Move::Arrive(member) => self.arrive(member),
            Move::Tick(seconds) => self.wait(Duration::from_secs(seconds)),
            Move::Round(member) => self.round(member),
            Move::Restart(member) => self.members[member] = Member::new(self.at),
            Move::DeleteSecret => self.secret = (self.next_version(), None),
            Move::AskForRotation => self.ask_for_rotation(),
            Move::Rotate(member, steps) => {
                self.ask_for_rotation();
                for _ in 0..steps {
                    self.round(member);
                    self.wait(SETTLE);
                }
                self.round(member);
            }
            Move::LoseKey(key) => {
                let version = self.next_version();
                if let (known, Some(contents)) = &mut self.secret {
                    let mut data = contents.data();
                    data.remove(key);
                    *known = version;
                    *contents = Contents::read(&data, &BTreeMap::new());
                }
            }
        }
    }

    /// A leaf is served only while its CA is in every bundle that an API server may still hold.
    fn check(&mut self) -> Result<(), TestCaseError> {
        for (index, member) in self.members.iter_mut().enumerate() {
            if !member.replica.was_trusted(self.at) {
                continue;
            }
            let Some(ca) = member.replica.held_ca() else { continue };
            for states in &self.objects {
                for (position, (version, _, bundle)) in states.iter().enumerate() {
                    // It was replaced so long ago that every API server has noticed.
                    let gone = states.get(position + 1).is_some_and(|next| self.at - next.1 >= SETTLE);
                    let trusted = bundle.cas.contains(ca);
                    prop_assert!(
                        gone || trusted,
                        "replica {index} at {:?}: not in bundle {version}",
                        self.at
                    );
                }
            }
        }
        Ok(())
    }

    /// Plays what is reasonable until nothing more is to be done.
    fn settle(&mut self) {
        for _ in 0..100 {
            if self.is_settled() {
                return;
            }
            (0..REPLICAS).for_each(|member| self.round(member));
            self.wait(SETTLE);
        }
    }

    fn is_settled(&mut self) -> bool {
        let Some(contents) = &self.secret.1 else { return false };
        let at = self.at;
        contents.stage() == Stage::Settled
            && contents.rotate == contents.rotated
            && self.objects.iter().all(|states| states.last().unwrap().2 == bundle_of(contents))
            && self.members.iter_mut().all(|member| {
                member.replica.held() == contents.leaf.as_ref() && member.replica.was_trusted(at)
            })
    }
}

/// The second of two that make a Secret in a row has not heard of the first: it must not take away what that one serves.
#[test]
fn who_makes_a_secret_anew_trusts_what_was_made_meanwhile() {
    let mut model = Model::new();
    let moves = [
        Move::Restart(0),
        Move::DeleteSecret,
        Move::Round(0),
        Move::Tick(SETTLE.as_secs()),
        Move::DeleteSecret,
        Move::Deliver(2, None),
        Move::Decide(2),
        Move::Arrive(2),
        Move::Deliver(2, Some(0)),
        Move::Publish(2, 0),
        Move::Arrive(2),
    ];
    for one in &moves {
        model.play(one);
        model.check().unwrap_or_else(|error| panic!("{one:?}: {error}"));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_api_server_meets_a_leaf_that_it_does_not_trust(moves in proptest::collection::vec(mk_move(), 1..60)) {
        let mut model = Model::new();
        for one in &moves {
            model.play(one);
            model.check()?;
        }
        model.settle();
        prop_assert!(model.is_settled(), "{:?}", model.secret.1);
    }
}
