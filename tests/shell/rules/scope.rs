//! Rules without code of their own in this release, each with the reason. Shrink these lists when that changes.

const CONTROLLER: &str =
    "how the controller runs: what is there of it is above, the rest is not in this release";
const REGISTRATION: &str = "a matter of registration: `manifests/base/mutating-webhook-configuration.yaml`";
const OTHER: &str = "another feature of upstream's handler, not of SidecarSet";

/// Families of which nothing is demanded rule by rule, each with the reason; what is there of them is listed.
pub(super) const LATER: &[(&str, &str)] = &[
    (
        "A-API",
        "types and definition: compared with `types.json`, and seen on an API server in `tests/cluster/set_api.rs`",
    ),
    ("A-EDGE", "comments on other rules; decided one by one in D-4 to D-19"),
    ("A-FMT", "formats of texts, done in `api/names.rs` and proven by the rules that ask for them"),
    ("A-OPEN", "questions, answered by D-10 to D-16"),
    ("A-WIRE", "wire format: proven as a whole by the recorded requests of `wire.jsonl`"),
    ("C-CTL", CONTROLLER),
    ("C-MET", CONTROLLER),
    ("C-RBAC", CONTROLLER),
    ("C-RUST", CONTROLLER),
    ("I-OUT", OTHER),
];

/// Single rules of complete families that nothing of ours does.
pub(super) const OUTSIDE: &[(&str, &str)] = &[
    ("A-CONV-8", "a warning to implementers: a converted document is a copy"),
    ("A-DEF-62", "upstream's patch; ours is judged by the document (D-2)"),
    ("A-HASH-12", "tells that hashes can be reproduced, not how"),
    ("C-BUG-32", "of the program that carries out ContainerRecreateRequests, which is not ours (D-34)"),
    ("C-BUG-35", "a setting of upstream's manifest"),
    ("C-SORT-11", "another controller of upstream asks for the order; there is no ImagePullJob here"),
    ("C-STAT-14", "printer columns, part of the resource definition"),
    ("C-UPD-16", "says itself that it is dead: a Pod without the list is not matched (C-MATCH-4)"),
    ("C-UPD-24", "of upstream's PodUnavailableBudget; its denial is an error like others (C-UPD-22)"),
    ("C-UPD-25", "of upstream's node agent; there is none here (D-34)"),
    ("D-2", "how answers are compared: `tests/conformance/injection/judge.rs`"),
    ("D-4", "approves deviations, each with an id of its own"),
    ("D-15", "points to D-3"),
    ("I-CALL-1", REGISTRATION),
    ("I-CALL-2", REGISTRATION),
    ("I-CALL-3", REGISTRATION),
    ("I-CALL-4", REGISTRATION),
    ("I-CALL-5", REGISTRATION),
    ("I-CALL-6", "upstream's switches for parts of one big manager; this webhook is installed or it is not"),
    ("I-CALL-12", "tells that upstream's `/validate-pod` injects nothing; there is no such path here"),
    ("I-DEF-18", "admission of SidecarSets decides it: A-EDGE-9, D-12"),
    ("I-DEF-31", REGISTRATION),
    ("I-DEF-39", "kept: quotas, limit ranges and Pod security are for the API server to judge"),
    ("I-DEF-42", "admission of SidecarSets names the missing members: A-VAL"),
    ("I-RESP-6", "what the API server makes of an answer; seen in `tests/cluster/verdicts.rs`"),
    (
        "I-REV-8",
        "the delay of upstream's cache; a folder has none, and a cluster as source is not in this release",
    ),
    ("I-UPD-1", REGISTRATION),
];

/// Entries that only comment on other rules, upstream's defects that are kept above all.
pub(super) const COVERED: &[(&str, &[&str])] = &[
    ("A-HASH-11", &["A-HASH-1", "I-ANN-2"]),
    ("C-BUG-23", &["I-DEF-6"]),
    ("C-BUG-33", &["C-RUST-4"]),
    ("C-BUG-34", &["C-RUST-3"]),
    ("C-BUG-40", &["D-37"]),
    ("C-COND-6", &["C-BUG-10"]),
    ("C-HASH-1", &["A-HASH-1"]),
    ("C-HASH-2", &["A-HASH-2"]),
    ("C-HASH-3", &["A-HASH-9"]),
    ("C-HASH-4", &["A-HASH-6"]),
    ("C-HASH-5", &["A-HASH-5"]),
    ("C-HASH-6", &["A-HASH-7"]),
    ("C-HASH-7", &["A-CONV-4", "A-HASH-1"]),
    ("C-HASH-8", &["A-HASH-1"]),
    ("C-MATCH-10", &["I-MATCH-2"]),
    ("C-META-5", &["I-RESP-10"]),
    ("C-REV-22", &["I-REV-9", "I-REV-11"]),
    ("C-REV-23", &["I-REV-6", "I-REV-7"]),
    ("I-DEF-11", &["I-ANN-2", "I-REV-12"]),
    ("I-DEF-15", &["I-ORD-3", "I-ORD-7"]),
    ("I-DEF-16", &["I-ORD-5"]),
    ("I-DEF-19", &["I-RES-28", "I-RES-34"]),
    ("I-DEF-21", &["I-RES-10"]),
    ("I-DEF-25", &["I-VOL-5", "I-VOL-6", "I-VOL-8"]),
    ("I-DEF-26", &["I-ENV-1", "I-ENV-9"]),
    ("I-DEF-28", &["I-HOT-2"]),
    ("I-DEF-33", &["I-DEF-34", "D-24"]),
    ("I-DEF-35", &["A-CONV-4", "I-MATCH-3"]),
    ("I-DEF-36", &["I-META-3", "I-META-7"]),
    ("I-DEF-37", &["I-INJ-5"]),
    ("I-DEF-38", &["I-MATCH-9"]),
    ("I-DEF-40", &["I-REV-5", "D-25"]),
    ("I-DEF-41", &["I-REV-1"]),
    ("I-HOT-7", &["I-HOT-2"]),
    ("I-HOT-8", &["C-HOTC-6"]),
    ("I-REV-14", &["C-REV-19"]),
    ("I-RESP-7", &["I-RESP-8"]),
];
