//! Reads a delivery's body by what it *is*, not by the content type it claims.
//!
//! Decides: which of the shapes of ozonetel.md (JSON object, array, JSON string that holds JSON, form with a field
//! `data`, flat form) the bytes have, and which events are in them. Does not decide what an event means. Every bound
//! on size is here: layers, nesting, events; the byte limit is the HTTP edge's.
//!
//! Each event of a batch keeps its own bytes, cut out of the text that held it, so that a batch is never multiplied
//! by its length when it is stored; the one event of a single delivery is stored with the delivery's bytes.

use std::{borrow::Cow, collections::BTreeMap};

use crate::value::{self, Json, JsonFault, MAX_DEPTH, same_key};

/// Events that one delivery may carry.
pub const MAX_EVENTS: usize = 10_000;
/// Strings in strings, counting a form field as one.
pub const MAX_LAYERS: usize = 5;

/// What a body holds.
#[derive(Debug)]
pub enum Delivery {
    /// One event; its bytes are the body's.
    One(Json),
    /// A batch, in order. Never empty.
    Batch(Vec<Element>),
}

/// One event of a batch.
#[derive(Debug)]
pub struct Element {
    /// Its value; anything but an object is for the normaliser to refuse.
    pub value: Json,
    /// Its own text, as it stood in the batch.
    pub raw: Vec<u8>,
}

/// Why no event can be read from a body. The words hold nothing of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No bytes, or white space.
    #[error("the body is empty")]
    Empty,
    /// An array without elements.
    #[error("the batch is empty")]
    EmptyBatch,
    /// Not UTF-8, as sent or once percent-decoded.
    #[error("the body is not UTF-8")]
    NotUtf8,
    /// It begins like JSON and is not.
    #[error("the body is not JSON from byte {at}")]
    BrokenJson {
        /// Offset in the innermost text.
        at: usize,
    },
    /// Neither JSON nor a form.
    #[error("the body is neither JSON nor a form")]
    NotUnderstood,
    /// JSON, but a number, a word or null.
    #[error("the body is JSON without an object in it")]
    NoObject,
    /// See [`MAX_DEPTH`].
    #[error("the body is nested deeper than {MAX_DEPTH}")]
    TooDeep,
    /// See [`MAX_LAYERS`].
    #[error("the body is encoded more than {MAX_LAYERS} times over")]
    TooManyLayers,
    /// See [`MAX_EVENTS`].
    #[error("the batch has more than {MAX_EVENTS} events")]
    TooManyEvents,
}

impl From<JsonFault> for Unreadable {
    fn from(fault: JsonFault) -> Self {
        match fault {
            JsonFault::Syntax { at } => Self::BrokenJson { at },
            JsonFault::TooDeep => Self::TooDeep,
        }
    }
}

/// Reads a body.
///
/// # Errors
/// [`Unreadable`], and then the bytes are for `telephony.rejected`.
pub fn read(bytes: &[u8]) -> Result<Delivery, Unreadable> {
    let text = std::str::from_utf8(bytes).map_err(|_| Unreadable::NotUtf8)?;
    read_text(text, 0)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || c == '\u{FEFF}')
}

fn read_text(text: &str, layer: usize) -> Result<Delivery, Unreadable> {
    if layer > MAX_LAYERS {
        return Err(Unreadable::TooManyLayers);
    }
    let text = trimmed(text);
    match text.bytes().next() {
        None => Err(Unreadable::Empty),
        Some(b'{' | b'[' | b'"') => read_json(text, layer),
        Some(_) => match value::parse(text) {
            Ok(_scalar) => Err(Unreadable::NoObject),
            Err(_) => read_form(text, layer),
        },
    }
}

fn read_json(text: &str, layer: usize) -> Result<Delivery, Unreadable> {
    let parsed = value::parse(text)?;
    match parsed.value {
        Json::Object(members) => match sole_data(members) {
            Ok(Json::Text(inner)) => read_text(&inner, layer + 1),
            Ok(Json::Array(items)) => batch(text, items, &parsed.elements, layer),
            Ok(inner @ Json::Object(_)) => Ok(Delivery::One(inner)),
            Ok(Json::Null | Json::Bool(_) | Json::Number(_)) => Err(Unreadable::NoObject),
            Err(members) => Ok(Delivery::One(Json::Object(members))),
        },
        Json::Array(items) => batch(text, items, &parsed.elements, layer),
        Json::Text(inner) => read_text(&inner, layer + 1),
        Json::Null | Json::Bool(_) | Json::Number(_) => Err(Unreadable::NoObject),
    }
}

