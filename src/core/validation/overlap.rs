//! Whether two label selectors may choose the same object.

use rustc_hash::FxHashMap;

use crate::selector::{Condition, Selector};

/// Stands for any value among facts; a label value of that text counts as the wildcard too.
const ANY: &str = "ALL";

/// What upstream reads out of a selector about each label: its possible values.
#[derive(Debug, Default)]
pub(super) struct Facts<'a>(FxHashMap<&'a str, Vec<&'a str>>);

impl<'a> Facts<'a> {
    /// Rule: A-VAL-82.
    pub(super) fn of(selector: &'a Selector) -> Self {
        let mut facts = Self::default();
        for requirement in selector.requirements() {
            match &requirement.condition {
                Condition::In(values) => {
                    facts.0.entry(&requirement.key).or_default().extend(values.iter().map(|value| &**value));
                }
                Condition::Exists => {
                    facts.0.insert(&requirement.key, vec![ANY]);
                }
                Condition::NotIn(_) | Condition::DoesNotExist => {}
            }
        }
        facts
    }

    /// The values that a label must have one of; `None` if any other value is possible too.
    pub(super) fn values(&self, key: &str) -> Option<&[&'a str]> {
        self.0.get(key).map(Vec::as_slice).filter(|values| !values.contains(&ANY))
    }

    /// Rule: A-VAL-82.
    fn are_contradicted_by(&self, selector: &Selector) -> bool {
        selector.requirements().iter().any(|requirement| {
            let facts = self.0.get(&*requirement.key);
            match &requirement.condition {
                Condition::In(values) => facts.is_some_and(|facts| {
                    !facts.contains(&ANY) && !values.iter().any(|value| facts.contains(&&**value))
                }),
                Condition::NotIn(values) => facts.is_some_and(|facts| {
                    facts.iter().all(|fact| values.iter().any(|value| &**value == *fact))
                }),
                Condition::Exists => facts.is_none(),
                Condition::DoesNotExist => facts.is_some(),
            }
        })
    }
}

/// Upstream's test, which takes `Exists` too strictly and otherwise sees what [`can_both_match`] sees.
///
/// Rule: A-VAL-82, A-EDGE-34.
pub(super) fn overlap(one: &Selector, other: &Selector) -> bool {
    !Facts::of(one).are_contradicted_by(other) && !Facts::of(other).are_contradicted_by(one)
}

/// What both selectors together demand of one label.
#[derive(Debug, Default)]
struct Demand<'a> {
    /// It has one of these values; `None` if nothing is said.
    values: Option<Vec<&'a str>>,
    excluded: Vec<&'a str>,
    exists: bool,
    is_absent: bool,
}

impl<'a> Demand<'a> {
    fn add(&mut self, condition: &'a Condition) {
        match condition {
            Condition::In(values) => {
                let given = values.iter().map(|value| &**value);
                self.values = Some(match self.values.take() {
                    None => given.collect(),
                    Some(before) => given.filter(|value| before.contains(value)).collect(),
                });
            }
            Condition::NotIn(values) => self.excluded.extend(values.iter().map(|value| &**value)),
            Condition::Exists => self.exists = true,
            Condition::DoesNotExist => self.is_absent = true,
        }
    }

    fn can_be_met(&self) -> bool {
        match &self.values {
            Some(values) => !self.is_absent && values.iter().any(|value| !self.excluded.contains(value)),
            None => !(self.exists && self.is_absent),
        }
    }
}

/// Whether there are labels that meet both selectors.
///
/// Rule: A-EDGE-6.
pub(super) fn can_both_match(one: &Selector, other: &Selector) -> bool {
    let mut demands: FxHashMap<&str, Demand<'_>> = FxHashMap::default();
    for requirement in one.requirements().iter().chain(other.requirements()) {
        demands.entry(&requirement.key).or_default().add(&requirement.condition);
    }
    demands.values().all(Demand::can_be_met)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A selector from `a=b`, `a in x y`, `a notin x y`, `a exists`, `a absent`, joined with `,`.
    fn mk_selector(text: &str) -> Selector {
        let terms = text.split(',').map(|term| {
            let words: Vec<&str> = term.split([' ', '=']).collect();
            let (operator, values) = match words.get(1..).unwrap_or_default() {
                ["in", values @ ..] => ("In", values),
                ["notin", values @ ..] => ("NotIn", values),
                ["exists"] => ("Exists", &[][..]),
                ["absent"] => ("DoesNotExist", &[][..]),
                values => ("In", values),
            };
            json!({"key": words[0], "operator": operator, "values": values})
        });
        Selector::compile(&json!({"matchExpressions": terms.collect::<Vec<_>>()}))
    }

    /// A-T-OVL-1 to A-T-OVL-14, A-VAL-82 and A-EDGE-6: upstream's answer, then whether labels for both exist.
    #[test]
    fn overlaps() {
        let cases = [
            ("a=h", "a=h", true, true),
            ("a=h", "a=i", false, false),
            ("a=h", "b=i", true, true),
            ("a=h,b=i,c=j", "a=h,b=x,c=j", false, false),
            ("a=h", "a in h i j", true, true),
            ("a=h", "a in i j", false, false),
            ("a notin h i", "a=h", false, false),
            ("a notin h i", "a=j", true, true),
            ("a=h", "a exists", true, true),
            ("a absent", "a=h", false, false),
            ("a absent", "a exists", false, false),
            ("a absent", "a notin h", true, true),
            ("a exists", "b=c", false, true),
            ("a exists", "a notin x", false, true),
            ("a exists", "a exists", true, true),
            ("a=1,b exists", "a=1", false, true),
            ("a notin x", "b absent", true, true),
            // The recorded answers to "overlap 4 11" and "overlap 16 11" have no conflict here, against A-T-OVL-14.
            ("a=b,a in c", "a=c", false, false),
            ("a=b,a in c", "a=b,a in c", true, false),
            ("a=ALL", "a=x", false, false),
            ("a exists,a in x", "a=y", false, false),
            ("a exists", "a notin ALL", false, true),
        ];
        for (one, other, by_upstream, possible) in cases {
            let (left, right) = (mk_selector(one), mk_selector(other));
            for (left, right) in [(&left, &right), (&right, &left)] {
                assert_eq!(overlap(left, right), by_upstream, "{one} and {other}");
                assert_eq!(can_both_match(left, right), possible, "{one} and {other}");
            }
        }
    }
}
