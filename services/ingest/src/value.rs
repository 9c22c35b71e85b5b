//! A JSON value that loses nothing: numbers keep the text they were written with.
//!
//! Mechanism only: syntax and bounds, no meaning. Call ids and phone numbers pass 2^53, so no number ever becomes a
//! float here (ozonetel.md 0.6). The grammar is RFC 8259 with one leniency that the provider needs (sample K14): raw
//! control characters inside strings are taken as they are. A key given twice keeps its last value.

use std::{collections::BTreeMap, fmt, ops::Range};

/// Arrays and objects may be nested this deep. The parser recurses, so this is what keeps its stack bounded.
pub const MAX_DEPTH: usize = 64;

/// One JSON value.
#[derive(Clone, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A string, unescaped.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object, by key.
    Object(BTreeMap<String, Json>),
}

impl fmt::Debug for Json {
    /// The shape alone: bodies must not reach a log line by way of `{:?}` (law 9).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(_) => f.write_str("bool"),
            Self::Number(_) => f.write_str("number"),
            Self::Text(text) => write!(f, "text({})", text.len()),
            Self::Array(items) => write!(f, "array({})", items.len()),
            Self::Object(members) => write!(f, "object({})", members.len()),
        }
    }
}

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonFault {
    /// It stops being JSON here.
    #[error("not JSON from byte {at}")]
    Syntax {
        /// Offset in the text.
        at: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than {MAX_DEPTH}")]
    TooDeep,
}

/// A parsed text.
#[derive(Debug)]
pub struct Parsed {
    /// The value.
    pub value: Json,
    /// Where the elements lie in the text: those of the array that is the value itself, or else of the array that is
    /// the last member of the object.
    pub elements: Vec<Range<usize>>,
}

/// Parses a whole text.
///
/// # Errors
/// [`JsonFault`] where it is not JSON or nested too deep.
pub fn parse(text: &str) -> Result<Parsed, JsonFault> {
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, elements: Vec::new() };
    parser.skip_space();
    let value = parser.value(0, true)?;
    parser.skip_space();
    if parser.at < parser.bytes.len() {
        return Err(parser.fault());
    }
    Ok(Parsed { value, elements: parser.elements })
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    elements: Vec<Range<usize>>,
}

impl Parser<'_> {
    fn fault(&self) -> JsonFault {
        JsonFault::Syntax { at: self.at }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), JsonFault> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(self.fault())
    }

    fn word(&mut self, word: &str, value: Json) -> Result<Json, JsonFault> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            return Ok(value);
        }
        Err(self.fault())
    }

    /// `outer`: an array here is the one whose elements' places are wanted.
    fn value(&mut self, depth: usize, outer: bool) -> Result<Json, JsonFault> {
        match self.peek() {
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1, outer),
            Some(b'"') => self.string().map(Json::Text),
            Some(b't') => self.word("true", Json::Bool(true)),
            Some(b'f') => self.word("false", Json::Bool(false)),
            Some(b'n') => self.word("null", Json::Null),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(self.fault()),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, JsonFault> {
        if depth > MAX_DEPTH {
            return Err(JsonFault::TooDeep);
        }
        self.take(b'{')?;
        let mut members = BTreeMap::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.skip_space();
            let key = self.string()?;
            self.skip_space();
            self.take(b':')?;
            self.skip_space();
            let value = self.value(depth, depth == 1)?;
            members.insert(key, value);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                _ => return Err(self.fault()),
            }
        }
    }

    fn array(&mut self, depth: usize, outer: bool) -> Result<Json, JsonFault> {
        if depth > MAX_DEPTH {
            return Err(JsonFault::TooDeep);
        }
        self.take(b'[')?;
        let mut items = Vec::new();
        let mut places = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
        } else {
            loop {
                self.skip_space();
                let begin = self.at;
                items.push(self.value(depth, false)?);
                places.push(begin..self.at);
                self.skip_space();
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b']') => {
                        self.at += 1;
                        break;
                    }
                    _ => return Err(self.fault()),
                }
            }
        }
        if outer {
            self.elements = places;
        }
        Ok(Json::Array(items))
    }

    fn string(&mut self) -> Result<String, JsonFault> {
        self.take(b'"')?;
        let mut out = String::new();
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = memchr::memchr2(b'"', b'\\', rest).ok_or(JsonFault::Syntax { at: self.bytes.len() })?;
            // Both ends lie at ASCII bytes, hence at character boundaries.
            out.push_str(self.text.get(self.at..self.at + plain).unwrap_or_default());
            self.at += plain + 1;
            if rest.get(plain) == Some(&b'"') {
                return Ok(out);
            }
            out.push(self.escape()?);
        }
    }

    fn escape(&mut self) -> Result<char, JsonFault> {
        let escaped = self.peek().ok_or(self.fault())?;
        let plain = match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.fault()),
        };
        self.at += 1;
        Ok(plain)
    }

    fn hex4(&mut self) -> Result<u32, JsonFault> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(self.fault())?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(self.fault());
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| self.fault())
    }

    /// A surrogate without its other half becomes U+FFFD: half a character is no reason to lose an event.
    fn unicode(&mut self) -> Result<char, JsonFault> {
        let first = self.hex4()?;
        let follows = self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(b"\\u"));
        if (0xD800..0xDC00).contains(&first) && follows {
            let back = self.at;
            self.at += 2;
            let second = self.hex4()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x1_0000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn digits(&mut self) -> Result<(), JsonFault> {
        let begin = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == begin { Err(self.fault()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Json, JsonFault> {
        let begin = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(Json::Number(self.text.get(begin..self.at).unwrap_or_default().to_owned()))
    }
}

impl Json {
    /// Canonical text: no space, keys sorted, members whose key `skip` names left out at every depth. The same value
    /// has the same text however it was written or wrapped, so fact ids can be made of it.
    #[must_use]
    pub fn canonical(&self, skip: fn(&str) -> bool) -> String {
        let mut out = String::with_capacity(512);
        self.write_canonical(&mut out, skip);
        out
    }

    fn write_canonical(&self, out: &mut String, skip: fn(&str) -> bool) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(true) => out.push_str("true"),
            Self::Bool(false) => out.push_str("false"),
            Self::Number(text) => out.push_str(text),
            Self::Text(text) => write_string(text, out),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item.write_canonical(out, skip);
                }
                out.push(']');
            }
            Self::Object(members) => {
                out.push('{');
                let mut first = true;
                for (key, value) in members.iter().filter(|(key, _)| !skip(key)) {
                    if !first {
                        out.push(',');
                    }
                    first = false;
                    write_string(key, out);
                    out.push(':');
                    value.write_canonical(out, skip);
                }
                out.push('}');
            }
        }
    }

    /// The members, where it is an object.
    #[must_use]
    pub fn as_object(&self) -> Option<&BTreeMap<String, Json>> {
        match self {
            Self::Object(members) => Some(members),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Text(_) | Self::Array(_) => None,
        }
    }
}

fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                const HEX: [char; 16] =
                    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
                let code = usize::try_from(u32::from(control)).unwrap_or_default();
                out.push_str("\\u00");
                out.extend([HEX.get(code >> 4), HEX.get(code & 15)].into_iter().flatten());
            }
            plain => out.push(plain),
        }
    }
    out.push('"');
}

/// Whether a key is `name` once letter case and `_`, `-`, `.` and spaces are left aside. `name` is lower case
/// letters and digits: `agent_id`, `AgentID` and `agent-id` are all `agentid`.
#[must_use]
pub fn same_key(key: &str, name: &str) -> bool {
    // Most keys are told apart by their first letter: lookups run over every key of an object.
    let differs = |first: &u8| {
        first.is_ascii_alphanumeric()
            && first.to_ascii_lowercase() != name.as_bytes().first().copied().unwrap_or_default()
    };
    if key.len() < name.len() || key.as_bytes().first().is_some_and(differs) {
        return false;
    }
    let mut folded = key.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b'.' | b' '));
    name.bytes().all(|wanted| folded.next().is_some_and(|byte| byte.to_ascii_lowercase() == wanted))
        && folded.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Option<String> {
        parse(text).ok().map(|parsed| parsed.value.canonical(|_| false))
    }

    #[test]
    fn a_number_keeps_its_text() {
        assert_eq!(canonical("[31733467784618213, -0.10, 1e400]").unwrap(), "[31733467784618213,-0.10,1e400]");
    }

    #[test]
    fn the_last_of_equal_keys_wins_and_keys_are_sorted() {
        assert_eq!(canonical(r#"{"b":1,"a":2,"b":3}"#).unwrap(), r#"{"a":2,"b":3}"#);
    }

    #[test]
    fn escapes_and_raw_control_characters_read_alike() {
        assert_eq!(canonical("\"a\nb\""), canonical(r#""a\nb""#));
        assert_eq!(canonical(r#""\ud83d\ude42""#), canonical("\"🙂\""));
        assert_eq!(canonical(r#""\ud83d!""#), canonical("\"\u{FFFD}!\""));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for bad in
            ["", "{", "[1,]", "{\"a\":00:01}", "01", "1.", "tru", "\"a", "\"\\x\"", "\"\\u00g0\"", "1 2", "{a:1}"]
        {
            assert!(canonical(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert!(parse(&deep(MAX_DEPTH)).is_ok());
        assert_eq!(parse(&deep(MAX_DEPTH + 1)).unwrap_err(), JsonFault::TooDeep);
        assert_eq!(parse(&"[".repeat(200_000)).unwrap_err(), JsonFault::TooDeep);
    }

    #[test]
    fn elements_lie_where_they_were() {
        let text = r#" [ {"a":1} , 2 ]"#;
        let parsed = parse(text).unwrap();
        let places: Vec<_> = parsed.elements.into_iter().map(|place| &text[place]).collect();
        assert_eq!(places, [r#"{"a":1}"#, "2"]);
        let text = r#"{"data":[{"x":[5,6]},"y"]}"#;
        let places: Vec<_> = parse(text).unwrap().elements.into_iter().map(|place| &text[place]).collect();
        assert_eq!(places, [r#"{"x":[5,6]}"#, "\"y\""]);
    }

    #[test]
    fn keys_are_compared_without_case_and_separators() {
        for key in ["agentId", "agent_id", "AgentID", "AGENT-ID"] {
            assert!(same_key(key, "agentid"));
        }
        assert!(!same_key("agentIds", "agentid") && !same_key("agent", "agentid"));
    }
}
