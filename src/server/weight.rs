//! What a JSON text takes in memory once it has been read: up to two hundred times its own length, if somebody means it.

/// Upper estimates in bytes, measured on texts that were made to take as much as they can (`tests/shell/bodies.rs` holds the program to them).
#[derive(Debug, Clone, Copy)]
pub(super) struct Weight {
    /// Of each byte, for strings and their copies.
    byte: usize,
    /// Of each object, beyond that.
    object: usize,
    /// Of each other value.
    value: usize,
}

/// A Pod stays text; what counts are views of its labels, containers, volumes and mounts.
pub(super) const POD: Weight = Weight { byte: 0, object: 140, value: 60 };

/// A SidecarSet that is defaulted or validated: a tree, its copies, and a patch.
pub(super) const SET: Weight = Weight { byte: 2, object: 1200, value: 220 };

/// An object that is converted: a tree, and its new text.
pub(super) const CONVERTED: Weight = Weight { byte: 2, object: 400, value: 80 };

impl Weight {
    /// The memory for `text`. Signs in strings count as if they were none: a little too much is no harm.
    pub(super) fn of(self, text: &[u8]) -> usize {
        let count = |sign: u8| text.iter().filter(|byte| **byte == sign).count();
        let objects = self.object.saturating_mul(count(b'{'));
        // One value in front of each comma, one list behind each bracket.
        let values = self.value.saturating_mul(count(b',') + count(b'['));
        self.byte.saturating_mul(text.len()).saturating_add(objects).saturating_add(values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_weighs() {
        for (text, weight) in [("", 0), ("{}", 404), (r#"{"a":[1,2,{}]}"#, 14 * 2 + 2 * 400 + 3 * 80)] {
            assert_eq!(CONVERTED.of(text.as_bytes()), weight, "{text}");
        }
        assert_eq!(POD.of(br#"{"a":[{},{}]}"#), 3 * 140 + 2 * 60);
    }
}
