//! Reading members of objects as the API server sends them.

use serde_json::Value;

/// What our program is called with in a Deployment.
const COMMANDS: [&str; 2] = ["webhook", "controller"];

/// The text at a JSON pointer, empty if there is none.
pub(super) fn text<'v>(object: &'v Value, pointer: &str) -> &'v str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The items of a list at a JSON pointer.
pub(super) fn items<'v>(object: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// The name of an object.
pub(super) fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// The `status` of a condition (`True`, `False`, `Unknown`), empty if it is not there.
pub(super) fn condition<'v>(object: &'v Value, kind: &str) -> &'v str {
    items(object, "/status/conditions")
        .find(|condition| text(condition, "/type") == kind)
        .map_or("", |condition| text(condition, "/status"))
}

/// The value of a flag of our program, as the Pods of a Deployment get it on the command line or by environment.
pub(super) fn option<'v>(deployment: &'v Value, flag: &str) -> Option<&'v str> {
    let container = container(deployment)?;
    let words: Vec<&str> = words(container).collect();
    let spelled = format!("--{flag}");
    let typed = words.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(&spelled)? {
        "" => words.get(at + 1).copied(),
        rest => rest.strip_prefix('='),
    });
    typed.or_else(|| variable(container, flag))
}

/// Whether a switch of our program is on: a flag that needs no value.
pub(super) fn is_on(deployment: &Value, flag: &str) -> bool {
    let spelled = format!("--{flag}");
    container(deployment).is_some_and(|container| {
        let is_whole = |rest: &&str| rest.is_empty() || rest.starts_with('=');
        let typed = words(container).find_map(|word| word.strip_prefix(&spelled).filter(is_whole));
        match typed.or_else(|| variable(container, flag)) {
            Some(value) => ["", "=true", "true"].contains(&value),
            None => false,
        }
    })
}

/// The value of a flag by environment.
fn variable<'v>(container: &'v Value, flag: &str) -> Option<&'v str> {
    let variable = format!("SIDECARSET_{}", flag.replace('-', "_").to_ascii_uppercase());
    let entry = items(container, "/env").find(|entry| text(entry, "/name") == variable)?;
    Some(text(entry, "/value")).filter(|value| !value.is_empty())
}

/// The container of a Deployment that runs our program.
pub(super) fn container(deployment: &Value) -> Option<&Value> {
    let is_ours = |container: &&Value| words(container).any(|word| COMMANDS.contains(&word));
    items(deployment, "/spec/template/spec/containers").find(is_ours)
}

/// The command line of a container.
fn words(container: &Value) -> impl Iterator<Item = &str> {
    ["/command", "/args"].into_iter().flat_map(|list| items(container, list)).filter_map(Value::as_str)
}

/// The Secret that a folder of our container is mounted from.
pub(super) fn secret_mounted_at<'v>(deployment: &'v Value, folder: &str) -> Option<&'v str> {
    let mount = items(container(deployment)?, "/volumeMounts")
        .find(|mount| text(mount, "/mountPath").trim_end_matches('/') == folder.trim_end_matches('/'))?;
    let volume = items(deployment, "/spec/template/spec/volumes")
        .find(|volume| text(volume, "/name") == text(mount, "/name"))?;
    Some(text(volume, "/secret/secretName")).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn options_are_found_however_they_are_given() {
        let deployment = json!({"spec": {"template": {"spec": {
            "containers": [
                {"name": "mesh", "args": ["--cert-dir=/wrong"]},
                {
                    "name": "webhook",
                    "args": ["webhook", "--cert-dir=/tls", "--service", "hook", "--cert"],
                    "env": [{"name": "SIDECARSET_REVISION_NAMESPACE", "value": "old"}, {"name": "SIDECARSET_CLIENT_CA", "value": ""}],
                    "volumeMounts": [{"name": "v1", "mountPath": "/other"}, {"name": "v2", "mountPath": "/tls/"}],
                },
            ],
            "volumes": [{"name": "v1", "secret": {"secretName": "a"}}, {"name": "v2", "secret": {"secretName": "b"}}],
        }}}});
        for (flag, expected) in [
            ("cert-dir", Some("/tls")),
            ("service", Some("hook")),
            ("revision-namespace", Some("old")),
            ("client-ca", None),
            ("cert", None),
        ] {
            assert_eq!(option(&deployment, flag), expected, "{flag}");
        }
        assert_eq!(secret_mounted_at(&deployment, "/tls"), Some("b"));
        assert_eq!(secret_mounted_at(&deployment, "/nowhere"), None);
        assert_eq!(option(&json!({}), "cert-dir"), None);
    }

    #[test]
    fn a_switch_needs_no_value() {
        let deployment = |args: &[&str], value: &str| {
            json!({"spec": {"template": {"spec": {"containers": [{
                "args": args, "env": [{"name": "SIDECARSET_TERMINATOR", "value": value}],
            }]}}}})
        };
        for (args, value, expected) in [
            (&["controller"][..], "", false),
            (&["controller"], "true", true),
            (&["controller", "--terminator"], "", true),
            (&["controller", "--terminator", "--workers=5"], "false", true),
            (&["controller", "--terminator=true"], "", true),
            (&["controller", "--terminator=false"], "true", false),
            (&["controller", "--terminators"], "", false),
        ] {
            assert_eq!(is_on(&deployment(args, value), "terminator"), expected, "{args:?}, {value:?}");
        }
        assert!(!is_on(&json!({}), "terminator"));
    }
}
