//! Removes secrets from bytes before they are stored: the provider's `Apikey` and every secret of the configuration.
//!
//! It works on the bytes as received, readable or not. The bytes are looked at through a grid of *views*: as they
//! are, percent-decoded once, twice, and each of those with its backslash escapes undone level by level. Each byte of
//! a view knows which bytes of the original it came from, so what is found in any view is cut from the original, and
//! everything else stays as it was received. A form stays a form, JSON stays JSON.
//!
//! What is looked for in each view:
//! - a key that says api key (any case, with or without separators) and the value that follows it;
//! - the configured secrets, and the values that the reader found under such a key, anywhere.
//!
//! Invariant (tested): in no view of the result does a secret occur.

use std::{borrow::Cow, ops::Range};

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};

use crate::{normalise::is_api_key, value::Json};

/// What stands where a secret stood.
pub const REDACTED: &str = "REDACTED";
/// What stands where a secret stood that was no string.
const NULL: &str = "null";
/// A secret shorter than this is a word that ordinary text may hold: it is removed after its key only.
const MIN_SECRET: usize = 6;
/// Percent-decodings looked through; the reader undoes fewer.
const PERCENT_LEVELS: usize = 4;
/// Levels of backslash escapes looked through; the reader undoes fewer.
const ESCAPE_LEVELS: usize = 7;
/// Both together, in any order; the reader undoes fewer.
const MIXED_LEVELS: usize = 6;

/// Knows the secrets of this installation.
pub struct Redactor {
    secrets: Option<AhoCorasick>,
    keys: Option<AhoCorasick>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Redactor")
    }
}

/// Secrets that came with a body itself.
#[derive(Debug, Default)]
pub struct Found(Option<AhoCorasick>);

/// Bytes without secrets.
#[derive(Debug, PartialEq, Eq)]
pub struct Redaction<'a> {
    /// The bytes; borrowed where there was nothing to remove.
    pub bytes: Cow<'a, [u8]>,
}

impl Redaction<'_> {
    /// Whether something was removed.
    #[must_use]
    pub fn removed(&self) -> bool {
        matches!(self.bytes, Cow::Owned(_))
    }
}

/// Values that stand under a key that says api key, at any depth.
#[must_use]
pub fn api_keys(value: &Json) -> Vec<&str> {
    let mut found = Vec::new();
    collect(value, false, &mut found);
    found
}

fn collect<'a>(value: &'a Json, under_key: bool, found: &mut Vec<&'a str>) {
    match value {
        Json::Object(members) => {
            for (key, member) in members {
                collect(member, under_key || is_api_key(key), found);
            }
        }
        Json::Array(items) => items.iter().for_each(|item| collect(item, under_key, found)),
        Json::Text(text) | Json::Number(text) if under_key => found.push(text),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) => {}
    }
}

/// One cut in the original bytes.
struct Cut {
    place: Range<usize>,
    put: &'static str,
}

/// The original bytes seen through some decoding. `origin[i]` is where in the original byte `i` came from.
struct View {
    bytes: Vec<u8>,
    origin: Vec<Range<u32>>,
}

fn offset(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

impl View {
    fn push(&mut self, byte: u8, origin: Range<u32>) {
        self.bytes.push(byte);
        self.origin.push(origin);
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), origin: Vec::with_capacity(capacity) }
    }
}

/// Bytes of a view with the places they came from: the original itself needs no table.
#[derive(Clone, Copy)]
struct Seen<'a> {
    bytes: &'a [u8],
    origin: Option<&'a [Range<u32>]>,
}

impl<'a> Seen<'a> {
    fn of(view: &'a View) -> Self {
        Self { bytes: &view.bytes, origin: Some(&view.origin) }
    }

    fn origin(&self, at: usize) -> Range<u32> {
        match self.origin {
            Some(origin) => origin.get(at).cloned().unwrap_or(0..0),
            None => offset(at)..offset(at + 1),
        }
    }

    fn place(&self, range: &Range<usize>) -> Range<usize> {
        let first = self.origin(range.start).start;
        let last = self.origin(range.end.saturating_sub(1)).end;
        first as usize..last as usize
    }

    fn joined(&self, from: usize, until: usize) -> Range<u32> {
        self.origin(from).start..self.origin(until - 1).end
    }

    /// One percent-decoding; `None` where nothing is encoded.
    fn percent_decoded(&self) -> Option<View> {
        memchr::memchr(b'%', self.bytes)?;
        let mut view = View::with_capacity(self.bytes.len());
        let mut at = 0;
        let mut changed = false;
        while let Some(byte) = self.bytes.get(at) {
            let code = (*byte == b'%').then(|| hex(self.bytes.get(at + 1..at + 3)?)).flatten();
            if let Some(code) = code.and_then(|code| u8::try_from(code).ok()) {
                view.push(code, self.joined(at, at + 3));
                at += 3;
                changed = true;
            } else {
                view.push(*byte, self.origin(at));
                at += 1;
            }
        }
        changed.then_some(view)
    }

