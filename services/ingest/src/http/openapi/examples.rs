//! Examples of requests: the provider's own samples, as tests/corpus keeps them. A test shows that each is taken.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::openapi::example::{Example, ExampleBuilder};

/// One file of the corpus, as far as it is needed here.
#[derive(Deserialize)]
struct Case {
    deliveries: Vec<Delivery>,
}

#[derive(Deserialize)]
struct Delivery {
    body: String,
}

/// Agent and call events, as JSON.
pub(super) fn events() -> BTreeMap<String, Example> {
    [
        ("agentSignedIn", "An agent signs in", include_str!("../../../../../tests/corpus/A01.json")),
        ("callRinging", "An inbound call rings at an agent", include_str!("../../../../../tests/corpus/C01.json")),
        (
            "callWithoutAgent",
            "The caller gave up before an agent had the call",
            include_str!("../../../../../tests/corpus/C02.json"),
        ),
        (
            "idsAsNumbers",
            "Ids as numbers beyond 2^53: no digit is lost",
            include_str!("../../../../../tests/corpus/C05.json"),
        ),
    ]
    .into_iter()
    .filter_map(|(name, summary, file)| Some((name.to_owned(), first(summary, file, json_body)?)))
    .collect()
}

/// Two events of one call in one request.
pub(super) fn batch() -> Option<Example> {
    let case = read(include_str!("../../../../../tests/corpus/C01.json"))?;
    let events: Vec<Value> = case.deliveries.iter().filter_map(|delivery| json_body(&delivery.body)).take(2).collect();
    Some(example("Two events in one request", Value::Array(events)))
}

/// Callbacks as JSON: what the form's field `data` holds.
pub(super) fn callbacks() -> BTreeMap<String, Example> {
    [
        ("answered", "An answered call", include_str!("../../../../../tests/corpus/K01.json")),
        ("missed", "A missed call", include_str!("../../../../../tests/corpus/K02.json")),
        (
            "transferred",
            "A call that went through several agents",
            include_str!("../../../../../tests/corpus/K04.json"),
        ),
    ]
    .into_iter()
    .filter_map(|(name, summary, file)| {
        Some((name.to_owned(), first(summary, file, |body| json_body(&form_data(body)?))?))
    })
    .collect()
}

/// Callbacks as the provider sends them: a form with the one field `data`.
pub(super) fn callback_forms() -> BTreeMap<String, Example> {
    let form = |body: &str| Some(json!({"data": form_data(body)?}));
    [
        ("answered", "An answered call", include_str!("../../../../../tests/corpus/K01.json")),
        ("missed", "A missed call", include_str!("../../../../../tests/corpus/K02.json")),
    ]
    .into_iter()
    .filter_map(|(name, summary, file)| Some((name.to_owned(), first(summary, file, form)?)))
    .collect()
}

/// The first delivery of a case.
fn first(summary: &str, file: &str, value: impl Fn(&str) -> Option<Value>) -> Option<Example> {
    Some(example(summary, value(&read(file)?.deliveries.first()?.body)?))
}

/// A file of the corpus. One that cannot be read is missed by the test, not here.
fn read(file: &str) -> Option<Case> {
    serde_json::from_str(file).ok()
}

fn json_body(body: &str) -> Option<Value> {
    serde_json::from_str(body).ok()
}

fn form_data(body: &str) -> Option<String> {
    form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "data").map(|(_, value)| value.into_owned())
}

fn example(summary: &str, value: Value) -> Example {
    ExampleBuilder::new().summary(summary).value(Some(value)).build()
}
