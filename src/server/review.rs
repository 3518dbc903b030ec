//! AdmissionReview on the wire: what we read of it, borrowed from the body, and the answer, written straight into one buffer.
//!
//! Own types instead of those of a client library: these borrow, leave the Pod as text, and write the patch as base64
//! rather than as an array of numbers, which is 2.6 times as long.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sidecarset_core::admission::{Decision, Request, Verdict};
use sidecarset_core::json::{Cursor, JsonError, Read, Str, object_view, push_string};
use sidecarset_core::pod::PodLook;

use super::status::Failure;
use crate::metrics::Operation;

/// Longest `uid` that is echoed; an API server sends 36 characters.
const LONGEST_UID: usize = 128;
/// Longest text of a JSON error that is shown; it may quote the body.
const LONGEST_DETAIL: usize = 300;

/// Version of the AdmissionReview; the answer has the version of the question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReviewVersion {
    /// `admission.k8s.io/v1`
    V1,
    /// `admission.k8s.io/v1beta1`
    V1beta1,
}

impl ReviewVersion {
    /// The `apiVersion` text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "admission.k8s.io/v1",
            Self::V1beta1 => "admission.k8s.io/v1beta1",
        }
    }
}

/// The object under review.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are Pods; a box would cost each of them an allocation"
)]
pub enum Object<'a> {
    /// A Pod, looked at.
    Pod(PodLook<'a>),
    /// Absent or `null`.
    Missing,
    /// JSON, but no Pod: what is wrong.
    Undecodable(String),
}

/// A review that passed every check of its envelope.
#[derive(Debug)]
pub struct Review<'a> {
    /// Version to answer in.
    pub version: ReviewVersion,
    /// The request's own id: checked, safe to write between quotes.
    pub uid: Cow<'a, str>,
    /// What is done to the object.
    pub operation: Operation,
    /// The object under review.
    pub object: Object<'a>,
    namespace: Cow<'a, str>,
    sub_resource: Cow<'a, str>,
    dry_run: bool,
}

impl Review<'_> {
    /// What the core reads of the request.
    #[must_use]
    pub fn request(&self) -> Request<'_> {
        Request {
            operation: self.operation.as_str(),
            group: "",
            resource: "pods",
            sub_resource: &self.sub_resource,
            namespace: &self.namespace,
            dry_run: self.dry_run,
        }
    }
}

impl<'a> Read<'a> for Object<'a> {
    fn read(cursor: &mut Cursor<'a>) -> Result<Self, JsonError> {
        let read = cursor.attempt()?;
        Ok(read.map_or_else(|error| Self::Undecodable(shorten(&error.to_string())), Self::Pod))
    }
}

object_view! {
    struct Envelope<'a> {
        api_version: Str<'a> = "apiVersion",
        kind: Str<'a> = "kind",
        request: Incoming<'a> = "request",
    }
}

object_view! {
    struct Incoming<'a> {
        uid: Str<'a> = "uid",
        kind: Kind<'a> = "kind",
        resource: Resource<'a> = "resource",
        sub_resource: Str<'a> = "subResource",
        operation: Str<'a> = "operation",
        namespace: Str<'a> = "namespace",
        dry_run: bool = "dryRun",
        object: Object<'a> = "object",
    }
}

object_view! {
    struct Kind<'a> {
        group: Str<'a> = "group",
        version: Str<'a> = "version",
        kind: Str<'a> = "kind",
    }
}

object_view! {
    struct Resource<'a> {
        group: Str<'a> = "group",
        version: Str<'a> = "version",
        resource: Str<'a> = "resource",
    }
}

/// Reads a request's body, in one pass if it is as it should be.
///
/// # Errors
///
/// HTTP 400 that says what is wrong with the envelope. A broken *object* is no error here but [`Object::Undecodable`].
///
/// Rule: I-CALL-11, I-DEF-44. Decision: D-22.
pub fn decode(body: &[u8]) -> Result<Review<'_>, Failure> {
    let text = std::str::from_utf8(body).map_err(|error| {
        let at = error.valid_up_to();
        Failure::bad_request(format!("the body is not UTF-8 from byte {at} on; JSON has to be"))
    })?;
    if text.trim_ascii().is_empty() {
        return Err(Failure::bad_request("the body is empty; post an AdmissionReview as JSON"));
    }
    let envelope: Envelope<'_> = Cursor::read_all(text).map_err(|error| {
        let detail = shorten(&error.to_string());
        Failure::bad_request(format!("the body is no AdmissionReview: {detail}"))
    })?;
    check(envelope)
}