    /// One level of backslash escapes undone; `None` where there is none.
    fn unescaped(&self) -> Option<View> {
        memchr::memchr(b'\\', self.bytes)?;
        let mut view = View::with_capacity(self.bytes.len());
        let mut at = 0;
        while let Some(byte) = self.bytes.get(at) {
            if *byte != b'\\' {
                view.push(*byte, self.origin(at));
                at += 1;
                continue;
            }
            let escaped = self.bytes.get(at + 1).copied();
            let code = if escaped == Some(b'u') { self.bytes.get(at + 2..at + 6).and_then(hex) } else { None };
            match (code.and_then(char::from_u32), escaped) {
                (Some(c), _) => {
                    let origin = self.joined(at, at + 6);
                    let mut utf8 = [0; 4];
                    c.encode_utf8(&mut utf8).bytes().for_each(|byte| view.push(byte, origin.clone()));
                    at += 6;
                }
                (None, Some(escaped)) => {
                    let plain = match escaped {
                        b'b' => 8,
                        b'f' => 12,
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        other => other,
                    };
                    view.push(plain, self.joined(at, at + 2));
                    at += 2;
                }
                // A lone backslash at the end.
                (None, None) => at += 1,
            }
        }
        Some(view)
    }

    /// Without NUL bytes, as UTF-16 text has between its ASCII letters; `None` where there are none.
    fn without_nul(&self) -> Option<View> {
        memchr::memchr(0, self.bytes)?;
        let mut view = View::with_capacity(self.bytes.len());
        for (at, byte) in self.bytes.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            view.push(*byte, self.origin(at));
        }
        Some(view)
    }
}

fn hex(digits: &[u8]) -> Option<u32> {
    if !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// What was undone to get to a view.
#[derive(Clone, Copy, Default)]
struct Undone {
    percents: usize,
    escapes: usize,
    /// Percent-encoding was undone after an escape: a form in a JSON string.
    mixed: bool,
}

impl Undone {
    fn percent(self) -> Self {
        Self { percents: self.percents + 1, mixed: self.mixed || self.escapes > 0, ..self }
    }

    fn escape(self) -> Self {
        Self { escapes: self.escapes + 1, ..self }
    }

    fn is_far_enough(self) -> bool {
        self.percents > PERCENT_LEVELS
            || self.escapes > ESCAPE_LEVELS
            || (self.mixed && self.percents + self.escapes > MIXED_LEVELS)
    }
}

/// Every view of some bytes, each handed to `look`.
fn each_view(bytes: &[u8], look: &mut dyn FnMut(Seen<'_>)) {
    decodings(Seen { bytes, origin: None }, Undone::default(), look);
}

/// A view, and those behind it.
fn decodings(seen: Seen<'_>, undone: Undone, look: &mut dyn FnMut(Seen<'_>)) {
    look(seen);
    // UTF-16 has them between its ASCII letters; the normaliser drops them from texts.
    if let Some(view) = seen.without_nul() {
        decodings(Seen::of(&view), undone, look);
    }
    let escape = undone.escape();
    if let Some(view) = if escape.is_far_enough() { None } else { seen.unescaped() } {
        decodings(Seen::of(&view), escape, look);
    }
    let percent = undone.percent();
    if let Some(view) = if percent.is_far_enough() { None } else { seen.percent_decoded() } {
        decodings(Seen::of(&view), percent, look);
    }
}

/// A text as it stands in a form without percent-encoding: spaces as `+`.
fn spellings(secret: &str) -> Vec<String> {
    if secret.contains(' ') { vec![secret.to_owned(), secret.replace(' ', "+")] } else { vec![secret.to_owned()] }
}

fn searcher<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Option<AhoCorasick> {
    let patterns: Vec<String> =
        secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET).flat_map(spellings).collect();
    if patterns.is_empty() {
        return None;
    }
    AhoCorasickBuilder::new().match_kind(MatchKind::LeftmostLongest).build(&patterns).ok()
}

