//! The types of the API as tables: which members an object has, in which order, and what each may hold.
//!
//! The order is that of the declaration upstream, which the hash depends on (A-HASH-10); the nested core/v1 types are
//! those of Kubernetes 1.32 (A-HASH-13). Hash, defaulting and the decode check walk JSON along these tables, so
//! none of them needs a second, typed copy of a SidecarSet (D-5).

mod container;
mod meta;
mod sidecarset;
mod volume;

pub use container::*;
pub use meta::*;
pub use sidecarset::*;
pub use volume::*;

/// An object with known members. Others may be there too; they are carried along (D-5).
#[derive(Debug, PartialEq, Eq)]
pub struct Type {
    /// Name as in the reference documentation of the API, without its version.
    pub name: &'static str,
    /// Members in the order of declaration.
    pub members: &'static [Member],
    /// The CRD's schema requires the members marked [`Member::always`], so that defaulting adds them (A-API-9a).
    pub completed: bool,
}

impl Type {
    /// The member called `name`, `None` if it is unknown. Names are case-sensitive (A-WIRE-20).
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&'static Member> {
        self.members.iter().find(|member| member.name == name)
    }
}

/// One member of a [`Type`].
#[derive(Debug, PartialEq, Eq)]
pub struct Member {
    /// Name in JSON.
    pub name: &'static str,
    /// What it may hold.
    pub kind: Kind,
    /// Absent and zero (`""`, `0`, `false`, `{}`) differ: a zero that is there counts (A-HASH-9).
    pub pointer: bool,
    /// Printed even when zero or absent (A-HASH-9).
    pub always: bool,
}

/// What a member, a list item or a map value may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A string.
    Text,
    /// `true` or `false`.
    Bool,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A whole number of 32 bits or a string.
    IntOrText,
    /// A resource quantity, as a string or a number (A-HASH-8).
    Quantity,
    /// A time as RFC 3339 writes it.
    Time,
    /// Anything; nobody reads it.
    Any,
    /// An object with known members.
    Object(&'static Type),
    /// A list.
    List(&'static Kind),
    /// An object with free keys.
    Map(&'static Kind),
}

/// A list of strings.
pub const TEXTS: Kind = Kind::List(&Kind::Text);
/// Strings by free keys.
pub const TEXT_MAP: Kind = Kind::Map(&Kind::Text);
/// Quantities by free keys.
pub const QUANTITY_MAP: Kind = Kind::Map(&Kind::Quantity);

/// Left out when zero.
const fn omit(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, pointer: false, always: false }
}

/// Left out when absent.
const fn pointer(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, pointer: true, always: false }
}

/// Always printed.
const fn always(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, pointer: false, always: true }
}

/// Always printed, `null` when absent.
const fn pointer_always(name: &'static str, kind: Kind) -> Member {
    Member { name, kind, pointer: true, always: true }
}

/// Declares the tables of one file: `IDENTIFIER plain "Name" [members]`, or `completed` for [`Type::completed`].
macro_rules! types {
    ($($id:ident $state:ident $name:literal [$($member:expr),* $(,)?])*) => {$(
        #[doc = concat!("Members of `", $name, "`.")]
        pub static $id: Type =
            Type { name: $name, members: &[$($member),*], completed: types!(@$state) };
    )*};
    (@plain) => { false };
    (@completed) => { true };
}
use types;

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const RECORDED: &str =
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/conformance/sidecarset/types.json"));

    /// Name, flags, kind, type: one member as `types.json` writes it.
    type Row = (String, String, String, String);

    /// Kind and type name as `types.json` spells them, without the package of the type.
    fn spelled(kind: Kind) -> (String, String) {
        let plain = |word: &str| (word.to_owned(), String::new());
        match kind {
            Kind::Text => plain("string"),
            Kind::Bool => plain("bool"),
            Kind::Int32 => plain("int32"),
            Kind::Int64 => plain("int64"),
            Kind::IntOrText => plain("intstr"),
            Kind::Quantity => plain("quantity"),
            Kind::Time => plain("time"),
            Kind::Any => ("struct".to_owned(), "FieldsV1".to_owned()),
            Kind::Object(ty) => ("struct".to_owned(), ty.name.to_owned()),
            Kind::List(item) => (format!("list:{}", spelled(*item).0), spelled(*item).1),
            Kind::Map(value) => (format!("map:{}", spelled(*value).0), spelled(*value).1),
        }
    }

    fn rows(ty: &Type) -> Vec<Row> {
        let row = |member: &Member| {
            let flags = [(member.pointer, "p"), (member.always, "a")];
            let flags = flags.iter().filter(|(set, _)| *set).map(|(_, flag)| *flag).collect();
            let (kind, name) = spelled(member.kind);
            (member.name.to_owned(), flags, kind, name)
        };
        ty.members.iter().map(row).collect()
    }

    /// All types below `ty`, by name.
    fn collect(ty: &'static Type, found: &mut BTreeMap<&'static str, Vec<Row>>) {
        if found.insert(ty.name, rows(ty)).is_some() {
            return;
        }
        for member in ty.members {
            let mut kind = member.kind;
            while let Kind::List(inner) | Kind::Map(inner) = kind {
                kind = *inner;
            }
            if let Kind::Object(nested) = kind {
                collect(nested, found);
            }
        }
    }

    #[test]
    fn tables_equal_the_recorded_ones() {
        let recorded: BTreeMap<String, Vec<Row>> = serde_json::from_str(RECORDED).unwrap();
        for (root, package) in [(&SIDECARSET_V1BETA1, "v1beta1"), (&SIDECARSET_V1ALPHA1, "v1alpha1")] {
            let other = if package == "v1beta1" { "v1alpha1." } else { "v1beta1." };
            let bare = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
            let expected: BTreeMap<String, Vec<Row>> = recorded
                .iter()
                .filter(|(name, _)| !name.starts_with(other) && name.as_str() != "core.FieldsV1")
                .map(|(name, rows)| {
                    let rows = rows.iter().map(|(n, f, k, t)| (n.clone(), f.clone(), k.clone(), bare(t)));
                    (bare(name), rows.collect())
                })
                .collect();
            let mut found = BTreeMap::new();
            collect(root, &mut found);
            let found: BTreeMap<String, Vec<Row>> =
                found.into_iter().map(|(name, rows)| (name.to_owned(), rows)).collect();
            assert_eq!(
                found.keys().collect::<BTreeSet<_>>(),
                expected.keys().collect::<BTreeSet<_>>(),
                "{package}"
            );
            for (name, rows) in &expected {
                assert_eq!(&found[name], rows, "{package} {name}");
            }
        }
    }

    #[test]
    fn the_field_reference_of_transfer_env_differs_only_in_being_completed() {
        assert_eq!(TRANSFER_FIELD_REF.members, OBJECT_FIELD_SELECTOR.members);
        assert!(TRANSFER_FIELD_REF.completed && !OBJECT_FIELD_SELECTOR.completed);
    }
}
