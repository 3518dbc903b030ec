//! Formats of names that several rules share.

/// The longest label value, in bytes.
const MAX_LABEL_VALUE: usize = 63;

/// Whether `text` can be the value of a label: empty, or at most 63 letters, digits, `-`, `_`, `.`, beginning and ending with a letter or
/// digit.
///
/// Rule: A-FMT-6d.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.is_empty()
        || (text.len() <= MAX_LABEL_VALUE
            && text.starts_with(alphanumeric)
            && text.ends_with(alphanumeric)
            && text.chars().all(|c| alphanumeric(c) || matches!(c, '-' | '_' | '.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_values() {
        for good in ["", "a", "V1.0", "a-_.b", &"x".repeat(63)] {
            assert!(is_label_value(good), "{good}");
        }
        for bad in ["-a", "a.", "a b", "a/b", "é", " ", &"x".repeat(64)] {
            assert!(!is_label_value(bad), "{bad}");
        }
    }
}