impl Redactor {
    /// A redactor that knows `secrets` besides whatever stands under an api key.
    #[must_use]
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let keys = AhoCorasickBuilder::new()
            .ascii_case_insensitive(true)
            .build(["apikey", "api_key", "api-key", "api.key", "api key", "api+key"]);
        Self { secrets: searcher(secrets), keys: keys.ok() }
    }

    /// What must go besides the configured secrets: the values the reader found under an api key (see [`api_keys`]).
    #[must_use]
    pub fn found<'s>(&self, values: impl IntoIterator<Item = &'s str>) -> Found {
        let known = |value: &str| {
            self.secrets.as_ref().and_then(|secrets| secrets.find(value)).is_some_and(|m| m.len() == value.len())
        };
        // An ordinary word under the key (a provider's oddity: `"ApiKey":"No Transfers"`) is removed there only.
        let wanted = |value: &&str| value.len() >= 8 && !value.contains(char::is_whitespace) && !known(value);
        Found(searcher(values.into_iter().filter(wanted)))
    }

    /// The bytes without secrets.
    #[must_use]
    pub fn redact<'a>(&self, bytes: &'a [u8], found: &Found) -> Redaction<'a> {
        let mut cuts: Vec<Cut> = Vec::new();
        each_view(bytes, &mut |seen| {
            for searcher in self.secrets.iter().chain(found.0.iter()) {
                let places = searcher.find_iter(seen.bytes).map(|found| seen.place(&found.range()));
                cuts.extend(places.map(|place| Cut { place, put: REDACTED }));
            }
            for key in self.keys.iter().flat_map(|keys| keys.find_iter(seen.bytes)) {
                if let Some((value, put)) = value_after(seen.bytes, key.end()) {
                    cuts.push(Cut { place: seen.place(&value), put });
                }
            }
        });
        Redaction { bytes: cut(bytes, cuts) }
    }

    /// Removes the configured secrets and those in `found` from every text of a value, so that no derived field can
    /// carry one either.
    pub fn scrub(&self, value: &mut Json, found: &Found) {
        match value {
            Json::Object(members) => {
                members.values_mut().for_each(|member| self.scrub(member, found));
                // A key is a text like any other: an object that is kept as text keeps its keys.
                let dirty = |key: &&String| self.redact(key.as_bytes(), found).removed();
                for key in members.keys().filter(dirty).cloned().collect::<Vec<_>>() {
                    if let Some(member) = members.remove(&key) {
                        let clean = self.redact(key.as_bytes(), found).bytes;
                        members.insert(String::from_utf8_lossy(&clean).into_owned(), member);
                    }
                }
            }
            Json::Array(items) => items.iter_mut().for_each(|item| self.scrub(item, found)),
            // Too short for a secret, and for a key with its value.
            Json::Text(text) | Json::Number(text) if text.len() < MIN_SECRET => {}
            Json::Text(text) | Json::Number(text) => {
                if let Cow::Owned(clean) = self.redact(text.as_bytes(), found).bytes {
                    *text = String::from_utf8_lossy(&clean).into_owned();
                }
            }
            Json::Null | Json::Bool(_) => {}
        }
    }

    /// A text (header, path) without secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.redact(text.as_bytes(), &Found::default()).bytes).into_owned()
    }
}

fn is_gap(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'+' || byte == 0
}

/// The value that follows a key which ends at `at`, and what to put in its place.
fn value_after(bytes: &[u8], mut at: usize) -> Option<(Range<usize>, &'static str)> {
    while bytes.get(at).is_some_and(|byte| is_gap(*byte) || matches!(byte, b'"' | b'\'' | b'\\' | b']')) {
        at += 1;
    }
    let assigns = *bytes.get(at)?;
    if !matches!(assigns, b':' | b'=') {
        return None;
    }
    at += 1;
    while bytes.get(at).is_some_and(|byte| is_gap(*byte)) {
        at += 1;
    }
    let escapes = bytes.get(at..)?.iter().take_while(|byte| **byte == b'\\').count();
    let quote = bytes.get(at + escapes).copied();
    if quote == Some(b'"') {
        let begin = at + escapes + 1;
        let end = closing_quote(bytes, begin, escapes);
        return (end > begin).then_some((begin..end, REDACTED));
    }
    if assigns == b':' && matches!(quote, Some(b'{' | b'[')) {
        return Some((at..closing_bracket(bytes, at), NULL));
    }
    let stops = |byte: &u8| matches!(byte, b'"' | b'\\' | b',' | b'}' | b']' | b'&') || byte.is_ascii_whitespace();
    let length = bytes.get(at..)?.iter().position(stops).unwrap_or(bytes.len() - at);
    (length > 0).then_some((at..at + length, if assigns == b':' { NULL } else { REDACTED }))
}

/// Where a string that opened with `escapes` backslashes before its quote ends: at a quote with as many before it,
/// give or take whole escaped backslashes of its own.
fn closing_quote(bytes: &[u8], begin: usize, escapes: usize) -> usize {
    let mut run = 0;
    for (at, byte) in bytes.iter().enumerate().skip(begin) {
        match byte {
            b'\\' => run += 1,
            b'"' if run % (2 * (escapes + 1)) == escapes => return at - escapes,
            _ => run = 0,
        }
    }
    bytes.len()
}

