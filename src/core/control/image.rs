//! Image references, and when two of them mean the same image.

/// A reference taken apart, its name in the long form.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    name: String,
    tag: &'a str,
    digest: &'a str,
}

/// Takes a reference apart; `None` if it is none.
fn parse(image: &str) -> Option<Reference<'_>> {
    let (rest, digest) = image.split_once('@').unwrap_or((image, ""));
    let is_digest = digest.split_once(':').is_some_and(|(kind, hex)| !kind.is_empty() && !hex.is_empty());
    if image.contains('@') && !is_digest {
        return None;
    }
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (rest, ""),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':' | '[' | ']');
    if name.is_empty() || !name.chars().all(is_name) || name.ends_with('/') {
        return None;
    }
    Some(Reference { name: long_name(name), tag, digest })
}

/// The name with the registry that it means: `busybox` is `docker.io/library/busybox`. Rules: C-BUG-13, C-BUG-15.
fn long_name(name: &str) -> String {
    let is_host = |part: &str| part.contains(['.', ':']) || part == "localhost";
    match name.split_once('/') {
        None => format!("docker.io/library/{name}"),
        Some(("index.docker.io" | "docker.io", path)) if path.contains('/') => format!("docker.io/{path}"),
        Some(("index.docker.io" | "docker.io", path)) => format!("docker.io/library/{path}"),
        Some((host, _)) if is_host(host) => name.to_owned(),
        Some(_) => format!("docker.io/{name}"),
    }
}

/// Whether the image names its content. Rule: C-CONS-4.
pub(super) fn has_digest(image: &str) -> bool {
    parse(image).is_some_and(|reference| !reference.digest.is_empty())
}

/// Whether two references mean the same image: of two digests only these are compared, otherwise names in their long form, and
/// tags. What cannot be read is the same as nothing.
///
/// Rules: C-CONS-4, C-BUG-15.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    let (Some(a), Some(b)) = (parse(a), parse(b)) else { return false };
    if !a.digest.is_empty() && !b.digest.is_empty() {
        return a.digest == b.digest;
    }
    let tag = |reference: &Reference<'_>| match (reference.tag, reference.digest) {
        ("", "") => "latest".to_owned(),
        (tag, _) => tag.to_owned(),
    };
    a.name == b.name && tag(&a) == tag(&b)
}

/// An imageID without the scheme that some runtimes put before it. Rule: C-CONS-4.
pub(super) fn without_scheme(image_id: &str) -> &str {
    image_id.split_once("://").map_or(image_id, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows C-T-IMG-1 to 5; the last one by C-BUG-15. Rules: C-CONS-4, C-BUG-13.
    #[test]
    fn images() {
        let cases = [
            ("docker.io/busybox:v1", "docker.io/busybox:v1", true),
            ("docker.io/busybox:v1", "docker.io/busybox:v2", false),
            ("docker.io/busybox@sha256:a1", "docker.io/busybox@sha256:a1", true),
            ("docker.io/busybox@sha256:a1", "docker.io/busybox@sha256:b1", false),
            ("busybox@sha256:a1", "docker.io/library/busybox@sha256:a1", true),
            ("busybox", "docker.io/library/busybox:latest", true),
            ("team/x:1", "docker.io/team/x:1", true),
            ("localhost/x:1", "docker.io/localhost/x:1", false),
            ("host:5000/x", "host:5000/x:latest", true),
            ("host:5000/x", "host:5000/x:1", false),
            ("a@b", "a@b", false),
            ("", "", false),
        ];
        for (a, b, expected) in cases {
            assert_eq!(is_same(a, b), expected, "{a} {b}");
            assert_eq!(is_same(b, a), expected, "{b} {a}");
        }
        assert!(has_digest("x:1@sha256:a1") && !has_digest("x:1") && !has_digest("x@a1"));
        assert_eq!(without_scheme("docker-pullable://x@sha256:a1"), "x@sha256:a1");
        assert_eq!(without_scheme("x:1"), "x:1");
    }
}
