//! Odd words and values: what providers, browsers, phones and attackers have been seen to send.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};

/// Texts, unescaped.
pub(super) const TEXTS: [&str; 58] = [
    "",
    " ",
    "\t \r\n",
    "None",
    "none",
    "null",
    "NULL",
    "undefined",
    "NaN",
    "NA",
    "-",
    "0",
    "00",
    "-1",
    "043",
    "1e3",
    "0x1F",
    "2147483648",
    "9007199254740993",
    "31733467784618213",
    "99999999999999999999999999999999999999",
    "0000-00-00 00:00:00",
    "0001-01-01 00:00:00",
    "1970-01-01 05:30:00",
    "2026-02-30 10:00:00",
    "2026-03-24T14:39:52Z",
    "2026-03-24 14:39:52.123456+0530",
    "2026-03-24 24:00:00",
    "24/03/2026 14:39",
    "9999-12-31 23:59:59",
    "00:00:00",
    "00:00:07.9",
    "-00:01:00",
    "596523:14:07",
    "1:2:3:4",
    "नमस्ते डॉक्टर",
    "आशा वर्मा 🙂",
    "👩‍⚕️👨‍👩‍👧‍👦",
    "cafe\u{301}",
    "\u{202E}txet",
    "\u{FEFF}bom",
    "\u{0}",
    "a\u{0}b",
    "\u{1}\u{2}\u{1f}",
    "\u{7f}\u{80}\u{9f}",
    "\u{2028}\u{2029}",
    "\u{FFFD}\u{FFFF}\u{10FFFF}",
    "ﷺ﷽",
    "'; drop table facts; --",
    "<script>alert(1)</script>",
    "${jndi:ldap://x}",
    "{\"a\":1}",
    "[1,2",
    "%00%FF%",
    "a -> b -> c",
    " -> ",
    "->->->",
    "\\\"\\\\",
];

/// Values as JSON writes them; not all of them are JSON.
pub(super) const VALUES: [&str; 44] = [
    "null",
    "true",
    "false",
    "0",
    "-0",
    "-1",
    "1.5",
    "0.1e-7",
    "1e400",
    "-1E+400",
    "2147483648",
    "9007199254740993",
    "31733467784618213",
    "18446744073709551616",
    "123456789012345678901234567890123456789012345678901234567890",
    "\"0\"",
    "\"None\"",
    "\"\"",
    "\"\\u0000\"",
    "\"\\ud83d\"",
    "\"\\ud83d\\ude42\"",
    "\"\\udc00\\ud800\"",
    "\"\\u007f\\/\\b\\f\"",
    "\"\u{1}\u{8}\n\t\"",
    "[]",
    "[null]",
    "[\"agent.one\"]",
    "[1,[2,[3,[4]]]]",
    "{}",
    "{\"a\":{}}",
    "{\"$numberLong\":\"31733467784618213\"}",
    "{\"data\":{\"data\":\"data\"}}",
    "[{\"eventType\":\"Agent\"}]",
    "00:01:23",
    "01",
    "+1",
    "1.",
    ".5",
    "NaN",
    "Infinity",
    "undefined",
    "None",
    "'single'",
    "\"unfinished",
];

/// Actions, modes and types that nobody documented, and those that are, oddly written.
pub(super) const ACTIONS: [&str; 24] = [
    "LOGIN",
    "lOgIn",
    "Release",
    "idle",
    "AUX",
    "aux",
    "PAUSE",
    "Calling",
    "INCALL",
    "acw",
    "LOGOUT",
    "answered",
    "DISCONNECT",
    "Hold",
    "Unhold",
    "Conference",
    "RONA",
    "changeMode",
    "Supervisor_Barge",
    "प्रवेश",
    "login ",
    "log in",
    "0",
    "action",
];

/// Content types that say something, whatever the body is.
pub(super) const CONTENT_TYPES: [&str; 12] = [
    "application/json",
    "application/x-www-form-urlencoded",
    "application/json; charset=utf-8",
    "application/json; charset=utf-16",
    "text/plain",
    "text/html; charset=iso-8859-1",
    "application/xml",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "APPLICATION/JSON",
    "json",
    "*/*;;q=",
];

/// The draws of one delivery. Integer arithmetic on ChaCha's words: no library's distributions, whose output may change.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one number of a seed.
    pub(super) fn new(seed: u64, number: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(number);
        Self(rng)
    }

    /// Below `bound`; 0 where that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let wide = u128::from(self.0.next_u64()) * u128::try_from(bound).unwrap_or_default();
        usize::try_from(wide >> 64).unwrap_or_default()
    }

    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high.saturating_sub(low) + 1)
    }

    pub(super) fn chance(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    pub(super) fn pick<T: Copy + Default>(&mut self, items: &[T]) -> T {
        items.get(self.below(items.len())).copied().unwrap_or_default()
    }

    pub(super) fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + u8::try_from(self.below(10)).unwrap_or_default())).collect()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.fill_bytes(&mut bytes);
        bytes
    }
}