/// The value of `data`, where that is all there is; else the members back.
fn sole_data(mut members: BTreeMap<String, Json>) -> Result<Json, BTreeMap<String, Json>> {
    let sole = members.len() == 1 && members.keys().all(|key| same_key(key, "data"));
    match if sole { members.pop_first() } else { None } {
        Some((_, value)) => Ok(value),
        None => Err(members),
    }
}

fn batch(
    text: &str,
    items: Vec<Json>,
    places: &[std::ops::Range<usize>],
    layer: usize,
) -> Result<Delivery, Unreadable> {
    if items.is_empty() {
        return Err(Unreadable::EmptyBatch);
    }
    if items.len() > MAX_EVENTS {
        return Err(Unreadable::TooManyEvents);
    }
    let elements = items.into_iter().enumerate().map(|(index, value)| {
        let raw = places.get(index).and_then(|place| text.get(place.clone())).unwrap_or_default();
        Element { value: unwrapped(value, layer), raw: raw.as_bytes().to_vec() }
    });
    Ok(Delivery::Batch(elements.collect()))
}

/// An element that is a string holding an object is that object; what cannot be unwrapped stays as it is.
fn unwrapped(value: Json, layer: usize) -> Json {
    match value {
        Json::Text(inner) => match read_text(&inner, layer + 1) {
            Ok(Delivery::One(object)) => object,
            Ok(Delivery::Batch(_)) | Err(_) => Json::Text(inner),
        },
        Json::Object(members) => match sole_data(members) {
            Ok(inner @ (Json::Object(_) | Json::Text(_))) if layer < MAX_LAYERS => unwrapped(inner, layer + 1),
            Ok(other) => other,
            Err(members) => Json::Object(members),
        },
        other @ (Json::Null | Json::Bool(_) | Json::Number(_) | Json::Array(_)) => other,
    }
}

/// Decodes one side of a form pair: `+` is a space, `%XX` a byte; a stray `%` stands for itself.
fn decoded(part: &str) -> Result<Cow<'_, str>, Unreadable> {
    if memchr::memchr2(b'%', b'+', part.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(part));
    }
    let mut out = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        match (first, after) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, beyond @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
                out.push(digit(*high).unwrap_or_default() << 4 | digit(*low).unwrap_or_default());
                rest = beyond;
            }
            (plain, _) => out.push(*plain),
        }
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| Unreadable::NotUtf8)
}

/// A name that a form field may plausibly have; prose and markup have others.
fn plausible_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte))
}

fn read_form(text: &str, layer: usize) -> Result<Delivery, Unreadable> {
    let mut fields = BTreeMap::new();
    let mut data = None;
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(Unreadable::NotUnderstood).or_else(|fault| {
            // JSON in `data` that was not percent-encoded may itself hold `&`.
            if data.is_some() { Ok(("", "")) } else { Err(fault) }
        })?;
        let name = decoded(name)?;
        if same_key(&name, "data") {
            data = Some(decoded(value)?);
        } else if plausible_name(&name) {
            fields.insert(name.into_owned(), Json::Text(decoded(value)?.into_owned()));
        } else if data.is_none() {
            return Err(Unreadable::NotUnderstood);
        }
    }
    let Some(data) = data else {
        return if fields.is_empty() {
            Err(Unreadable::NotUnderstood)
        } else {
            Ok(Delivery::One(Json::Object(fields)))
        };
    };
    let delivery = read_data(&data, layer).or_else(|fault| match unencoded_data(text) {
        Some(whole) if whole != data => read_data(&whole, layer).map_err(|_| fault),
        Some(_) | None => Err(fault),
    })?;
    match delivery {
        // The envelope's other fields stand beside `data` in the form.
        Delivery::One(inner) if fields.keys().any(|key| same_key(key, "eventtype")) => {
            fields.insert("data".to_owned(), inner);
            Ok(Delivery::One(Json::Object(fields)))
        }
        other @ (Delivery::One(_) | Delivery::Batch(_)) => Ok(other),
    }
}

