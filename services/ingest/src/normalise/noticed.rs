//! What an event has that the guide to the provider does not know, or where it says NOT FOUND.
//!
//! Nothing is understood otherwise because of it: words are kept and noticed, never guessed. A notice holds a field's
//! name or a word of an enumerated field, never a value that may be a number or a person's name; how much of it may
//! become a label is decided where it is counted ([`crate::metrics::noticed`]).

use std::fmt;

use super::{
    fields::{self, Fields},
    guide,
};
use crate::value::{Json, same_key};

/// Notices of one event, at most: more fields than any guide will ever have are garbage.
const MAX_NOTICES: usize = 64;
/// Characters of a word that are kept: enough to see that it is too long to be shown.
const MAX_CHARS: usize = 64;
/// A word in the place of one that is missing.
const ABSENT: &str = "absent";
/// Integers up to this are exact in every JSON reader.
const EXACT: u64 = 1 << 53;

macro_rules! places {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Where something was noticed: the open points of ozonetel.md.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Place {
            $($(#[$doc])* $name,)*
        }

        impl Place {
            /// Every place.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The label of the metric.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }
        }
    };
}

places! {
    /// `eventType`; `absent` where a subscription event has none.
    EventType = "event_type",
    /// A field beside `data`.
    EnvelopeField = "envelope_field",
    /// An agent's action, in this spelling.
    AgentAction = "agent_action",
    /// `agentMode`, in this spelling.
    AgentMode = "agent_mode",
    /// A field of an agent event: the pause reason's key is among them.
    AgentField = "agent_field",
    /// The field of a call id in an agent event.
    AgentCallId = "agent_call_id",
    /// A call event's action, in this spelling.
    CallAction = "call_action",
    /// `call_type`, in this spelling.
    CallType = "call_type",
    /// A field of a call event.
    CallField = "call_field",
    /// `other_leg`: a `Calling` of another leg than the call's first.
    CallLeg = "call_leg",
    /// A field of a callback.
    CallbackField = "callback_field",
    /// `Type`.
    CallbackType = "callback_type",
    /// `Status`.
    CallbackStatus = "callback_status",
    /// One link of `AgentStatus`.
    CallbackAgentStatus = "callback_agent_status",
    /// `CustomerStatus`.
    CallbackCustomerStatus = "callback_customer_status",
    /// One link of `DialStatus`.
    CallbackDialStatus = "callback_dial_status",
    /// `HangupBy`.
    CallbackHangupBy = "callback_hangup_by",
    /// `TransferType`.
    CallbackTransferType = "callback_transfer_type",
    /// `CampaignStatus`.
    CallbackCampaignStatus = "callback_campaign_status",
    /// `FallBackRule`.
    CallbackFallBackRule = "callback_fall_back_rule",
    /// How a DID is spelled where not as plain digits with the country's code.
    DidSpelling = "did_spelling",
    /// The field of a time that cannot be read; `absent` where a subscription event has none.
    Time = "time",
    /// The field of a duration that cannot be read.
    Duration = "duration",
    /// The field of a text with characters beyond ASCII.
    NonAscii = "non_ascii",
    /// The field of a JSON number that a reader by floats would not keep: beyond 2^53, or not an integer.
    InexactNumber = "inexact_number",
}

/// One thing noticed.
#[derive(Clone, PartialEq, Eq)]
pub struct Noticed {
    /// Where.
    pub place: Place,
    /// The field's name or the word, as sent; cut where it is long.
    pub word: String,
}

impl fmt::Debug for Noticed {
    /// The place alone: the word comes from a body (law 9).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Noticed").field("place", &self.place).finish_non_exhaustive()
    }
}

/// The notices of one event, as they are made.
#[derive(Default)]
pub(super) struct Notes(Vec<Noticed>);

impl Notes {
    pub(super) fn into_noticed(self) -> Vec<Noticed> {
        self.0
    }

    pub(super) fn note(&mut self, place: Place, word: &str) {
        if self.0.len() < MAX_NOTICES {
            self.0.push(Noticed { place, word: word.chars().take(MAX_CHARS).collect() });
        }
    }

    /// A word that the guide does not have; its absence is no news.
    pub(super) fn word(&mut self, place: Place, word: Option<&str>, known: &[&str]) {
        if let Some(word) = word.filter(|word| !known.contains(word)) {
            self.note(place, word);
        }
    }

    /// As [`Self::word`], where the guide has always one.
    pub(super) fn required(&mut self, place: Place, word: Option<&str>, known: &[&str]) {
        match word {
            Some(word) => self.word(place, Some(word), known),
            None => self.note(place, ABSENT),
        }
    }

