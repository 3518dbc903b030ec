//! Formats of names, numbers and paths that several rules share (A-FMT-6). Every pattern is anchored at both ends.

/// The longest name part of a qualified name, DNS label and label value, in bytes.
const MAX_NAME: usize = 63;
/// The longest DNS subdomain and config key, in bytes.
const MAX_SUBDOMAIN: usize = 253;
/// The longest name of a port, in bytes.
const MAX_PORT_NAME: usize = 15;
/// The highest file mode: `0777`.
const MAX_FILE_MODE: i64 = 0o777;
/// The highest user or group id.
const MAX_USER_ID: i64 = i32::MAX as i64;

/// Whether `text` is a DNS label: at most 63 lower-case letters, digits and inner hyphens.
///
/// Rule: A-FMT-6a.
#[must_use]
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= MAX_NAME && is_subdomain_part(text)
}

/// Whether `text` is a DNS subdomain: parts formed like DNS labels and joined by dots, at most 253 bytes together. As in Kubernetes,
/// one part alone may be longer than a label.
///
/// Rule: A-FMT-6b.
#[must_use]
pub fn is_dns_subdomain(text: &str) -> bool {
    text.len() <= MAX_SUBDOMAIN && text.split('.').all(is_subdomain_part)
}

/// Whether `text` is a qualified name: at most 63 letters, digits, `-`, `_`, `.`, beginning and ending with a letter or digit;
/// before it, optionally, a DNS subdomain and `/`.
///
/// Rule: A-FMT-6c.
#[must_use]
pub fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_dns_subdomain(prefix) && is_name_part(name),
        None => is_name_part(text),
    }
}

/// Whether `text` can be the value of a label: empty, or at most 63 letters, digits, `-`, `_`, `.`, beginning and ending with a letter or
/// digit.
///
/// Rule: A-FMT-6d.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name_part(text)
}

/// Whether `text` can be the key of an annotation: a qualified name once it is in lower case.
///
/// Rule: A-FMT-6e.
#[must_use]
pub fn is_annotation_key(text: &str) -> bool {
    is_qualified_name(&text.to_lowercase())
}

/// Whether `text` can name a port: at most 15 lower-case letters, digits and single inner hyphens, with at least one letter.
///
/// Rule: A-FMT-6f.
#[must_use]
pub fn is_port_name(text: &str) -> bool {
    text.len() <= MAX_PORT_NAME
        && is_subdomain_part(text)
        && !text.contains("--")
        && text.contains(|c: char| c.is_ascii_lowercase())
}

/// Whether `number` is the number of a port, 1 to 65535.
///
/// Rule: A-FMT-6g.
#[must_use]
pub fn is_port_number(number: i64) -> bool {
    (1..=65535).contains(&number)
}

/// Whether a newer Kubernetes takes `text` as the name of an environment variable: printable ASCII without `=`.
///
/// Rule: A-FMT-6h.
/// Decision: D-16.
#[must_use]
pub fn is_env_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'=')
}

/// Whether `text` is the name of an environment variable in the strict form that every Kubernetes takes: letters, digits, `-`, `_`,
/// `.`, not beginning with a digit or `..`, and not `.`.
///
/// Rule: A-FMT-6h.
#[must_use]
pub fn is_strict_env_name(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(is_key_char)
        && is_no_dot_name(text)
}

/// Whether `text` can be a key of a ConfigMap or Secret: at most 253 letters, digits, `-`, `_`, `.`, not `.` and not beginning with `..`.
///
/// Rule: A-FMT-6i.
#[must_use]
pub fn is_config_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= MAX_SUBDOMAIN && text.chars().all(is_key_char) && is_no_dot_name(text)
}

/// Whether `text` is a percentage: digits and `%`, without an upper bound.
///
/// Rule: A-FMT-6j.
#[must_use]
pub fn is_percentage(text: &str) -> bool {
    text.strip_suffix('%')
        .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()))
}

/// Whether `text` can be the name of an HTTP header: letters, digits, `-`.
///
/// Rule: A-FMT-6k.
#[must_use]
pub fn is_header_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// Whether `text` is a path that stays below where it starts: not absolute, no element `..`.
///
/// Rule: A-FMT-6l.
#[must_use]
pub fn is_relative_path(text: &str) -> bool {
    !text.starts_with('/') && !has_parent_element(text)
}

/// Whether `text` is a relative path that does not begin with `..`, which the kubelet keeps for itself.
///
/// Rule: A-FMT-6m.
#[must_use]
pub fn is_unreserved_path(text: &str) -> bool {
    is_relative_path(text) && !text.starts_with("..")
}

/// Whether a path has an element `..`.
#[must_use]
pub fn has_parent_element(path: &str) -> bool {
    path.split('/').any(|element| element == "..")
}

