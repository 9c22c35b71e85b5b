//! One odd delivery of a seed and a number: the provider's samples varied, made odd, wrapped, damaged, and sent to any door.
//!
//! Pure: the same seed and number are the same bytes on any machine. What a delivery should be answered is not known
//! here; only that its keys are right and that its body is within the bound.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{
    event::{Event, ODDITIES, string},
    words::{CONTENT_TYPES, Dice},
};

/// Largest body that ingest takes.
pub const BODY_LIMIT: usize = 256 * 1024;
/// Deliveries back from which a repeat is taken.
const REPEATED_WITHIN: usize = 2_000;

/// The secrets of the doors.
#[derive(Clone)]
pub struct Keys {
    /// Of the account: agent and call events.
    pub account: String,
    /// Of each workspace: callbacks.
    pub webhooks: BTreeMap<String, String>,
}

/// One request.
#[derive(Clone)]
pub struct Delivery {
    /// Its number.
    pub number: u64,
    /// Path and query, with the key where it is presented there.
    pub path: String,
    /// The key as a header.
    pub key: Option<String>,
    /// `X-Helix-Workspace`, as the gateway sets it.
    pub workspace: Option<String>,
    /// `Content-Type`.
    pub content_type: Option<&'static str>,
    /// The body.
    pub body: Vec<u8>,
    /// What is odd about it, in order.
    pub oddities: Vec<&'static str>,
    /// Whether the account's secret may be in the body, so that it is not stored as it was sent.
    pub secret: bool,
}

