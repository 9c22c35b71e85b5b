//! Fields of an object, whatever spelling their keys have, and what counts as a value.
//!
//! The provider writes one field in many ways (`Did`, `dId`, `DID`; `agentId`, `agent_id`) and absence in as many:
//! `""`, `"None"`, `"null"`, `null` are no value (ozonetel.md 0.7). `NA` and `-` are kept: they are what was said.

use std::collections::BTreeMap;

use crate::value::{Json, same_key};

/// A view of an object's members.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    object: &'a Json,
    members: &'a BTreeMap<String, Json>,
}

impl<'a> Fields<'a> {
    pub(super) fn of(value: &'a Json) -> Option<Self> {
        value.as_object().map(|members| Self { object: value, members })
    }

    pub(super) fn has_exactly(&self, key: &str) -> bool {
        self.members.contains_key(key)
    }

    pub(super) fn canonical(&self, skip: fn(&str) -> bool) -> String {
        self.object.canonical(skip)
    }

    /// Every field, by name.
    pub(super) fn members(&self) -> impl Iterator<Item = (&'a str, &'a Json)> {
        self.members.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Values of a field in every spelling. `name` is folded: lower case letters and digits.
    fn spellings(&self, name: &'static str) -> impl Iterator<Item = &'a Json> {
        self.members.iter().filter(move |(key, _)| same_key(key, name)).map(|(_, value)| value)
    }

    /// The first value that is one, whatever its type.
    pub(super) fn get(&self, name: &'static str) -> Option<&'a Json> {
        self.spellings(name).find(|value| !is_nothing(value))
    }

    /// The first value that is one, as text; an object or array as its canonical JSON.
    pub(super) fn text(&self, name: &'static str) -> Option<String> {
        self.spellings(name).find_map(text_of)
    }

    /// As [`Self::text`], of the first field that has a value. A name with `_` is taken to the letter.
    pub(super) fn first_text(&self, names: &[&'static str]) -> Option<String> {
        names.iter().find_map(|name| {
            if name.contains('_') { self.members.get(*name).and_then(text_of) } else { self.text(name) }
        })
    }

    /// As [`Self::text`], but an object or array is no id.
    pub(super) fn id(&self, name: &'static str) -> Option<String> {
        self.spellings(name).filter(|value| !matches!(value, Json::Object(_) | Json::Array(_))).find_map(text_of)
    }
}

fn is_nothing(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Text(text) => said(text).is_none(),
        Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => false,
    }
}

/// The text, trimmed, if it says anything.
pub(super) fn said(text: &str) -> Option<&str> {
    let text = text.trim();
    let nothing = text.is_empty() || text.eq_ignore_ascii_case("none") || text.eq_ignore_ascii_case("null");
    (!nothing).then_some(text)
}

fn text_of(value: &Json) -> Option<String> {
    match value {
        Json::Null => None,
        Json::Bool(truth) => Some(truth.to_string()),
        Json::Number(text) => Some(text.clone()),
        // U+0000 is no character of a text in the stores that follow; the raw bytes keep it.
        Json::Text(text) if text.contains('\0') => said(&text.replace('\0', "")).map(str::to_owned),
        Json::Text(text) => said(text).map(str::to_owned),
        Json::Array(_) | Json::Object(_) => Some(value.canonical(|_| false).replace("\\u0000", "")),
    }
}

/// The links of `A -> B -> C`; `None` for a link that says nothing.
pub(super) fn chain(text: &str) -> Vec<Option<&str>> {
    text.split("->").map(said).collect()
}

/// Whether a key names the provider's secret, in any spelling (`Apikey`, `api_key`, `X-Api-Key`).
#[must_use]
pub fn is_api_key(key: &str) -> bool {
    let mut folded =
        key.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b' ')).map(|b| b.to_ascii_lowercase());
    let mut window = [0_u8; 6];
    folded.any(|byte| {
        window.rotate_left(1);
        window[5] = byte;
        window == *b"apikey"
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empties_are_no_value_and_words_are_kept() {
        for nothing in ["", "  ", "None", "none", "null", "NULL"] {
            assert_eq!(said(nothing), None);
        }
        for word in ["NA", "-", "0", "Nonesuch"] {
            assert_eq!(said(word), Some(word));
        }
    }

    #[test]
    fn a_chain_keeps_its_positions() {
        assert_eq!(chain("A -> None->B"), [Some("A"), None, Some("B")]);
        assert_eq!(chain("A"), [Some("A")]);
    }

    #[test]
    fn the_key_is_known_in_every_spelling() {
        for key in ["Apikey", "APIKEY", "api_key", "ApiKey", "X-Api-Key", "ozonetel.api key"] {
            assert!(is_api_key(key), "{key}");
        }
        assert!(!is_api_key("apike") && !is_api_key("PhoneName"));
    }
}
