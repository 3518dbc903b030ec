//! SidecarSets as they come from a source: decoded, converted, defaulted, with hashes.

use serde_json::Value;

use crate::api::{convert, decode};
use crate::content::text;
use crate::defaulting;
use crate::field::{FieldError, FieldErrorKind};

/// A SidecarSet of version v1beta1, ready to be compiled into a Snapshot.
#[derive(Debug, Clone)]
pub struct SidecarSet {
    document: Value,
}

impl SidecarSet {
    /// Makes a set from a document of a file, of either API version: checked, converted to v1beta1, defaulted, hashes
    /// computed where it carries none (I-MATCH-3, I-REV-12).
    ///
    /// # Errors
    ///
    /// Every finding, sorted by path.
    pub fn from_file_document(document: &Value) -> Result<Self, Vec<FieldError>> {
        let mut findings = decode::check(document);
        if text(&document["metadata"]["name"]).is_empty() {
            let detail = "a SidecarSet needs a name";
            findings.push(FieldError::new("metadata.name", FieldErrorKind::Required, detail, "A-API-1"));
        }
        if !findings.is_empty() {
            findings.sort();
            return Err(findings);
        }
        let mut document = document.clone();
        convert::to_v1beta1(&mut document);
        defaulting::apply(&mut document);
        defaulting::ensure_hash_annotations(&mut document)?;
        Ok(Self { document })
    }

    /// Takes a set as the API server stores it, in version v1beta1: defaulted and hashed when it was admitted.
    ///
    /// # Errors
    ///
    /// Every finding, sorted by path, of a document that is no SidecarSet.
    pub fn from_stored(document: Value) -> Result<Self, Vec<FieldError>> {
        let findings = decode::check(&document);
        if findings.is_empty() { Ok(Self { document }) } else { Err(findings) }
    }

    /// `metadata.name`.
    #[must_use]
    pub fn name(&self) -> &str {
        text(&self.document["metadata"]["name"])
    }

    /// The whole object.
    #[must_use]
    pub fn document(&self) -> &Value {
        &self.document
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::keys;

    /// Rule: I-MATCH-3, A-CONV-5.
    #[test]
    fn a_custom_version_is_where_its_api_version_has_it() {
        let spec = json!({"containers": [{"name": "c", "image": "c:1"}], "customVersion": "v2"});
        let set = |version: &str, labels: &Value| {
            let metadata = json!({"name": "a", "labels": labels});
            let document = json!({
                "apiVersion": format!("apps.kruise.io/{version}"), "kind": "SidecarSet", "metadata": metadata, "spec": spec,
            });
            SidecarSet::from_file_document(&document).unwrap().document()["spec"]["customVersion"].clone()
        };
        assert_eq!(set("v1beta1", &json!({})), "v2");
        assert_eq!(set("v1alpha1", &json!({keys::CUSTOM_VERSION: "v3"})), "v3");
        assert_eq!(set("v1alpha1", &json!({})), Value::Null, "v1alpha1 has no such member");
    }
}
