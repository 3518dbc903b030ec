//! `POST /convert`: SidecarSets from one version of the API into the other, as the API server asks for it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::response::Response;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sidecarset_core::json::push_string;
use sidecarset_core::set_admission;

use super::AppState;
use super::body::with_share;
use super::intake::{self, Call};
use super::review::shorten;
use super::slots::{Share, counted};
use super::status::Failure;
use super::weight;
use crate::metrics::{ApiEndpoint, Outcome};

/// Most objects that a failed answer names.
const MOST_NAMED: usize = 20;

/// Converts the objects of a ConversionReview, v1 and v1beta1 alike.
///
/// Rule: A-CONV-10, A-CONV-11, A-CONV-12, A-CONV-13.
pub async fn convert(State(state): State<Arc<AppState>>, request: Request) -> Response {
    let started = Instant::now();
    let result = answer(Arc::clone(&state), request, started).await;
    super::finish_api_call(&state, ApiEndpoint::Convert, result)
}

async fn answer(
    state: Arc<AppState>,
    request: Request,
    started: Instant,
) -> Result<(Bytes, Outcome), Failure> {
    let limit = state.limits.conversion_bytes;
    let Call { body, deadline, slot } = intake::receive(&state, request, started, limit).await?;
    // The list of converted objects, and the answer with a copy of it.
    let share = intake::hold(&state, 2 * body.len(), counted(body.len()))?;
    let answer = super::off_the_pod_path(move || {
        // Whoever hangs up does not end this thread, so what it holds stays with it.
        let _slot = slot;
        let own = counted(body.len()) + share.bytes();
        let read = |object: &str| intake::hold_read(&state, object.as_bytes(), weight::CONVERTED, own);
        let (answer, outcome) = convert_review(&body, started, read)?;
        // A client that does not read its answer keeps that memory.
        Ok((with_share(answer, share), outcome))
    });
    let answer = answer.await??;
    deadline.check()?;
    Ok(answer)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    api_version: Option<String>,
    kind: Option<String>,
    #[serde(borrow)]
    request: Option<Incoming<'a>>,
}

/// The objects stay text: a list of ten thousand sets as trees would take twenty-five times its size in memory.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Incoming<'a> {
    uid: Option<String>,
    #[serde(rename = "desiredAPIVersion")]
    desired_api_version: Option<String>,
    #[serde(borrow)]
    objects: Option<Objects<'a>>,
}

/// Most objects in a review. A cluster with so many SidecarSets could not be served, and each takes memory before it is looked at.
const MOST_OBJECTS: usize = 250_000;

/// The objects, as long as they are not too many.
struct Objects<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Objects<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Vec<&'de RawValue>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "a list of at most {MOST_OBJECTS} objects")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let mut objects = Vec::new();
                while let Some(object) = list.next_element()? {
                    if objects.len() == MOST_OBJECTS {
                        return Err(A::Error::invalid_length(MOST_OBJECTS + 1, &self));
                    }
                    objects.push(object);
                }
                Ok(objects)
            }
        }
        deserializer.deserialize_seq(List).map(Self)
    }
}

/// `read` takes the memory for reading an object.
///
/// Decision: D-22.
fn convert_review(
    body: &[u8],
    started: Instant,
    read: impl Fn(&str) -> Result<Share, Failure>,
) -> Result<(String, Outcome), Failure> {
    let wrong = |error: String| Failure::bad_request(format!("the body is no ConversionReview: {error}"));
    let unreadable = |error: serde_json::Error| wrong(shorten(&error.to_string()));
    let envelope: Envelope<'_> = serde_json::from_slice(body).map_err(unreadable)?;
    let Envelope { api_version, kind, request } = envelope;
    let request = request.ok_or_else(|| wrong("it has no member request".to_owned()))?;
    let Incoming { uid, desired_api_version, objects } = request;
    let objects = objects.map(|Objects(list)| list).unwrap_or_default();
    let desired = desired_api_version.unwrap_or_default();

    let mut converted = Converted::new(body.len());
    for (index, text) in objects.iter().enumerate() {
        let _read = read(text.get())?;
        converted.push(index, text, &desired).map_err(unreadable)?;
    }
    let converted = converted.end(&desired);
    let (outcome, list, result) = match converted {
        Ok(list) => (Outcome::Patched, list, json!({"metadata": {}, "status": "Success"})),
        Err(message) => {
            let result = json!({"metadata": {}, "status": "Failure", "message": message});
            (Outcome::Denied, "null".to_owned(), result)
        }
    };
    let mut answer = String::with_capacity(list.len() + 512);
    answer.push('{');
    for (name, text) in [("apiVersion", api_version), ("kind", kind)] {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            push_string(&mut answer, name);
            answer.push(':');
            push_string(&mut answer, &text);
            answer.push(',');
        }
    }
    answer.push_str(r#""response":{"uid":"#);
    push_string(&mut answer, &uid.unwrap_or_default());
    answer.push_str(r#","result":"#);
    answer.push_str(&result.to_string());
    answer.push_str(r#","convertedObjects":"#);
    answer.push_str(&list);
    answer.push_str("}}");
    report(objects.len(), outcome, started.elapsed());
    Ok((answer, outcome))
}

/// What has been converted.
struct Converted {
    /// The text of a list, without its end.
    list: String,
    /// Why the first that cannot be converted cannot.
    bad: Vec<String>,
    /// Those that cannot be converted and are not among them.
    more: usize,
}

impl Converted {
    fn new(size: usize) -> Self {
        Self { list: String::with_capacity(size), bad: Vec::new(), more: 0 }
    }

    /// Converts one more object.
    ///
    /// # Errors
    ///
    /// Its text cannot be read, for example because it nests too deep.
    fn push(&mut self, index: usize, text: &RawValue, desired: &str) -> serde_json::Result<()> {
        let mut object: Value = serde_json::from_str(text.get())?;
        match set_admission::convert(index, &mut object, desired) {
            Ok(()) => {
                self.list.push(if self.list.is_empty() { '[' } else { ',' });
                self.list.push_str(&object.to_string());
            }
            Err(error) if self.bad.len() < MOST_NAMED => self.bad.push(error.to_string()),
            Err(_) => self.more += 1,
        }
        Ok(())
    }

    /// The text of the list, `null` if there is none; or why some cannot be converted.
    fn end(mut self, desired: &str) -> Result<String, String> {
        if self.bad.is_empty() {
            if self.list.is_empty() {
                return Ok("null".to_owned());
            }
            self.list.push(']');
            return Ok(self.list);
        }
        if self.more > 0 {
            self.bad.push(format!("and {} more", self.more));
        }
        Err(format!("cannot convert to {:?}: {}", shorten(desired), self.bad.join("; ")))
    }
}

/// Conversions come with every read of the other version, so only those that fail are worth a line at the usual level.
fn report(objects: usize, outcome: Outcome, duration: Duration) {
    let duration_ms = duration.as_micros() as f64 / 1e3;
    if outcome == Outcome::Denied {
        tracing::warn!(objects, duration_ms, "conversion failed");
    } else {
        tracing::debug!(objects, duration_ms, "conversion");
    }
}
