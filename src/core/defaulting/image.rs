//! Pull policy by image reference: `[registry[:port]/]repository[:tag][@digest]`.

/// The longest repository, in bytes.
const MAX_REPOSITORY: usize = 255;
/// The longest tag, in bytes.
const MAX_TAG: usize = 128;

/// `Always` if the image's tag is `latest`, given or implied, else `IfNotPresent`.
///
/// Rule: A-DEF-31.
pub(crate) fn pull_policy(image: &str) -> &'static str {
    if tag(image) == Some("latest") { "Always" } else { "IfNotPresent" }
}

/// The tag of a reference, `latest` if it has neither tag nor digest; `None` with a digest alone, or if it is no reference.
///
/// Rule: A-DEF-31a.
fn tag(image: &str) -> Option<&str> {
    if image.len() == 64 && is_hex(image) {
        return None;
    }
    let (registry, rest) = split_registry(image);
    let (named, digest) = match rest.split_once('@') {
        Some((named, digest)) => (named, Some(digest)),
        None => (rest, None),
    };
    let (repository, tag) = match named.split_once(':') {
        Some((repository, tag)) => (repository, Some(tag)),
        None => (named, None),
    };
    let good = is_name(registry, repository) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest);
    good.then_some(tag.or(if digest.is_none() { Some("latest") } else { None })).flatten()
}

/// The explicit registry, and what follows it.
fn split_registry(image: &str) -> (Option<&str>, &str) {
    match image.split_once('/') {
        Some((registry, rest))
            if registry == "localhost"
                || registry.contains(['.', ':'])
                || registry.contains(char::is_uppercase) =>
        {
            (Some(registry), rest)
        }
        _ => (None, image),
    }
}

/// Whether registry and repository are valid together. What cannot be a registry may be the repository's first component.
fn is_name(registry: Option<&str>, repository: &str) -> bool {
    let is_path = |path: &str| path.split('/').all(is_component);
    let hub = matches!(registry, None | Some("docker.io" | "index.docker.io"));
    let prefix = if hub && !repository.contains('/') { "library/".len() } else { 0 };
    let fits = |length: usize| length <= MAX_REPOSITORY;
    match registry {
        Some(first) if !is_registry(first) => {
            is_component(first) && is_path(repository) && fits(first.len() + 1 + repository.len())
        }
        _ => is_path(repository) && fits(prefix + repository.len()),
    }
}

/// Lower-case letters and digits, joined by `.`, `_`, `__` or any number of `-`.
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = text.split(alphanumeric).filter(|separator| !separator.is_empty());
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && separators.into_iter().all(|s| matches!(s, "." | "_" | "__") || s.bytes().all(|b| b == b'-'))
}

/// Dot-separated labels or an IPv6 address in brackets, and perhaps a port.
fn is_registry(text: &str) -> bool {
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if let Some((address, port)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        let is_address = !address.is_empty() && address.bytes().all(|b| b.is_ascii_hexdigit() || b == b':');
        return is_address && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let is_label = |label: &str| {
        let alphanumeric = |c: char| c.is_ascii_alphanumeric();
        label.starts_with(alphanumeric)
            && label.ends_with(alphanumeric)
            && label.chars().all(|c| alphanumeric(c) || c == '-')
    };
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    host.split('.').all(is_label) && port.is_none_or(is_port)
}

fn is_tag(text: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.starts_with(word) && text.len() <= MAX_TAG && text.chars().all(|c| word(c) || matches!(c, '.' | '-'))
}

fn is_digest(text: &str) -> bool {
    let lengths = [("sha256", 64), ("sha384", 96), ("sha512", 128)];
    text.split_once(':')
        .is_some_and(|(algorithm, hex)| lengths.contains(&(algorithm, hex.len())) && is_hex(hex))
}

/// Lower-case hexadecimal digits.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_latest_is_pulled_always() {
        let digest = format!("@sha256:{}", "0a".repeat(32));
        let always = [
            "nginx".to_owned(),
            "nginx:latest".to_owned(),
            format!("nginx:latest{digest}"),
            "registry:5000/a/b".to_owned(),
            "localhost/a".to_owned(),
            "UPPER/a".to_owned(),
            "[::1]:5000/a".to_owned(),
            "a_b.io/x".to_owned(),
            "a__b-c---d.e/f".to_owned(),
            "a".repeat(MAX_REPOSITORY - "library/".len()),
        ];
        for image in always {
            assert_eq!(pull_policy(&image), "Always", "{image}");
        }
    }

    #[test]
    fn any_other_tag_a_digest_or_no_reference_is_pulled_if_not_present() {
        let hex = "0a".repeat(32);
        let others = [
            String::new(),
            "nginx:1.20".to_owned(),
            "nginx:Latest".to_owned(),
            format!("nginx@sha256:{hex}"),
            format!("nginx@sha384:{hex}"),
            format!("nginx@sha256:{}", hex.to_uppercase()),
            format!("nginx:latest@md5:{hex}"),
            hex,
            "Nginx".to_owned(),
            "nginx:".to_owned(),
            "nginx:-latest".to_owned(),
            "a//b".to_owned(),
            "/a".to_owned(),
            "a/".to_owned(),
            "a..b".to_owned(),
            "a___b".to_owned(),
            "-a".to_owned(),
            "reg-:5000/a".to_owned(),
            "reg:port/a".to_owned(),
            "a b".to_owned(),
            "é".to_owned(),
            "a".repeat(MAX_REPOSITORY - "library/".len() + 1),
        ];
        for image in others {
            assert_eq!(pull_policy(&image), "IfNotPresent", "{image}");
        }
    }

    #[test]
    fn what_counts_against_the_length_of_a_repository() {
        let long = "a".repeat(MAX_REPOSITORY);
        assert_eq!(tag(&format!("quay.io/{long}")), Some("latest"));
        assert_eq!(tag(&format!("docker.io/{long}")), None);
        assert_eq!(
            tag(&format!("docker.io/{}/b:{}", "a".repeat(253), "t".repeat(128))).map(str::len),
            Some(128)
        );
        assert_eq!(tag(&format!("a_b.io/{long}")), None);
    }
}
