//! The configuration file: YAML, its keys are the names of the flags without their dashes.

use std::path::PathBuf;

use serde_json::{Map, Value};

use crate::source::documents;
use crate::source::located::LocatedText;

/// The entries of a file that nobody has asked for yet.
#[derive(Debug, Default)]
pub(super) struct ConfigFile {
    /// Where it is.
    pub(super) path: PathBuf,
    entries: Map<String, Value>,
    places: Option<LocatedText>,
}

/// A value as it would be typed, with its line; or what is wrong with it.
type Entry = Result<(String, Option<u64>), String>;

impl ConfigFile {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// It cannot be read, or is not one mapping.
    pub(super) fn read(path: PathBuf) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("--config {name}: cannot read: {error}"))?;
        let mut found = documents::parse(&text).into_iter();
        let entries = match (found.next(), found.next()) {
            (None, _) | (Some(Ok(Value::Null)), None) => Map::new(),
            (Some(Ok(Value::Object(entries))), None) => entries,
            (Some(Err(error)), _) => return Err(format!("--config {name}: {}", error.detail)),
            (Some(Ok(_)), None) => {
                return Err(format!(
                    "--config {name}: it has to be one mapping, for example \"log-level: debug\""
                ));
            }
            (Some(_), Some(_)) => {
                return Err(format!("--config {name}: it has several documents; put all into one"));
            }
        };
        Ok(Self { path, entries, places: Some(LocatedText::parse(&text)) })
    }

    /// The value of a setting, which is then out of the file. `null` is none.
    pub(super) fn take(&mut self, name: &str) -> Option<Entry> {
        let value = self.entries.shift_remove(name)?;
        let line = self.line(name);
        if value.is_null() {
            return None;
        }
        let typed = match &value {
            // A list is what its items are, parted by commas.
            Value::Array(items) => {
                items.iter().map(scalar).collect::<Option<Vec<_>>>().map(|all| all.join(","))
            }
            one => scalar(one),
        };
        let wrong = || {
            format!(
                "{}, {name}: it has to be a text, a number, true, false or a list of those",
                self.place(name)
            )
        };
        Some(typed.map(|text| (text, line)).ok_or_else(wrong))
    }

    /// Place and key of every entry that is left.
    pub(super) fn rest(&self) -> Vec<(String, String)> {
        self.entries.keys().map(|key| (self.place(key), key.clone())).collect()
    }

    fn place(&self, key: &str) -> String {
        let path = self.path.display();
        self.line(key).map_or_else(|| path.to_string(), |line| format!("{path} line {line}"))
    }

    fn line(&self, key: &str) -> Option<u64> {
        let found = self.places.as_ref()?.find(1, None, &format!("[{key}]"))?;
        found.complete.then_some(found.position.line)
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