/// Path and key of a subscripted field path such as `metadata.labels['key']`; `None` if it is not subscripted. The key may
/// contain brackets.
///
/// Rule: A-VAL-34.
#[must_use]
pub fn split_subscript(field_path: &str) -> Option<(&str, &str)> {
    field_path.strip_suffix("']")?.split_once("['").filter(|(path, _)| !path.is_empty())
}

/// Whether `number` is a file mode, 0 to 0777 octal.
///
/// Rule: A-FMT-6n.
#[must_use]
pub fn is_file_mode(number: i64) -> bool {
    (0..=MAX_FILE_MODE).contains(&number)
}

/// Whether `number` is a user or group id, 0 to 2147483647.
///
/// Rule: A-FMT-6o.
#[must_use]
pub fn is_user_id(number: i64) -> bool {
    (0..=MAX_USER_ID).contains(&number)
}

/// Lower-case letters, digits and inner hyphens, at least one.
fn is_subdomain_part(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || c == '-')
}

/// The part of a qualified name behind the `/`.
fn is_name_part(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_alphanumeric();
    text.len() <= MAX_NAME
        && text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(is_key_char)
}

/// A letter, a digit, `-`, `_` or `.`.
fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

/// Whether `text` cannot be mistaken for the folder itself or one above.
fn is_no_dot_name(text: &str) -> bool {
    text != "." && !text.starts_with("..")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asserts that `check` takes all of `good` and none of `bad`.
    fn assert_format(check: impl Fn(&str) -> bool, good: &[&str], bad: &[&str]) {
        for text in good {
            assert!(check(text), "{text:?} should be taken");
        }
        for text in bad {
            assert!(!check(text), "{text:?} should be refused");
        }
    }

    #[test]
    fn dns_names() {
        let (label, long) = ("a".repeat(63), "a".repeat(64));
        assert_format(is_dns_label, &["a", "0", "a-b", &label], &["", "-a", "a-", "a.b", "A", "é", &long]);
        let limit = "a.".repeat(126) + "a";
        assert_format(
            is_dns_subdomain,
            &["a", "a.b-c.0", &long, &limit],
            &["", ".", "a..b", "a.", "A", "a_b", &(limit.clone() + "b")],
        );
    }

    #[test]
    fn label_values() {
        assert_format(
            is_label_value,
            &["", "a", "V1.0", "a-_.b", &"x".repeat(63)],
            &["-a", "a.", "a b", "a/b", "é", " ", &"x".repeat(64)],
        );
    }

    #[test]
    fn qualified_names_and_annotation_keys() {
        let long = "a".repeat(64);
        assert_format(
            is_qualified_name,
            &["a", "A_b.C", "a.b/C", "0/0"],
            &["", "/a", "a/", "a/b/c", "A/b", "a b", "_a", &long, &format!("a/{long}")],
        );
        assert_format(is_annotation_key, &["A/b", "Example.COM/Key"], &["", "a b", "a_b/c"]);
    }

    #[test]
    fn ports() {
        assert_format(
            is_port_name,
            &["http", "a", "1a", "a-b-c", "abcdefghijklmno"],
            &["", "80", "-a", "a-", "a--b", "HTTP", "a.b", "abcdefghijklmnop"],
        );
        assert_eq!([0, 1, 65535, 65536].map(is_port_number), [false, true, true, false]);
    }

    #[test]
    fn keys_and_variables() {
        let key = "k".repeat(253);
        assert_format(
            is_config_key,
            &["a", "0", ".a", "A_b-c.d", &key],
            &["", ".", "..", "..a", "a b", "a/b"],
        );
        assert!(!is_config_key(&(key + "k")));
        assert_format(
            is_strict_env_name,
            &["A", "_", "-a", ".a", "a.b"],
            &["", ".", "..", "..a", "1A", "a b", "é"],
        );
        assert_format(is_env_name, &["1A", ".", "a b", "~"], &["", "a=b", "é", "\t", "\u{7f}"]);
    }

    #[test]
    fn paths_headers_and_percentages() {
        assert_format(is_relative_path, &["", "a", "..a", "a/..b", "./a"], &["/a", "..", "a/..", "a/../b"]);
        assert_format(is_unreserved_path, &["a", "a/..b", ".a"], &["..a", "..", "/a"]);
        assert_format(is_header_name, &["X-A", "-", "0"], &["", "a b", "a_b", "a:"]);
        assert_format(is_percentage, &["0%", "120%", "007%"], &["", "%", "1", "-1%", "1.5%", "1 %", "١%"]);
    }

    #[test]
    fn numbers() {
        assert_eq!([-1, 0, 511, 512].map(is_file_mode), [false, true, true, false]);
        assert_eq!([-1, 0, 2_147_483_647, 2_147_483_648].map(is_user_id), [false, true, true, false]);
    }
}
