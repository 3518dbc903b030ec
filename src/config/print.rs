//! `--print-config`: the settings as a file that can be given back as `--config`.

use std::ffi::OsString;
use std::fmt::Write as _;

use super::layers::{Origin, Setting, Settings};

/// One line a setting: its value, and as a comment where it comes from.
#[must_use]
pub fn as_yaml(settings: &Settings) -> String {
    let mut text = String::new();
    for setting in &settings.0 {
        let name = &setting.name;
        // Writing to a String does not fail.
        let _ = match value(setting) {
            Some(value) => writeln!(text, "{name}: {value} # {}", origin(&setting.origin)),
            None => writeln!(text, "# {name}: not set"),
        };
    }
    text
}

fn value(setting: &Setting) -> Option<String> {
    if setting.is_list {
        let text = |value: &OsString| value.to_string_lossy().into_owned();
        let all: Vec<String> = setting.values.iter().map(text).collect();
        let items: Vec<String> = all.iter().flat_map(|value| value.split(',')).map(scalar).collect();
        return (!items.is_empty()).then(|| format!("[{}]", items.join(", ")));
    }
    setting.values.first().map(|value| scalar(&value.to_string_lossy()))
}

/// Plain where nobody can read it as something else, else as JSON, which is YAML.
fn scalar(text: &str) -> String {
    let is_number = text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
    let is_bool = ["true", "false"].contains(&text);
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_plain =
        starts_well && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-=".contains(&byte));
    // YAML 1.1 has more words for true, false and null.
    let is_word = ["y", "n", "yes", "no", "on", "off", "null", "true", "false"]
        .contains(&text.to_ascii_lowercase().as_str());
    if is_number || is_bool || (is_plain && !is_word) {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Flag => "flag".to_owned(),
        Origin::Environment(variable) => format!("environment {variable}"),
        // A name may have a line break in it, a comment may not.
        Origin::File(path, line) => {
            let line = line.map(|line| format!(" line {line}")).unwrap_or_default();
            format!("file {}{line}", path.display().to_string().escape_debug())
        }
        Origin::Default => "default".to_owned(),
    }
}
