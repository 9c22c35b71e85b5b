//! What must hold for any bytes that somebody posts: one function a fuzz target, each panicking where it does not.
//!
//! Decides no result: every law here compares the product with itself, or with the bytes it was given. Also part of
//! ingest's tests, which run it over the committed seeds without a fuzzer.

use std::sync::LazyLock;

use helix_ingest::{
    body::{self, Delivery, Unreadable},
    codecs::Codecs,
    normalise::{Context, Hint, Normalised, Rejection, Stamp},
    redact::{self, Redactor},
    value::{self, Json, MAX_DEPTH},
};
use helix_schemas::{
    id::FactId,
    names::WorkspaceId,
    rejected::RejectedBody,
    time::{OccurredAt, ReceivedAt},
};
use uuid::Uuid;

/// A target: its name is its folder of seeds too.
pub type Target = (&'static str, fn(&[u8]));
/// Every target.
pub const TARGETS: [Target; 3] = [("body", body), ("normalise", normalise), ("redact", redact)];

/// Secrets that the redactor is configured with; they are in the fuzzer's dictionary.
const SECRETS: [&str; 3] = ["account-key-0123456789abcdef", "KK_TEST_NOT_A_REAL_KEY", "secret of two words/+%25"];
/// Bytes about a planted secret.
const WORDS: usize = 200;
/// Events looked at of one batch: more of them are more of the same.
const EVENTS: usize = 8;

static CODECS: LazyLock<Codecs> = LazyLock::new(|| Codecs::with_ids(1, 2, 3, 4).expect("the schemas are embedded"));
static REDACTOR: LazyLock<Redactor> = LazyLock::new(|| Redactor::new(SECRETS));

/// The reader: the same bytes give the same events, and one event is the same in every wrapping.
pub fn body(bytes: &[u8]) {
    let once = read(bytes);
    assert!(once == read(bytes), "the same bytes read differently");
    if let Ok(Delivery::Batch(elements)) = body::read(bytes) {
        for element in &elements {
            let raw = std::str::from_utf8(&element.raw).expect("an element's bytes are text");
            value::parse(raw).expect("an element's bytes are JSON of their own");
        }
    }
    for value in once.unwrap_or_default().iter().take(EVENTS) {
        let canonical = value.canonical(|_| false);
        let parsed = value::parse(&canonical).expect("canonical text is JSON");
        assert!(parsed.value == *value, "canonical text is another value");
        for wrapped in wrappings(value) {
            let again = read(wrapped.as_bytes());
            assert!(again.as_deref() == Ok(std::slice::from_ref(value)), "read otherwise when wrapped as {wrapped}");
        }
    }
}

/// The normaliser: pure, blind to wrapping and send time; what it makes can be stored and read back as it was.
pub fn normalise(bytes: &[u8]) {
    for value in read(bytes).unwrap_or_default().iter().take(EVENTS) {
        for hint in [Hint::Agent, Hint::Call, Hint::Callback] {
            let context = context(hint);
            let event = helix_ingest::normalise::normalise(value, &context);
            assert!(event == helix_ingest::normalise::normalise(value, &context), "not pure");
            if let Some(resent) = resent(value) {
                same_event(&event, &helix_ingest::normalise::normalise(&resent, &context));
            }
            store(bytes, event);
        }
        let context = context(Hint::Callback);
        let event = helix_ingest::normalise::normalise(value, &context);
        for wrapped in wrappings(value) {
            for again in read(wrapped.as_bytes()).unwrap_or_default() {
                assert!(event == helix_ingest::normalise::normalise(&again, &context), "another event in {wrapped}");
            }
        }
    }
}

/// The redactor: no configured secret is left in the bytes, however they are decoded, nor in what is derived.
pub fn redact(bytes: &[u8]) {
    redacted(bytes);
    // The same words as a remark with a secret in it, in one of the wrappings: all of them would be slow.
    let words = String::from_utf8_lossy(bytes.get(..WORDS).unwrap_or(bytes));
    let middle = words.char_indices().nth(words.chars().count() / 2).map_or(0, |(at, _)| at);
    let (before, after) = words.split_at(middle);
    let choice = bytes.iter().fold(bytes.len(), |sum, byte| sum + usize::from(*byte));
    let remark = Json::Text(format!("{before}{}{after}", SECRETS[choice % SECRETS.len()]));
    let wrapped = wrappings(&Json::Object([("Comments".to_owned(), remark)].into()));
    redacted(wrapped[choice % wrapped.len()].as_bytes());
}

fn redacted(bytes: &[u8]) {
    let read_values = read(bytes).unwrap_or_default();
    let found = REDACTOR.found(read_values.iter().flat_map(redact::api_keys));
    let clean = REDACTOR.redact(bytes, &found).bytes;
    for secret in SECRETS {
        assert!(!redact::occurs(secret, &clean), "a secret is left in {}", String::from_utf8_lossy(&clean));
    }
    // The reader is another pair of eyes: what it finds in the stored bytes holds no secret either.
    for value in read(&clean).unwrap_or_default() {
        no_secret_in(&value);
    }
    for mut value in read_values {
        REDACTOR.scrub(&mut value, &found);
        no_secret_in(&value);
        let event = helix_ingest::normalise::normalise(&value, &context(Hint::Callback));
        let derived = event.ok().map(|event| serde_json::to_string(&event.body).expect("a body is JSON"));
        let held = derived.is_some_and(|text| SECRETS.iter().any(|secret| text.contains(secret)));
        assert!(!held, "a secret is in what was derived");
    }
}

fn no_secret_in(value: &Json) {
    let canonical = value.canonical(|_| false);
    // The normaliser drops U+0000 from texts: what is held apart by it is not.
    let texts: Vec<String> = texts(value).map(|text| text.replace('\0', "")).collect();
    let held = texts.iter().any(|text| SECRETS.iter().any(|secret| text.contains(secret)));
    assert!(!held, "a secret can be read in {canonical}");
}

/// Every text of a value: keys, strings and numbers.
fn texts(value: &Json) -> Box<dyn Iterator<Item = &str> + '_> {
    match value {
        Json::Text(text) | Json::Number(text) => Box::new(std::iter::once(text.as_str())),
        Json::Array(items) => Box::new(items.iter().flat_map(texts)),
        Json::Object(members) => {
            Box::new(members.iter().flat_map(|(key, member)| std::iter::once(key.as_str()).chain(texts(member))))
        }
        Json::Null | Json::Bool(_) => Box::new(std::iter::empty()),
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Json>, Unreadable> {
    Ok(match body::read(bytes)? {
        Delivery::One(value) => vec![value],
        Delivery::Batch(elements) => elements.into_iter().map(|element| element.value).collect(),
    })
}

fn context(hint: Hint) -> Context {
    let received_at = ReceivedAt::from_micros(1_774_400_000_000_000);
    Context { zone: chrono_tz::Asia::Kolkata, received_at, hint }
}

/// The ways an object is wrapped on its way here; none where wrapping it would make it another.
fn wrappings(value: &Json) -> Vec<String> {
    let Some(members) = value.as_object() else { return Vec::new() };
    // What stands alone in `data` is what the wrapping holds; two levels are added below.
    let sole_data = members.len() == 1 && members.keys().all(|key| value::same_key(key, "data"));
    if sole_data || depth(value) + 2 > MAX_DEPTH {
        return Vec::new();
    }
    let json = value.canonical(|_| false);
    let mut all = vec![
        format!("\u{FEFF}\r\n {json}\n"),
        format!("[{json}]"),
        string(&json),
        string(&string(&json)),
        format!("data={}", percent(&json)),
        format!("data={}", percent(&string(&json))),
        format!("data={}", percent(&format!("[{json}]"))),
        format!("data={}", percent(&percent(&json))),
        format!("x=1&data={}&y=", percent(&json)),
        format!("{{\"data\":{json}}}"),
        format!("{{\"data\":{}}}", string(&json)),
        format!("{{\"data\":[{json}]}}"),
        json,
    ];
    all.extend(flat_form(members.iter()));
    all
}

/// An object of texts as a form of its fields.
fn flat_form<'a>(members: impl Iterator<Item = (&'a String, &'a Json)>) -> Option<String> {
    let mut pairs = Vec::new();
    for (key, member) in members {
        let Json::Text(text) = member else { return None };
        let plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
        if key.is_empty() || !plain || value::same_key(key, "data") {
            return None;
        }
        pairs.push(format!("{key}={}", percent(text)));
    }
    (!pairs.is_empty()).then(|| pairs.join("&"))
}

fn string(text: &str) -> String {
    Json::Text(text.to_owned()).canonical(|_| false)
}

fn percent(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn depth(value: &Json) -> usize {
    match value {
        Json::Object(members) => 1 + members.values().map(depth).max().unwrap_or_default(),
        Json::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => 0,
    }
}

/// The event as the provider sends it again: another send time in the envelope, the event's own fields untouched.
fn resent(value: &Json) -> Option<Json> {
    let members = value.as_object()?;
    let mut datas = members.iter().filter(|(key, _)| value::same_key(key, "data"));
    let (Some((_, Json::Object(_))), None) = (datas.next(), datas.next()) else { return None };
    let mut members = members.clone();
    members.insert("eventTime".to_owned(), Json::Text("2026-03-25 23:59:59".to_owned()));
    Some(Json::Object(members))
}

fn same_event(one: &Result<Normalised, Rejection>, other: &Result<Normalised, Rejection>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert!(one.id == other.id, "another id when sent again");
            assert!(one.body == other.body && one.content == other.content, "another body when sent again");
        }
        (one, other) => assert!(one.as_ref().err() == other.as_ref().err(), "another answer when sent again"),
    }
}

