//! The recorded requests of `tests/conformance/sidecarset/wire.jsonl`, posted over TLS.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Value, json};
use sidecarset::server::RequestLimits;

use crate::support::{exchange, mk_empty_state, publish, serve_tls};

const RECORDED: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/sidecarset/wire.jsonl"));

#[derive(Deserialize)]
struct Record {
    name: String,
    request: Request,
    deviation: Option<String>,
    upstream: Value,
    expected: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    path: String,
    content_type: String,
    body: Value,
    #[serde(default)]
    pad: usize,
}

impl Request {
    fn bytes(&self) -> Vec<u8> {
        let text = match &self.body {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        [" ".repeat(self.pad.saturating_sub(text.len())), text].concat().into_bytes()
    }
}

/// The answer in the shape of the records.
fn judged(status: u64, body: &str, path: &str) -> Value {
    let mut told = json!({"http": status});
    if status != 200 || body.is_empty() {
        return told;
    }
    let answer: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {body}"));
    for name in ["apiVersion", "kind"] {
        if answer[name].is_string() {
            told[name] = answer[name].clone();
        }
    }
    let response = &answer["response"];
    told["uid"] = response["uid"].clone();
    if path == "/convert" {
        let kind = |object: &Value| json!({"apiVersion": object["apiVersion"], "kind": object["kind"]});
        let objects = response["convertedObjects"].as_array();
        told["converted"] = objects.map(|list| list.iter().map(kind).collect()).unwrap_or_default();
        told["result"] = response["result"]["status"].clone();
        told["resultMembers"] = members(&response["result"]);
        return told;
    }
    told["allowed"] = response["allowed"].clone();
    told["code"] = response["status"]["code"].clone();
    for name in ["patchType"] {
        if let Some(value) = response.get(name) {
            told[name] = value.clone();
        }
    }
    told["members"] = members(response);
    told
}

fn members(value: &Value) -> Value {
    let names: BTreeSet<&String> = value.as_object().into_iter().flat_map(|map| map.keys()).collect();
    json!(names)
}

/// What has to be equal: an expected answer as it is, a recorded one without what D-10, D-12 and D-22 leave to us. The members of
/// `status` differ on purpose (D-10 adds a reason and details, A-WIRE-14's phrase is text), an error's body is never empty
/// (D-22), and warnings are an addition (D-12).
fn agreed(record: &Record) -> Value {
    let mut expected = record.expected.clone().unwrap_or_else(|| record.upstream.clone());
    if let Some(map) = expected.as_object_mut() {
        for left_open in ["statusMembers", "empty"] {
            map.remove(left_open);
        }
    }
    expected
}

/// Rules: A-WIRE-1 to A-WIRE-23, A-CONV-10 to A-CONV-14. Decision: D-10, D-22.
#[tokio::test]
async fn requests_are_answered_as_recorded() {
    let state = mk_empty_state(RequestLimits::default());
    publish(&state, "");
    let (address, ca) = serve_tls(state).await;
    let mut failures = Vec::new();
    let (mut judged_records, mut open_records) = (0, 0);
    for line in RECORDED.lines() {
        let record: Record = serde_json::from_str(line).expect("a record");
        let Request { method, path, content_type, .. } = &record.request;
        let line = format!("{method} {path}");
        let answer = exchange(address, &ca, &line, content_type, &record.request.bytes()).await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let mut found = judged(status, body, path);
        if record.deviation.is_some() && record.expected.is_none() {
            // No answer is agreed (README), but it has to be one.
            assert!(found["allowed"].is_boolean(), "{}: {found}", record.name);
            open_records += 1;
            continue;
        }
        let expected = agreed(&record);
        if let (Some(found), Some(expected)) = (found.as_object_mut(), expected.as_object()) {
            found.retain(|name, _| record.expected.is_none() || expected.contains_key(name));
        }
        if found != expected {
            failures.push(format!(
                "{} {line}:\n  expected {expected}\n  found    {found}\n  {body:.300}",
                record.name
            ));
        }
        judged_records += 1;
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
    assert_eq!((judged_records, open_records), (88, 1));
}