impl Delivery {
    /// As a request in a file, to look at: keys are left out, in the body too.
    #[must_use]
    pub fn to_file(&self, keys: &Keys) -> Vec<u8> {
        let mut head = format!("POST {} HTTP/1.1\r\n", self.path);
        for (name, value) in [
            ("x-helix-key", self.key.as_deref()),
            ("x-helix-workspace", self.workspace.as_deref()),
            ("content-type", self.content_type),
        ] {
            if let Some(value) = value {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let mut file = format!("{head}content-length: {}\r\n\r\n", self.body.len()).into_bytes();
        file.extend_from_slice(&self.body);
        for key in keys.webhooks.values().chain([&keys.account]) {
            while let Some(at) = memchr::memmem::find(&file, key.as_bytes()) {
                file.splice(at..at + key.len(), *b"KEY");
            }
        }
        file
    }
}

/// Makes deliveries.
#[derive(Clone)]
pub struct Mill {
    seed: u64,
    keys: Keys,
    samples: Vec<Event>,
}

/// A wrapping: its name, and what it makes of an event.
type Wrapping = (&'static str, fn(&mut Event, &mut Dice) -> String);

/// The ways an event is wrapped; the plain one is taken for itself.
const WRAPPINGS: [Wrapping; 14] = [
    ("string", |event, _| string(&event.json())),
    ("string in a string", |event, _| string(&string(&event.json()))),
    ("strings in strings", |event, dice| (0..dice.between(3, 8)).fold(event.json(), |text, _| string(&text))),
    ("array of one", |event, _| format!("[{}]", event.json())),
    ("data member", |event, _| format!("{{\"data\":{}}}", event.json())),
    ("data member as string", |event, _| format!("{{\"Data\":{}}}", string(&event.json()))),
    ("form", |event, _| format!("data={}", percent(&event.json()))),
    ("form of a string", |event, _| format!("data={}", percent(&string(&event.json())))),
    ("form of an array", |event, _| format!("data={}", percent(&format!("[{}]", event.json())))),
    ("form encoded twice", |event, _| format!("data={}", percent(&percent(&event.json())))),
    ("form not encoded", |event, _| format!("data={}", event.json())),
    ("form with several data", several_data),
    ("form with its envelope", |event, _| {
        format!("{}&data={}", form(&event.envelope_fields()), percent(&event.data_json()))
    }),
    ("flat form", |event, _| {
        let fields = [event.envelope_fields(), event.own_fields()].concat();
        form(&fields)
    }),
];

fn several_data(event: &mut Event, dice: &mut Dice) -> String {
    let mut fields = vec![("data".to_owned(), event.json()); dice.between(2, 4)];
    fields.insert(dice.below(fields.len()), ("x".to_owned(), "1".to_owned()));
    let at = dice.below(fields.len());
    if let Some(field) = fields.get_mut(at) {
        field.1 = dice.pick(&["", "{}", "[]", "null", "{\"a\":", "x"]).to_owned();
    }
    form(&fields)
}

fn percent(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn form(fields: &[(String, String)]) -> String {
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", percent(name), percent(value))).collect();
    pairs.join("&")
}

/// A damage: its name, and what it does to the bytes.
type Damage = (&'static str, fn(&mut Vec<u8>, &mut Dice));

const DAMAGES: [Damage; 18] = [
    ("cut short", |body, dice| body.truncate(dice.below(body.len()))),
    ("one bit flipped", |body, dice| flip(body, dice, 1)),
    ("bits flipped", |body, dice| {
        let count = dice.between(2, 24);
        flip(body, dice, count);
    }),
    ("NUL inserted", |body, dice| insert(body, dice, &[0])),
    ("not UTF-8", |body, dice| insert(body, dice, &[0xff, 0xfe])),
    ("half a character", |body, dice| insert(body, dice, &[0xe0, 0xa4])),
    ("BOM", |body, _| {
        body.splice(0..0, [0xef, 0xbb, 0xbf]);
    }),
    ("UTF-16", |body, dice| *body = utf_16(body, dice.chance(500))),
    ("bytes missing", |body, dice| {
        let from = dice.below(body.len());
        let to = (from + dice.between(1, 8)).min(body.len());
        body.drain(from..to);
    }),
    ("a part twice", |body, dice| {
        let from = dice.below(body.len());
        let to = (from + dice.between(1, 400)).min(body.len());
        let part = body.get(from..to).unwrap_or_default().to_vec();
        body.splice(to..to, part);
    }),
    ("said twice", |body, _| body.extend(body.clone())),
    ("single quotes", |body, _| body.iter_mut().filter(|byte| **byte == b'"').for_each(|byte| *byte = b'\'')),
    ("percent encoded", |body, _| *body = percent(&String::from_utf8_lossy(body)).into_bytes()),
    ("white space about", |body, dice| {
        let space = dice.pick(&[" ", "\r\n", "\t", "\u{a0}", "\u{3000}"]);
        body.splice(0..0, space.repeat(9).into_bytes());
        body.extend(space.bytes());
    }),
    ("only white space", |body, dice| *body = dice.pick(&["", " ", "\r\n\r\n", "\u{FEFF}"]).into()),
    ("only noise", |body, dice| {
        let count = dice.pick(&[1, 2, 16, 300, 4_000]);
        *body = dice.bytes(count);
    }),
    ("only a word", |body, dice| {
        *body = dice
            .pick(&[
                "null", "0", "{}", "[]", "\"\"", "data", "data=", "=", "&", "hello", "<a/>", "[[]]", "%", "}", "\"",
                "true",
            ])
            .into();
    }),
    ("only brackets", |body, dice| {
        let count = dice.pick(&[1, 63, 64, 65, 1_000, 100_000]);
        *body = dice.pick(&["[", "{\"a\":", "]", "\"", "\\", "%25", "{\"data\":\"", "[["]).repeat(count).into();
    }),
];

fn flip(body: &mut [u8], dice: &mut Dice, count: usize) {
    for _ in 0..count {
        let at = dice.below(body.len());
        if let Some(byte) = body.get_mut(at) {
            *byte ^= 1 << dice.below(8);
        }
    }
}

fn insert(body: &mut Vec<u8>, dice: &mut Dice, bytes: &[u8]) {
    let at = dice.below(body.len() + 1);
    body.splice(at..at, bytes.iter().copied());
}

fn utf_16(body: &[u8], little: bool) -> Vec<u8> {
    let text = String::from_utf8_lossy(body);
    let units = std::iter::once(0xFEFF).chain(text.encode_utf16());
    units.flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() }).collect()
}

impl Mill {
    /// A mill over the provider's samples in `tests/corpus`.
    ///
    /// # Errors
    /// Where they cannot be read.
    pub fn new(seed: u64, keys: Keys) -> Result<Self> {
        let mut samples = Vec::new();
        for body in sample_bodies()? {
            let text = match body.strip_prefix("data=") {
                Some(_) => form_urlencoded::parse(body.as_bytes()).next().map(|(_, data)| data.into_owned()),
                None => Some(body),
            };
            let value: Value = text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default();
            let value = match &value {
                Value::String(inner) => serde_json::from_str(inner).unwrap_or_default(),
                Value::Array(items) => items.first().cloned().unwrap_or_default(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => value,
            };
            samples.extend(Event::of(&value));
        }
        ensure!(samples.len() > 35, "only {} of the samples are events", samples.len());
        Ok(Self { seed, keys, samples })
    }

    /// The secret that some bodies hold, and no record may.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.keys.account
    }

    /// The delivery of a number.
    #[must_use]
    pub fn delivery(&self, number: u64) -> Delivery {
        let mut dice = Dice::new(self.seed, number);
        if dice.chance(20) {
            // An earlier one again, byte for byte, at the same door.
            let back = u64::try_from(dice.between(1, REPEATED_WITHIN)).unwrap_or(1);
            let mut again = self.fresh(number.saturating_sub(back));
            again.number = number;
            again.oddities.push("repeated");
            return again;
        }
        self.fresh(number)
    }

    fn fresh(&self, number: u64) -> Delivery {
        // Another stream than the one that decides on repeats: a repeat is the same whoever repeats it.
        let mut dice = Dice::new(self.seed ^ 0x0dd, number);
        let mut oddities = Vec::new();
        let (text, secret) = if dice.chance(40) {
            self.batch(number, &mut dice, &mut oddities)
        } else {
            let (mut event, secret) = self.event(number, &mut dice, &mut oddities);
            if dice.chance(2) {
                oddities.push("large");
                let size = if dice.chance(300) { BODY_LIMIT } else { dice.between(20_000, BODY_LIMIT) };
                event.grow(size, &mut dice);
            }
            if dice.chance(400) {
                (event.json(), secret)
            } else {
                let (name, wrap) = WRAPPINGS[dice.below(WRAPPINGS.len())];
                oddities.push(name);
                (wrap(&mut event, &mut dice), secret)
            }
        };
        let mut body = text.into_bytes();
        if dice.chance(250) {
            let (name, damage) = DAMAGES[dice.below(DAMAGES.len())];
            oddities.push(name);
            damage(&mut body, &mut dice);
        }
        body.truncate(BODY_LIMIT);
        let (path, key, workspace) = self.door(&mut dice);
        let content_type = match dice.below(10) {
            0..4 => Some("application/json"),
            4..7 => Some("application/x-www-form-urlencoded"),
            7 => None,
            _ => Some(dice.pick(&CONTENT_TYPES)),
        };
        Delivery { number, path, key, workspace, content_type, body, oddities, secret }
    }

    /// A sample, varied, with up to three oddities.
    /// Says besides whether the provider's secret is in it.
    fn event(&self, number: u64, dice: &mut Dice, oddities: &mut Vec<&'static str>) -> (Event, bool) {
        let mut event = self.samples[dice.below(self.samples.len())].clone();
        event.vary(number, dice);
        if dice.chance(900) {
            event.without_secret();
        }
        let secret = event.with_secret(&self.keys.account);
        if secret && dice.chance(300) {
            event.mention(&self.keys.account);
        }
        for _ in 0..dice.pick(&[0, 1, 1, 1, 2, 3]) {
            let (name, make) = ODDITIES[dice.below(ODDITIES.len())];
            oddities.push(name);
            make(&mut event, dice);
        }
        (event, secret)
    }

    /// Several events as one array, some of them none.
    fn batch(&self, number: u64, dice: &mut Dice, oddities: &mut Vec<&'static str>) -> (String, bool) {
        oddities.push("batch");
        if dice.chance(10) {
            oddities.push("many elements");
            let count = dice.pick(&[200, 9_999, 10_001]);
            // Whatever is no object is set aside one by one; the last count is refused as a whole.
            let element = if count == 9_999 && dice.chance(900) { "" } else { "1" };
            return (format!("[{}1]", format!("{element},").repeat(count)), false);
        }
        let mut secret = false;
        let mut elements = Vec::new();
        for _ in 0..dice.between(2, 9) {
            let (mut event, holds) = self.event(number, dice, oddities);
            secret |= holds;
            elements.push(match dice.below(10) {
                0 => string(&event.json()),
                1 => format!("{{\"data\":{}}}", event.json()),
                2 => {
                    dice.pick(&["null", "7", "\"x\"", "[]", "{}", "[{}]", "{\"data\":1}", "\"[1]\"", "true"]).to_owned()
                }
                3 => event
                    .own_fields()
                    .first()
                    .map(|(name, value)| format!("{{{}:{}}}", string(name), string(value)))
                    .unwrap_or_default(),
                _ => event.json(),
            });
        }
        let array = format!("[{}]", elements.join(dice.pick(&[",", ", ", ",\r\n"])));
        let text = match dice.below(6) {
            0 => format!("data={}", percent(&array)),
            1 => string(&array),
            2 => format!("{{\"data\":{array}}}"),
            _ => array,
        };
        (text, secret)
    }

    /// Any door, its key presented in any of the ways.
    fn door(&self, dice: &mut Dice) -> (String, Option<String>, Option<String>) {
        let at = dice.below(self.keys.webhooks.len());
        let (slug, webhook) =
            self.keys.webhooks.iter().nth(at).map(|(slug, key)| (slug.clone(), key.clone())).unwrap_or_default();
        let (mut path, key, workspace) = match dice.below(4) {
            0 => ("/api/supervisor/agent-event".to_owned(), self.keys.account.clone(), None),
            1 => ("/api/supervisor/call-event".to_owned(), self.keys.account.clone(), None),
            2 => ("/webhooks/ozonetel/missed-call".to_owned(), webhook, Some(slug)),
            _ => (format!("/workspaces/{slug}/webhooks/ozonetel/missed-call"), webhook, None),
        };
        let header = match dice.below(6) {
            0 => {
                path.push_str(&format!("?key={key}"));
                None
            }
            1 => {
                path.push_str(&format!("/k/{key}"));
                None
            }
            _ => Some(key),
        };
        (path, header, workspace)
    }
}

fn sample_bodies() -> Result<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
        files.push(entry?.path());
    }
    files.sort();
    let mut bodies = Vec::new();
    for file in files.into_iter().filter(|file| file.extension().is_some_and(|ending| ending == "json")) {
        let case: Value = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
        let deliveries = case.get("deliveries").and_then(Value::as_array).context("deliveries")?;
        bodies.extend(deliveries.iter().filter_map(|delivery| delivery.get("body")?.as_str().map(str::to_owned)));
    }
    Ok(bodies)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn mill(seed: u64) -> Mill {
        let webhooks = ["ramaiah", "global"].map(|slug| (slug.to_owned(), format!("key-of-{slug}"))).into();
        Mill::new(seed, Keys { account: "key-of-the-account".to_owned(), webhooks }).unwrap()
    }

    #[test]
    fn a_seed_and_a_number_are_one_delivery() {
        let (one, same, other) = (mill(7), mill(7), mill(8));
        let mut differ = 0;
        for number in (0..500).rev() {
            let delivery = one.delivery(number);
            let again = same.delivery(number);
            assert!(
                delivery.body == again.body && delivery.path == again.path && delivery.key == again.key,
                "{number}"
            );
            differ += usize::from(delivery.body != other.delivery(number).body);
        }
        assert!(differ > 450, "{differ}");
    }

    #[test]
    fn every_oddity_comes_and_no_body_is_too_large_for_ingest() {
        let mill = mill(1);
        let mut seen = BTreeSet::new();
        for number in 0..20_000 {
            let delivery = mill.delivery(number);
            assert!(delivery.body.len() <= BODY_LIMIT, "{number}");
            seen.extend(delivery.oddities);
        }
        let wanted = ODDITIES.iter().map(|(name, _)| *name).chain(WRAPPINGS.iter().map(|(name, _)| *name));
        let wanted = wanted.chain(DAMAGES.iter().map(|(name, _)| *name));
        for name in wanted.chain(["batch", "many elements", "large", "repeated"]) {
            assert!(seen.contains(name), "{name}");
        }
    }

    #[test]
    fn a_delivery_in_a_file_shows_no_key() {
        let mill = mill(3);
        for number in 0..200 {
            let file = mill.delivery(number).to_file(&mill.keys);
            assert!(!String::from_utf8_lossy(&file).contains("key-of-"), "{number}");
        }
    }
}