/// Stores what was made of some bytes as ingest does, and reads it back.
fn store(bytes: &[u8], event: Result<Normalised, Rejection>) {
    let stamp = Stamp {
        received_at: ReceivedAt::from_micros(1_774_400_000_000_000),
        raw: bytes.to_vec(),
        raw_content_type: "application/json".to_owned(),
        endpoint: "/api/supervisor/call-event",
        request_id: "fuzz".to_owned(),
    };
    let record = match event {
        Err(why) => return set_aside(bytes, why),
        Ok(event) => event,
    };
    let words = serde_json::to_value(&record.body).expect("a body is JSON");
    assert!(!holds_nul(&words) && !record.account.contains('\0'), "U+0000 in a text");
    let years = OccurredAt::from_millis(-2_208_988_800_000)..OccurredAt::from_millis(10_413_792_000_000);
    assert!(years.contains(&record.occurred_at), "a time that no store can hold: {}", record.occurred_at.to_rfc3339());

    let unrouted = record.clone().into_unrouted("agent_unknown".to_owned(), stamp.clone());
    let encoded = CODECS.unrouted.encode(&unrouted).expect("an unrouted event can be written");
    assert!(CODECS.unrouted.decode(&encoded).expect("it can be read") == unrouted, "an unrouted event changed");

    let workspace = WorkspaceId::new("ramaiah").expect("a slug");
    let fact = record.into_fact(workspace, stamp);
    assert!(fact.kind == fact.body.kind() && !fact.key().is_empty());
    let encoded = CODECS.fact.encode(&fact).expect("a fact can be written");
    assert!(CODECS.fact.decode(&encoded).expect("it can be read") == fact, "a fact changed");
}

fn set_aside(bytes: &[u8], why: Rejection) {
    let rejected = RejectedBody {
        id: FactId::from_uuid(Uuid::nil()),
        code: why.code().to_owned(),
        reason: why.to_string(),
        received_at: ReceivedAt::from_micros(0),
        method: "POST".to_owned(),
        endpoint: "/api/supervisor/call-event".to_owned(),
        workspace: None,
        headers: [].into(),
        content_type: String::new(),
        raw: bytes.to_vec(),
        request_id: String::new(),
        redriven: None,
    };
    let encoded = CODECS.rejected.encode(&rejected).expect("a rejected body can be written");
    assert!(CODECS.rejected.decode(&encoded).expect("it can be read") == rejected, "a rejected body changed");
}

fn holds_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(items) => items.iter().any(holds_nul),
        serde_json::Value::Object(members) => {
            members.iter().any(|(key, member)| key.contains('\0') || holds_nul(member))
        }
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => false,
    }
}