/// All that follows a leading `data=`, decoded as one value.
fn unencoded_data(text: &str) -> Option<String> {
    let (name, rest) = text.split_once('=')?;
    if !same_key(name, "data") {
        return None;
    }
    decoded(rest).ok().map(Cow::into_owned)
}

fn read_data(data: &str, layer: usize) -> Result<Delivery, Unreadable> {
    let text = trimmed(data);
    match text.bytes().next() {
        None => Err(Unreadable::Empty),
        Some(b'{' | b'[' | b'"') => read_text(text, layer + 1),
        // Percent-encoded twice.
        Some(b'%') if layer < MAX_LAYERS => read_data(&decoded(text)?, layer + 1),
        Some(_) => Err(Unreadable::NotUnderstood),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(body: &[u8]) -> String {
        match read(body).unwrap() {
            Delivery::One(value) => value.canonical(|_| false),
            Delivery::Batch(_) => panic!("a batch"),
        }
    }

    fn fault(body: &[u8]) -> Unreadable {
        read(body).unwrap_err()
    }

    #[test]
    fn every_shape_of_one_event_reads_alike() {
        let object = r#"{"a":"x & y","n":31733467784618213}"#;
        let expected = one(object.as_bytes());
        let string = |text: &str| Json::Text(text.to_owned()).canonical(|_| false);
        let form = |text: &str| {
            let value: String = form_urlencoded::byte_serialize(text.as_bytes()).collect();
            format!("data={value}")
        };
        let shapes = [
            format!("\u{FEFF} \r\n{object}\n"),
            string(object),
            string(&string(object)),
            string(&string(&string(object))),
            form(object),
            form(&string(object)),
            form(&string(&string(object))),
            format!("data={object}"),
            format!(r#"{{"data":{object}}}"#),
            format!(r#"{{"data":{}}}"#, string(object)),
            form(&form_urlencoded::byte_serialize(object.as_bytes()).collect::<String>()),
        ];
        for shape in shapes {
            assert_eq!(one(shape.as_bytes()), expected, "{shape}");
        }
    }

    #[test]
    fn a_flat_form_is_an_object_of_its_fields() {
        assert_eq!(one(b"eventType=Agent&agentId=agent+one%2B"), r#"{"agentId":"agent one+","eventType":"Agent"}"#);
        assert_eq!(one(b"eventType=Agent&data=%7B%22a%22%3A1%7D"), r#"{"data":{"a":1},"eventType":"Agent"}"#);
    }

    #[test]
    fn a_batch_keeps_each_event_s_own_bytes() {
        for body in [r#"[{"a": 1}, "{\"b\":2}"]"#.to_owned(), r#"data=[{"a": 1}, "{\"b\":2}"]"#.to_owned()] {
            let Ok(Delivery::Batch(elements)) = read(body.as_bytes()) else { panic!("{body}") };
            assert_eq!(elements[0].raw, br#"{"a": 1}"#);
            assert_eq!(elements[1].raw, br#""{\"b\":2}""#);
            assert_eq!(elements[1].value.canonical(|_| false), r#"{"b":2}"#);
        }
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        assert_eq!(fault(b"  "), Unreadable::Empty);
        assert_eq!(fault(b"[]"), Unreadable::EmptyBatch);
        assert_eq!(fault(b"data="), Unreadable::Empty);
        assert_eq!(fault(b"\xff\xfe"), Unreadable::NotUtf8);
        assert_eq!(fault(b"data=%7B%22Comments%22%3A%22%FF%FE%22%7D"), Unreadable::NotUtf8);
        assert_eq!(fault(b"{\"a\":00:01}"), Unreadable::BrokenJson { at: 6 });
        assert_eq!(fault(b"hello"), Unreadable::NotUnderstood);
        assert_eq!(fault(b"<a href=\"x\">"), Unreadable::NotUnderstood);
        assert_eq!(fault(b"42"), Unreadable::NoObject);
        assert_eq!(fault(b"null"), Unreadable::NoObject);
        assert_eq!(fault("[".repeat(100_000).as_bytes()), Unreadable::TooDeep);
        assert_eq!(fault(format!("[{}1]", "1,".repeat(MAX_EVENTS)).as_bytes()), Unreadable::TooManyEvents);
        let mut text = "{}".to_owned();
        for _ in 0..=MAX_LAYERS {
            text = Json::Text(text).canonical(|_| false);
        }
        assert_eq!(fault(text.as_bytes()), Unreadable::TooManyLayers);
    }
}