/// Where an object or array ends, brackets counted without regard to strings; the end of the bytes if nowhere.
fn closing_bracket(bytes: &[u8], begin: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in bytes.iter().enumerate().skip(begin) {
        match byte {
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

fn cut(bytes: &[u8], mut cuts: Vec<Cut>) -> Cow<'_, [u8]> {
    cuts.retain(|cut| bytes.get(cut.place.clone()).is_some_and(|there| there != cut.put.as_bytes()));
    if cuts.is_empty() {
        return Cow::Borrowed(bytes);
    }
    // Equal starts: the longest first, so that what stands for it decides.
    cuts.sort_by_key(|cut| (cut.place.start, std::cmp::Reverse(cut.place.end)));
    let mut out = Vec::with_capacity(bytes.len());
    let mut done = 0;
    for Cut { place, put } in cuts {
        if place.start >= done {
            out.extend_from_slice(bytes.get(done..place.start).unwrap_or_default());
            out.extend_from_slice(put.as_bytes());
        }
        done = done.max(place.end);
    }
    out.extend_from_slice(bytes.get(done..).unwrap_or_default());
    Cow::Owned(out)
}

/// Whether a secret occurs in any view of some bytes: the law that tests hold the redactor to.
#[must_use]
pub fn occurs(secret: &str, bytes: &[u8]) -> bool {
    let finder = memchr::memmem::Finder::new(secret.as_bytes());
    let mut found = false;
    each_view(bytes, &mut |seen| found = found || finder.find(seen.bytes).is_some());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "KK_TEST_NOT_A_REAL_KEY";

    fn redacted(text: &str) -> String {
        Redactor::new([]).text(text)
    }

    #[test]
    fn the_value_after_the_key_goes_and_all_else_stays() {
        for (text, expected) in [
            (r#"{"Apikey":"KK1","a":1}"#, r#"{"Apikey":"REDACTED","a":1}"#),
            (r#"{"API_KEY" : "KK1" }"#, r#"{"API_KEY" : "REDACTED" }"#),
            (r#"{"Apikey":"","a":1}"#, r#"{"Apikey":"","a":1}"#),
            (r#"{"Apikey":null,"a":1}"#, r#"{"Apikey":null,"a":1}"#),
            (r#"{"Apikey":12345,"a":1}"#, r#"{"Apikey":null,"a":1}"#),
            (r#"{"Apikey":["KK1",{"x":"KK2"}],"a":1}"#, r#"{"Apikey":null,"a":1}"#),
            (r#"{"Apikey":"a\"b\\","b":"c"}"#, r#"{"Apikey":"REDACTED","b":"c"}"#),
            (r#"{"Apikey":"\u004bK1","b":"c"}"#, r#"{"Apikey":"REDACTED","b":"c"}"#),
            (r#"{"\u0041pikey":"KK1"}"#, r#"{"\u0041pikey":"REDACTED"}"#),
            ("Apikey=KK%31&x=1", "Apikey=REDACTED&x=1"),
            ("data=%7B%22Apikey%22%3A%22KK1%22%7D", "data=%7B%22Apikey%22%3A%22REDACTED%22%7D"),
            (
                "data=%257B%2522Apikey%2522%253A%2522KK1%2522%257D",
                "data=%257B%2522Apikey%2522%253A%2522REDACTED%2522%257D",
            ),
            (r#""{\"Apikey\":\"KK1\",\"a\":1}""#, r#""{\"Apikey\":\"REDACTED\",\"a\":1}""#),
            (r#"{"Apikey":"KK1"#, r#"{"Apikey":"REDACTED"#),
            (
                r#"{"ApiKey":"No Transfers","TransferType":"No Transfers"}"#,
                r#"{"ApiKey":"REDACTED","TransferType":"No Transfers"}"#,
            ),
            ("nothing here: 100%", "nothing here: 100%"),
        ] {
            assert_eq!(redacted(text), expected, "{text}");
        }
    }

    #[test]
    fn a_secret_elsewhere_in_the_body_goes_too() {
        let redactor = Redactor::new([KEY]);
        let escaped: String = KEY.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        let percent: String = KEY.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let wide: Vec<u8> = KEY.bytes().flat_map(|byte| [byte, 0]).collect();
        for hidden in [KEY.as_bytes(), escaped.as_bytes(), percent.as_bytes(), &wide] {
            let body = [b"{\"Comments\":\"the key is ".as_slice(), hidden, b" keep\xff\"}"].concat();
            let clean = redactor.redact(&body, &Found::default());
            assert!(!occurs(KEY, &clean.bytes));
            assert!(clean.bytes.ends_with(b" keep\xff\"}"));
        }
    }

    #[test]
    fn what_holds_no_secret_is_not_copied() {
        let redactor = Redactor::new([KEY]);
        assert!(!redactor.redact(b"{\"eventType\":\"Agent\",\"a\":\"b\\nc\"}", &Found::default()).removed());
    }
}
