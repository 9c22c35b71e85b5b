//! The provider's spelling: true events into request bodies (ozonetel.md, sections 1 to 3).
//!
//! Two formats that share nothing: account events as JSON in an envelope, campaign callbacks as PascalCase JSON, mostly
//! inside a form field. Field order is fixed, so bytes are too.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::day::{Delivery, Endpoint};
use crate::faults::{Draft, Dress};
use crate::scenario::{AgentProfile, Scenario, Second, WebhookStyle};
use crate::truth::{AgentMode, Direction, EventKind, HangupBy, Outcome, TrueCall, TrueEvent, Truth};

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";
/// Between the parts of a chain (ozonetel.md, section 3.6).
const ARROW: &str = " -> ";

const CIRCLES: [&str; 6] = ["Karnataka", "", "Tamil Nadu", "Kerala", "Andhra Pradesh", "Maharashtra"];
const HINDI_NAMES: [&str; 6] = ["आशा वर्मा", "रेखा शर्मा", "गणेश राव", "सुनीता देवी", "मोहम्मद आरिफ़", "प्रिया नायर"];
const HINDI_COMMENT: &str = "मरीज़ ने कहा \"कल कॉल करें\" & 100% + बोनस 🙂\nदूसरी पंक्ति";

/// A JSON object whose fields keep the order they are written in.
struct Fields(Vec<(&'static str, Value)>);

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Fields {
    fn to_json(&self) -> String {
        // Keys are strings and values are JSON already: there is nothing that could fail to serialise.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Writes a draft's bytes.
pub(crate) fn render(scenario: &Scenario, truth: &Truth, draft: Draft) -> Delivery {
    let writer = Writer { scenario, truth };
    let endpoint = match draft.told.first().map(|(event, _)| event) {
        Some(event) if event.kind == EventKind::Summary => Endpoint::Callback,
        Some(event) if writer.is_about_a_call(event) => Endpoint::CallEvent,
        Some(_) | None => Endpoint::AgentEvent,
    };
    let stamp = scenario.stamp(Second::try_from(draft.stamped_at / 1000).unwrap_or(Second::MAX));
    let objects: Vec<String> = draft.told.iter().map(|(event, dress)| writer.object(event, *dress, &stamp)).collect();
    let json = if draft.as_array { format!("[{}]", objects.join(",")) } else { objects.concat() };
    let (content_type, body) = match (endpoint, scenario.webhook_style) {
        (Endpoint::AgentEvent | Endpoint::CallEvent, _) | (Endpoint::Callback, WebhookStyle::Json) => (JSON, json),
        (Endpoint::Callback, WebhookStyle::FormArray) if !draft.as_array => (FORM, form(&format!("[{json}]"))),
        (Endpoint::Callback, WebhookStyle::Form | WebhookStyle::FormArray) => (FORM, form(&json)),
    };
    Delivery {
        at: draft.at,
        events: draft.told.into_iter().map(|(event, _)| event).collect(),
        faults: draft.faults,
        method: "POST",
        endpoint,
        content_type,
        body: body.into_bytes(),
    }
}

fn form(json: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair("data", json).finish()
}

/// `HH:MM:SS`.
fn clock(seconds: Second) -> String {
    format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

/// One of the other ways to write a word: the first of upper, lower, capital first, swapped that differs from it.
fn other_case(word: &str, choice: u32) -> String {
    let swap = |letter: char| {
        if letter.is_ascii_uppercase() { letter.to_ascii_lowercase() } else { letter.to_ascii_uppercase() }
    };
    let capital = |word: &str| {
        let mut letters = word.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        first.into_iter().chain(letters.map(|letter| letter.to_ascii_lowercase())).collect::<String>()
    };
    let mut ways =
        [word.to_ascii_uppercase(), word.to_ascii_lowercase(), capital(word), word.chars().map(swap).collect()];
    ways.rotate_left(choice as usize % 4);
    ways.into_iter().find(|way| way != word).unwrap_or_else(|| word.to_owned())
}

struct Writer<'a> {
    scenario: &'a Scenario,
    truth: &'a Truth,
}

impl Writer<'_> {
    fn object(&self, event: &TrueEvent, dress: Dress, stamp: &str) -> String {
        let spelled = |word: &str| dress.case.map_or_else(|| word.to_owned(), |choice| other_case(word, choice));
        let data = match (&event.kind, event.call_index.map(|index| &self.truth.calls[index])) {
            (EventKind::Summary, Some(call)) => return self.callback(call, dress).to_json(),
            (EventKind::Call { action, leg }, Some(call)) => {
                self.call_data(event, call, &spelled(action.word()), leg, dress)
            }
            (EventKind::Noise { word }, Some(call)) if self.is_about_a_call(event) => {
                self.call_data(event, call, word, &call.call_id, dress)
            }
            (EventKind::Agent { action, reason, mode }, _) => {
                self.agent_data(event, &spelled(action.word()), *reason, *mode)
            }
            (EventKind::Noise { word }, _) => self.agent_data(event, word, None, AgentMode::Inbound),
            // The floor gives a call to each of these.
            (EventKind::Summary | EventKind::Call { .. }, None) => Fields(Vec::new()),
        };
        let kind = if self.is_about_a_call(event) { "Call" } else { "Agent" };
        let head = Fields(vec![
            ("eventType", text(kind)),
            ("eventTime", text(stamp)),
            ("username", text(&self.scenario.username)),
        ]);
        let mut json = head.to_json();
        json.pop();
        format!("{json},\"data\":{}}}", data.to_json())
    }

    fn is_about_a_call(&self, event: &TrueEvent) -> bool {
        match event.kind {
            EventKind::Call { .. } | EventKind::Summary => true,
            EventKind::Agent { .. } => false,
            // Words of call control belong to a call.
            EventKind::Noise { word } => matches!(word, "Hold" | "Unhold" | "Conference"),
        }
    }

    fn agent_data(&self, event: &TrueEvent, action: &str, reason: Option<&str>, mode: AgentMode) -> Fields {
        let mode = match mode {
            AgentMode::Inbound => "INBOUND",
            AgentMode::Manual => "MANUAL",
        };
        let mut fields = vec![("action", text(action))];
        if let Some(agent) = event.agent_index.map(|index| &self.scenario.agents[index]) {
            fields.push(("agentUniqeId", Value::from(agent.unique_id)));
            fields.push(("agentId", text(&agent.id)));
        }
        fields.push(("agentMode", text(mode)));
        fields.push(("eventTime", text(self.scenario.stamp(event.occurred_at))));
        if let Some(reason) = reason {
            fields.push(("pauseReason", text(reason)));
        }
        Fields(fields)
    }

    fn call_data(&self, event: &TrueEvent, call: &TrueCall, action: &str, leg: &str, dress: Dress) -> Fields {
        let call_type = match call.direction {
            Direction::Inbound => "Inbound",
            Direction::Outbound => "Manual",
        };
        let agent = event.agent_index.map(|index| &self.scenario.agents[index]);
        // Nobody is "0" or "" in calls without an agent; which one, by call.
        let odd = event.call_index.is_some_and(|index| index % 2 == 1);
        let nobody = match (dress.blanks, odd) {
            (Some(0), _) => text("None"),
            (Some(1), _) => Value::Null,
            (Some(_), false) | (None, true) => text(""),
            (Some(_), true) | (None, false) => text("0"),
        };
        let skill = if call.skill.is_empty() && dress.blanks.is_some() { "None" } else { &call.skill };
        Fields(vec![
            ("action", text(action)),
            ("call_type", text(call_type)),
            ("ucid", text(leg)),
            ("monitor_ucid", text(&*call.call_id)),
            ("agent_id", agent.map_or(nobody, |agent| text(&agent.id))),
            ("skill", text(skill)),
            ("caller_id", text(&call.caller)),
            ("did", text(&call.did)),
            ("agent_number", text(agent.map_or("", |agent| &agent.phone))),
            ("event_time", text(self.scenario.stamp(event.occurred_at))),
        ])
    }

    fn callback(&self, call: &TrueCall, dress: Dress) -> Fields {
        let scenario = self.scenario;
        let inbound = call.direction == Direction::Inbound;
        let answered = call.outcome == Outcome::Answered;
        let chain = |part: &dyn Fn(&AgentProfile, usize) -> String| {
            let parts = call.legs.iter().map(|leg| part(&scenario.agents[leg.agent_index], leg.agent_index));
            text(parts.collect::<Vec<String>>().join(ARROW))
        };
        let phones = chain(&|agent, _| agent.phone.clone());
        let if_answered = |value: String| text(if answered { value } else { String::new() });
        let (agent_status, dial_status) = statuses(call);
        let whole = call.ended_at - call.rang_at;
        let to_answer = call.answered_at.map_or(0, |answered_at| answered_at - call.rang_at);
        let started = scenario.local(call.rang_at).format("%Y%m%d%H%M%S");
        let user = &scenario.username;
        let audio = format!("https://recordings.example.invalid/{user}/{user}_{}_{started}.mp3", call.call_id);
        let circle = call.caller.bytes().fold(0_usize, |sum, digit| sum + usize::from(digit)) % CIRCLES.len();
        let handed_to = if call.transferred { call.agents.last().map_or("", |agent| agent) } else { "" };
        let (comments, location) =
            if dress.hindi { (HINDI_COMMENT, "कर्नाटक") } else { (comment(call), CIRCLES[circle]) };
        let mut fields = Fields(vec![
            ("monitorUCID", text(&*call.call_id)),
            ("UUI", text(if inbound { call.skill.as_str() } else { "Manual Dial" })),
            ("Did", text(&call.did)),
            ("CampaignName", text(format!("{}_{}", if inbound { "Inbound" } else { "Manual" }, call.did))),
            ("Location", text(location)),
            ("CallerID", text(&call.caller)),
            ("PhoneName", chain(&|agent, _| format!("ext{}", agent.phone))),
            ("Skill", text(if inbound { call.skill.as_str() } else { "None" })),
            ("StartTime", text(scenario.stamp(call.rang_at))),
            ("EndTime", text(scenario.stamp(call.ended_at))),
            ("TimeToAnswer", if_answered(clock(to_answer))),
            ("CallDuration", text(clock(whole))),
            ("Duration", if_answered(clock(whole.saturating_sub(to_answer)))),
            ("FallBackRule", text("AgentDial")),
            ("DialedNumber", if inbound { phones.clone() } else { text(&call.caller) }),
            ("Type", text(if inbound { "inbound" } else { "Manual" })),
            ("AgentID", chain(&|agent, _| agent.id.clone())),
            ("AgentPhoneNumber", phones),
            ("AgentUniqueID", chain(&|agent, _| agent.unique_id.to_string())),
            (
                "AgentName",
                chain(&|agent, index| {
                    if dress.hindi { HINDI_NAMES[index % HINDI_NAMES.len()].to_owned() } else { agent.name.clone() }
                }),
            ),
            ("Disposition", text(call.disposition)),
            (
                "HangupBy",
                text(match call.hangup_by {
                    HangupBy::User => "UserHangup",
                    HangupBy::Agent => "AgentHangup",
                    HangupBy::System => "SystemHangup",
                }),
            ),
            ("Status", text(if answered { "Answered" } else { "NotAnswered" })),
            ("AudioFile", if_answered(audio)),
            // Other values than "No Transfers" were not found in public; this one is an inference.
            ("TransferType", text(if call.transferred { "Agent Transfer" } else { "No Transfers" })),
            ("TransferredTo", text(handed_to)),
            ("Comments", text(comments)),
            ("DialStatus", text(dial_status)),
            ("Apikey", text(&scenario.api_key)),
            ("AgentStatus", text(agent_status)),
            ("CustomerStatus", text(if answered { "answered" } else { "not_answered" })),
            ("UserName", text(user)),
            ("CallerConfAudioFile", text("")),
            ("ConfDuration", text(clock(0))),
            ("CampaignStatus", text("ONLINE")),
            ("HoldDuration", text(clock(call.hold))),
            ("WrapUpDuration", if_answered(clock(call.wrap_up))),
            ("DataUniqueId", text("")),
        ]);
        if let Some(choice) = dress.blanks {
            blank_otherwise(&mut fields.0, choice);
        }
        fields
    }
}

fn comment(call: &TrueCall) -> &'static str {
    match call.disposition {
        "Follow up required" => "Patient asked for a call tomorrow",
        "Doctor to call back" => "Needs the doctor's advice",
        _ => "",
    }
}

/// `AgentStatus` and `DialStatus`, a part for each leg. Nobody rung: `NotDialed`.
fn statuses(call: &TrueCall) -> (String, String) {
    if call.legs.is_empty() {
        return ("NotDialed".to_owned(), "not_answered".to_owned());
    }
    let outbound = call.direction == Direction::Outbound;
    let gave_up = call.hangup_by == HangupBy::User;
    let last = call.legs.len() - 1;
    let of_agent = call.legs.iter().enumerate().map(|(index, leg)| match leg.answered_at {
        Some(_) => "answered",
        // Who dials is there; it is the customer who is not.
        None if outbound => "answered",
        None if index == last && gave_up => "user_disconnected",
        None => "NormalUnspecified",
    });
    let of_dial = call.legs.iter().map(|leg| if leg.answered_at.is_some() { "answered" } else { "not_answered" });
    (of_agent.collect::<Vec<_>>().join(ARROW), of_dial.collect::<Vec<_>>().join(ARROW))
}

/// Writes what is empty in another of the ways that were seen.
fn blank_otherwise(fields: &mut Vec<(&'static str, Value)>, choice: u32) {
    let is_blank = |value: &Value| value.as_str() == Some("");
    match choice {
        0 => fields.iter_mut().filter(|(_, value)| is_blank(value)).for_each(|(_, value)| *value = text("None")),
        1 => fields.iter_mut().filter(|(_, value)| is_blank(value)).for_each(|(_, value)| *value = Value::Null),
        2 => fields.retain(|(_, value)| !is_blank(value)),
        // A body of the years before these fields existed.
        3 => fields.retain(|(name, _)| !matches!(*name, "HoldDuration" | "WrapUpDuration" | "DataUniqueId")),
        // Sent before disposition and recording were there; and "0" for nobody.
        _ => {
            for (name, value) in fields {
                match *name {
                    "Disposition" | "AudioFile" => *value = text(""),
                    "AgentID" | "AgentUniqueID" if is_blank(value) => *value = text("0"),
                    _ => {}
                }
            }
        }
    }
}