    /// As [`Self::word`], for each link of a chain.
    pub(super) fn links(&mut self, place: Place, chain: Option<&str>, known: &[&str]) {
        for link in chain.map(fields::chain).unwrap_or_default() {
            self.word(place, link, known);
        }
    }

    /// A time or duration that is there and says nothing.
    pub(super) fn unread(&mut self, place: Place, name: &str, there: bool, read: bool) {
        if there && !read {
            self.note(place, name);
        }
    }

    /// The envelope of a subscription event.
    pub(super) fn envelope(&mut self, envelope: &Fields<'_>) {
        for (name, _) in envelope.members() {
            if !is_known(name, &guide::ENVELOPE_FIELDS, false) {
                self.note(Place::EnvelopeField, name);
            }
        }
        self.required(Place::EventType, envelope.text("eventtype").as_deref(), &guide::EVENT_TYPES);
    }

    /// The fields of an agent event.
    pub(super) fn agent_fields(&mut self, data: &Fields<'_>, flat: bool) {
        for (name, _) in data.members() {
            if guide::CALL_IDS.iter().any(|id| same_key(name, id)) {
                self.note(Place::AgentCallId, name);
            } else if !is_known(name, &guide::AGENT_FIELDS, flat) {
                self.note(Place::AgentField, name);
            }
        }
        self.values(data);
    }

    /// The fields of a call event.
    pub(super) fn call_fields(&mut self, data: &Fields<'_>, flat: bool) {
        for (name, _) in data.members() {
            if !is_known(name, &guide::CALL_FIELDS, flat) {
                self.note(Place::CallField, name);
            }
        }
        self.values(data);
    }

    /// The fields of a callback.
    pub(super) fn callback_fields(&mut self, data: &Fields<'_>) {
        for (name, _) in data.members() {
            if !is_known(name, &guide::CALLBACK_FIELDS, false) {
                self.note(Place::CallbackField, name);
            }
        }
        self.values(data);
    }

    /// What the values of an object are, whatever they say.
    pub(super) fn values(&mut self, object: &Fields<'_>) {
        for (name, value) in object.members() {
            match value {
                Json::Text(text) if !text.is_ascii() => self.note(Place::NonAscii, name),
                Json::Number(text) if !is_exact(text) => self.note(Place::InexactNumber, name),
                Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::Array(_) | Json::Object(_) => {}
            }
        }
    }

    /// How the DID is spelled: no digit of it is told.
    pub(super) fn did(&mut self, sent: Option<&str>, canonical: Option<&str>) {
        let (Some(sent), Some(canonical)) = (sent, canonical) else { return };
        if !canonical.bytes().all(|byte| byte.is_ascii_digit()) {
            self.note(Place::DidSpelling, "not_digits");
            return;
        }
        if canonical.starts_with('0') {
            self.note(Place::DidSpelling, "national_zero");
        }
        if sent.starts_with('+') {
            self.note(Place::DidSpelling, "plus");
        }
        let digits = |text: &str| text.bytes().filter(u8::is_ascii_digit).count();
        if digits(sent) > digits(canonical) {
            self.note(Place::DidSpelling, "double_zero");
        }
        if sent.strip_prefix('+').unwrap_or(sent).bytes().any(|byte| !byte.is_ascii_digit()) {
            self.note(Place::DidSpelling, "separators");
        }
    }
}

/// In a flat event the envelope's fields stand among the event's own.
fn is_known(name: &str, known: &[&str], flat: bool) -> bool {
    known.contains(&name) || (flat && guide::ENVELOPE_FIELDS.contains(&name))
}

fn is_exact(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    digits.parse::<u64>().is_ok_and(|value| value <= EXACT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_exact_up_to_two_to_the_53() {
        for exact in ["0", "-7", "9007199254740992"] {
            assert!(is_exact(exact), "{exact}");
        }
        for inexact in ["9007199254740993", "31733467784618213", "99999999999999999999", "1.5", "9e15", "-0.0"] {
            assert!(!is_exact(inexact), "{inexact}");
        }
    }

    #[test]
    fn an_event_has_few_notices_and_a_notice_few_characters() {
        let mut notes = Notes::default();
        for _ in 0..1000 {
            notes.note(Place::AgentField, &"क".repeat(1000));
        }
        let noticed = notes.into_noticed();
        assert_eq!(noticed.len(), MAX_NOTICES);
        assert!(noticed.iter().all(|notice| notice.word.chars().count() == MAX_CHARS));
    }

    #[test]
    fn places_have_their_own_labels() {
        let labels: std::collections::BTreeSet<_> = Place::ALL.iter().map(|place| place.as_str()).collect();
        assert_eq!(labels.len(), Place::ALL.len());
    }
}