fn check(envelope: Envelope<'_>) -> Result<Review<'_>, Failure> {
    let version = match (text(&envelope.api_version), text(&envelope.kind)) {
        ("admission.k8s.io/v1", "AdmissionReview") => ReviewVersion::V1,
        ("admission.k8s.io/v1beta1", "AdmissionReview") => ReviewVersion::V1beta1,
        (found_version, found_kind) => {
            return Err(Failure::bad_request(format!(
                "found apiVersion {:?}, kind {:?}; answered are admission.k8s.io/v1 and admission.k8s.io/v1beta1, kind \
                 AdmissionReview",
                shorten(found_version),
                shorten(found_kind)
            )));
        }
    };
    let request = envelope
        .request
        .ok_or_else(|| Failure::bad_request("the AdmissionReview has no member request; it needs one"))?;
    check_uid(text(&request.uid))?;
    check_resource(request.resource.as_ref(), request.kind.as_ref(), text(&request.sub_resource))?;
    Ok(Review {
        version,
        operation: parse_operation(text(&request.operation))?,
        uid: request.uid.unwrap_or_default().0,
        object: request.object.unwrap_or(Object::Missing),
        namespace: request.namespace.unwrap_or_default().0,
        sub_resource: request.sub_resource.unwrap_or_default().0,
        dry_run: request.dry_run.unwrap_or_default(),
    })
}

/// A text, empty if absent.
fn text<'t>(member: &'t Option<Str<'_>>) -> &'t str {
    member.as_deref().unwrap_or_default()
}

/// The uid goes into our answer and our log, so it has to be what an id looks like.
fn check_uid(uid: &str) -> Result<(), Failure> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':');
    if uid.is_empty() {
        return Err(Failure::bad_request("request.uid is missing or empty; the answer has to repeat it"));
    }
    if uid.len() > LONGEST_UID || !uid.bytes().all(good) {
        return Err(Failure::bad_request(format!(
            "request.uid has to be 1 to {LONGEST_UID} letters, digits, '-', '_', '.' or ':'; found {} bytes with others, or more",
            uid.len()
        )));
    }
    Ok(())
}

/// Rule: I-DEF-44. Decision: D-22.
fn check_resource(
    resource: Option<&Resource<'_>>,
    kind: Option<&Kind<'_>>,
    sub_resource: &str,
) -> Result<(), Failure> {
    let resource = resource.ok_or_else(|| Failure::bad_request("request.resource is missing"))?;
    let found = (text(&resource.group), text(&resource.version), text(&resource.resource));
    if found != ("", "v1", "pods") {
        return Err(Failure::bad_request(format!(
            "request.resource is {:?}; this path reviews group \"\", version \"v1\", resource \"pods\": check the rules of the \
             MutatingWebhookConfiguration",
            shorten(&format!("{}/{}/{}", found.0, found.1, found.2))
        )));
    }
    // A sub-resource has a kind of its own, for example policy/v1 Eviction.
    let Some(kind) = kind.filter(|_| sub_resource.is_empty()) else { return Ok(()) };
    let found = (text(&kind.group), text(&kind.version), text(&kind.kind));
    if found != ("", "v1", "Pod") {
        return Err(Failure::bad_request(format!(
            "request.kind is {:?} but request.resource is pods, whose kind is group \"\", version \"v1\", kind \"Pod\"",
            shorten(&format!("{}/{}/{}", found.0, found.1, found.2))
        )));
    }
    Ok(())
}

fn parse_operation(text: &str) -> Result<Operation, Failure> {
    use Operation::{Connect, Create, Delete, Update};
    [Create, Update, Delete, Connect].into_iter().find(|operation| operation.as_str() == text).ok_or_else(
        || {
            let found = shorten(text);
            Failure::bad_request(format!(
                "request.operation is {found:?}; it has to be CREATE, UPDATE, DELETE or CONNECT"
            ))
        },
    )
}

/// The beginning of a text that may be of any length, for messages and logs.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(LONGEST_DETAIL) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// Writes the answer.
///
/// Rule: I-RESP-1, I-RESP-2, I-RESP-3, I-RESP-4.
#[must_use]
pub fn encode(version: ReviewVersion, uid: &str, decision: &Decision) -> String {
    let Decision { verdict, warnings, audit_annotations, injected: _, skipped: _, at_fault: _ } = decision;
    let patch_size = if let Verdict::Patch(patch) = verdict { patch.len() / 3 * 4 } else { 0 };
    let mut out = String::with_capacity(512 + patch_size);
    out.push_str(r#"{"apiVersion":""#);
    out.push_str(version.as_str());
    out.push_str(r#"","kind":"AdmissionReview","response":{"uid":""#);
    out.push_str(uid);
    match verdict {
        Verdict::Unchanged => out.push_str(r#"","allowed":true,"status":{"metadata":{},"code":200}"#),
        Verdict::Patch(patch) => {
            out.push_str(r#"","allowed":true,"status":{"metadata":{},"code":200},"#);
            out.push_str(r#""patchType":"JSONPatch","patch":""#);
            STANDARD.encode_string(patch, &mut out);
            out.push('"');
        }
        Verdict::Denied(denial) => {
            out.push_str(r#"","allowed":false,"status":{"metadata":{},"message":"#);
            push_string(&mut out, &denial.message);
            out.push_str(r#","code":"#);
            out.push_str(&denial.code.to_string());
            out.push('}');
        }
    }
    if !warnings.is_empty() {
        out.push_str(r#","warnings":"#);
        for (n, warning) in warnings.iter().enumerate() {
            out.push(if n == 0 { '[' } else { ',' });
            push_string(&mut out, warning);
        }
        out.push(']');
    }
    if !audit_annotations.is_empty() {
        out.push_str(r#","auditAnnotations":"#);
        for (n, (key, value)) in audit_annotations.iter().enumerate() {
            out.push(if n == 0 { '{' } else { ',' });
            push_string(&mut out, key);
            out.push(':');
            push_string(&mut out, value);
        }
        out.push('}');
    }
    out.push_str("}}");
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};
    use sidecarset_core::admission::Denial;

    use super::*;

    fn written(decision: &Decision) -> Value {
        serde_json::from_str(&encode(ReviewVersion::V1, "u-1", decision)).expect("JSON")
    }

    #[test]
    fn a_patch_is_base64_of_its_text() {
        let decision = Decision {
            verdict: Verdict::Patch(r#"[{"op":"add"}]"#.to_owned()),
            injected: vec![Arc::from("a")],
            ..Decision::default()
        };
        assert_eq!(
            written(&decision),
            json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": {
                "uid": "u-1", "allowed": true, "status": {"metadata": {}, "code": 200}, "patchType": "JSONPatch",
                "patch": "W3sib3AiOiJhZGQifV0="}})
        );
    }

    #[test]
    fn no_change_has_no_patch() {
        let response = written(&Decision::default())["response"].clone();
        assert_eq!(response, json!({"uid": "u-1", "allowed": true, "status": {"metadata": {}, "code": 200}}));
    }

    #[test]
    fn texts_are_escaped() {
        let nasty = "a \"quoted\" \\ text\nwith é and \u{1}";
        let decision = Decision {
            verdict: Verdict::Denied(Denial { code: 500, message: nasty.to_owned(), rule: "I-X" }),
            warnings: vec!["plain".to_owned(), nasty.to_owned()],
            audit_annotations: vec![("injected", nasty.to_owned()), ("skipped", "b".to_owned())],
            ..Decision::default()
        };
        assert_eq!(
            written(&decision)["response"],
            json!({"uid": "u-1", "allowed": false, "status": {"metadata": {}, "message": nasty, "code": 500},
                "warnings": ["plain", nasty], "auditAnnotations": {"injected": nasty, "skipped": "b"}})
        );
    }

    #[test]
    fn texts_of_the_envelope_are_borrowed() {
        let body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"u-1",
            "resource":{"group":"","version":"v1","resource":"pods"},"operation":"CREATE","namespace":"team-a","object":{}}}"#;
        let review = decode(body).expect("a review");
        assert!(matches!((&review.uid, &review.namespace), (Cow::Borrowed("u-1"), Cow::Borrowed("team-a"))));
    }

    #[test]
    fn shortening_keeps_whole_characters() {
        let text = "é".repeat(400);
        assert_eq!(shorten(&text).chars().filter(|c| *c == 'é').count(), LONGEST_DETAIL);
    }
}
