//! An event as its members, values as JSON text: what no JSON library would write can be written.

use chrono::DateTime;
use serde_json::Value;

use super::words::{ACTIONS, Dice, TEXTS, VALUES};

/// Whose agents and numbers the demo directory knows, and some that it does not.
const AGENTS: [&str; 6] = ["agent.one", "agent.two", "ramaiahadmin", "rekha.cc", "ganesh.cc", "globaladmin"];
const DIDS: [&str; 4] = ["918041763400", "918041763265", "918040000001", "1"];
/// Fields that name somebody or something, in the provider's spellings.
const IDS: [&str; 9] =
    ["agentId", "agent_id", "AgentID", "ucid", "monitor_ucid", "monitorUCID", "did", "Did", "agentUniqeId"];
const TIMES: [&str; 5] = ["eventTime", "event_time", "StartTime", "EndTime", "TimeToAnswer"];
const CHAINS: [&str; 5] = ["AgentID", "AgentName", "AgentPhoneNumber", "AgentUniqueID", "AgentStatus"];
const STRANGE_KEYS: [&str; 14] = [
    "",
    " ",
    "\u{0}",
    "__proto__",
    "data",
    "DATA",
    "d_a_t_a",
    "eventType",
    "Agent ID",
    "agent.id",
    "key",
    "\u{FEFF}action",
    "क्रिया",
    "UCID",
];
/// Seconds since the first day that deliveries are dated by; they go forward with the delivery's number.
const FIRST_DAY: i64 = 1_774_310_400;

/// A way to make an event odd.
pub(super) type Oddity = (&'static str, fn(&mut Event, &mut Dice));

/// Every way.
pub(super) const ODDITIES: [Oddity; 16] = [
    ("wrong type", wrong_type),
    ("odd text", odd_text),
    ("odd id", odd_id),
    ("odd time", odd_time),
    ("odd action", odd_action),
    ("spelling of a key", respell_one),
    ("spelling of all keys", respell_all),
    ("key twice", key_twice),
    ("key missing", key_missing),
    ("key added", key_added),
    ("deep nesting", deep),
    ("huge number", huge_number),
    ("long text", long_text),
    ("ragged chains", ragged_chains),
    ("data otherwise", data_otherwise),
    ("no envelope", no_envelope),
];

#[derive(Debug, Clone)]
struct Member {
    key: String,
    value: String,
}

/// An event on its way to being odd.
#[derive(Debug, Clone)]
pub(super) struct Event {
    envelope: Vec<Member>,
    /// The object under `data`, which follows the envelope's members.
    data: Option<Vec<Member>>,
}

/// A text as a JSON string.
pub(super) fn string(text: &str) -> String {
    Value::from(text).to_string()
}

fn object(members: &[Member], last: Option<&str>) -> String {
    let pairs = members.iter().map(|member| format!("{}:{}", string(&member.key), member.value));
    let pairs: Vec<String> = pairs.chain(last.map(|data| format!("\"data\":{data}"))).collect();
    format!("{{{}}}", pairs.join(","))
}

fn members(value: &Value) -> Option<Vec<Member>> {
    let pairs = value.as_object()?.iter().filter(|(key, _)| *key != "data");
    Some(pairs.map(|(key, value)| Member { key: key.clone(), value: value.to_string() }).collect())
}

impl Event {
    /// Of an object; nothing else is one.
    pub(super) fn of(value: &Value) -> Option<Self> {
        Some(Self { envelope: members(value)?, data: value.get("data").and_then(members) })
    }

    /// As JSON, if its values are.
    pub(super) fn json(&self) -> String {
        let data = self.data.as_deref().map(|data| object(data, None));
        object(&self.envelope, data.as_deref())
    }

    /// The event's own members.
    fn own(&mut self) -> &mut Vec<Member> {
        self.data.as_mut().unwrap_or(&mut self.envelope)
    }

    fn any_member(&mut self, dice: &mut Dice) -> Option<&mut Member> {
        let members = if dice.chance(250) { &mut self.envelope } else { self.own() };
        let at = dice.below(members.len());
        members.get_mut(at)
    }

    fn member_of(&mut self, names: &[&str], dice: &mut Dice) -> Option<&mut Member> {
        let places = self.own().iter().enumerate().filter(|(_, member)| names.contains(&member.key.as_str()));
        let places: Vec<usize> = places.map(|(at, _)| at).collect();
        let at = dice.pick(&places);
        if places.is_empty() { None } else { self.own().get_mut(at) }
    }

    fn set(&mut self, name: &str, value: &str) {
        for member in self.own().iter_mut().filter(|member| member.key == name) {
            value.clone_into(&mut member.value);
        }
    }

    /// Takes the provider's secret out.
    pub(super) fn without_secret(&mut self) {
        self.own().retain(|member| member.key != "Apikey");
    }

    /// Puts a secret where the provider has it, and says whether it has one.
    pub(super) fn with_secret(&mut self, secret: &str) -> bool {
        self.set("Apikey", &string(secret));
        self.own().iter().any(|member| member.key == "Apikey")
    }

    /// Puts a secret where somebody may have typed it.
    pub(super) fn mention(&mut self, secret: &str) {
        self.set("Comments", &string(&format!("the key is {secret}, keep it")));
    }

    /// Another event of the same kind: other people, calls and times. Some come from so small a choice that ids meet.
    pub(super) fn vary(&mut self, number: u64, dice: &mut Dice) {
        let common = dice.chance(50);
        let second = if common {
            0
        } else {
            i64::try_from(number).unwrap_or_default() - i64::try_from(dice.below(50)).unwrap_or_default()
        };
        let time = stamp(FIRST_DAY + second);
        for name in ["eventTime", "event_time", "StartTime"] {
            self.set(name, &string(&time));
        }
        self.set("EndTime", &string(&stamp(FIRST_DAY + second + 60)));
        if self.data.is_some() {
            for member in self.envelope.iter_mut().filter(|member| member.key == "eventTime") {
                member.value = string(&time);
            }
        }
        let agent = match dice.below(10) {
            0..3 => dice.pick(&AGENTS).to_owned(),
            3..6 => format!("odd.{:03}", dice.below(400)),
            _ => format!("odd.{}", dice.digits(6)),
        };
        for name in ["agentId", "agent_id", "AgentID"] {
            self.set(name, &string(&agent));
        }
        let call = if common {
            "9062174000000001".to_owned()
        } else {
            format!("9{}", dice.digits(15 + number.is_multiple_of(3) as usize))
        };
        let text = dice.chance(700);
        for name in ["monitor_ucid", "monitorUCID", "ucid"] {
            self.set(name, &if text { string(&call) } else { call.clone() });
        }
        let caller = format!("91{}", dice.digits(10));
        for name in ["caller_id", "CallerID"] {
            self.set(name, &string(&caller));
        }
        let did = dice.pick(&DIDS);
        for name in ["did", "Did"] {
            self.set(name, &string(did));
        }
    }

    /// As a form's fields, without `data`.
    pub(super) fn envelope_fields(&self) -> Vec<(String, String)> {
        fields(&self.envelope)
    }

    /// The event's own members as a form's fields.
    pub(super) fn own_fields(&mut self) -> Vec<(String, String)> {
        fields(self.own())
    }

    /// The object under `data`, or the whole where there is none.
    pub(super) fn data_json(&self) -> String {
        object(self.data.as_deref().unwrap_or(&self.envelope), None)
    }

    /// Makes it so large that it has about `size` bytes, by one member.
    pub(super) fn grow(&mut self, size: usize, dice: &mut Dice) {
        let filler = filler(size.saturating_sub(self.json().len()), dice);
        let value = match dice.below(3) {
            0 => format!("[{filler}]"),
            1 => format!("{{\"{}\":{filler}}}", dice.digits(3)),
            _ => filler,
        };
        let key = dice.pick(&["Comments", "AgentName", "action", "AgentID", "extra", "Disposition", "skill"]);
        self.own().retain(|member| member.key != key);
        self.own().push(Member { key: key.to_owned(), value });
    }
}

fn fields(members: &[Member]) -> Vec<(String, String)> {
    let text = |member: &Member| serde_json::from_str::<String>(&member.value).unwrap_or_else(|_| member.value.clone());
    members.iter().map(|member| (member.key.clone(), text(member))).collect()
}

/// A JSON string of about `size` bytes, of characters that each weigh differently once they are decoded and encoded.
fn filler(size: usize, dice: &mut Dice) -> String {
    let unit = dice.pick(&[
        "x", "अ", "\u{1}", "\\u0001", "\\\\", "\\\"", "%", "+", "🙂", " -> ", "a -> ", "\\ud83d", "\u{7f}", "&a=", "\n",
    ]);
    format!("\"{}\"", unit.repeat(size / unit.len().max(1)))
}

fn stamp(second: i64) -> String {
    let at = DateTime::from_timestamp(second, 0).unwrap_or_default();
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

fn wrong_type(event: &mut Event, dice: &mut Dice) {
    let value = dice.pick(&VALUES);
    if let Some(member) = event.any_member(dice) {
        value.clone_into(&mut member.value);
    }
}

fn odd_text(event: &mut Event, dice: &mut Dice) {
    let value = string(dice.pick(&TEXTS));
    if let Some(member) = event.any_member(dice) {
        member.value = value;
    }
}

fn odd_id(event: &mut Event, dice: &mut Dice) {
    let value = if dice.chance(500) { string(dice.pick(&TEXTS)) } else { dice.pick(&VALUES).to_owned() };
    if let Some(member) = event.member_of(&IDS, dice) {
        member.value = value;
    }
}

fn odd_time(event: &mut Event, dice: &mut Dice) {
    let value = match dice.below(4) {
        0 => dice.digits(13),
        1 => string(&stamp(i64::try_from(dice.below(8_000_000_000)).unwrap_or_default() - 4_000_000_000)),
        _ => string(dice.pick(&TEXTS)),
    };
    if let Some(member) = event.member_of(&TIMES, dice) {
        member.value = value;
    }
}

fn odd_action(event: &mut Event, dice: &mut Dice) {
    let word = string(dice.pick(&ACTIONS));
    if let Some(member) = event.member_of(&["action", "Status", "Type", "call_type", "agentMode"], dice) {
        member.value = word;
    }
}

/// The same key in another spelling.
fn respelled(key: &str, dice: &mut Dice) -> String {
    match dice.below(5) {
        0 => key.to_uppercase(),
        1 => key.to_lowercase(),
        2 => key.chars().flat_map(|c| [Some('_').filter(|_| c.is_ascii_uppercase()), Some(c)]).flatten().collect(),
        3 => key.replace('_', "-"),
        _ => key
            .chars()
            .map(|c| if c.is_ascii_lowercase() { c.to_ascii_uppercase() } else { c.to_ascii_lowercase() })
            .collect(),
    }
}

fn respell_one(event: &mut Event, dice: &mut Dice) {
    if let Some(member) = event.any_member(dice) {
        member.key = respelled(&member.key, dice);
    }
}

fn respell_all(event: &mut Event, dice: &mut Dice) {
    for member in event.envelope.iter_mut().chain(event.data.iter_mut().flatten()) {
        member.key = respelled(&member.key, dice);
    }
}

fn key_twice(event: &mut Event, dice: &mut Dice) {
    let Some(member) = event.any_member(dice).cloned() else { return };
    let key = if dice.chance(500) { member.key } else { respelled(&member.key, dice) };
    let value = if dice.chance(300) { member.value } else { dice.pick(&VALUES).to_owned() };
    let at = dice.below(event.own().len() + 1);
    event.own().insert(at, Member { key, value });
}

fn key_missing(event: &mut Event, dice: &mut Dice) {
    let members = if dice.chance(300) { &mut event.envelope } else { event.own() };
    if !members.is_empty() {
        members.remove(dice.below(members.len()));
    }
}

fn key_added(event: &mut Event, dice: &mut Dice) {
    let key = dice.pick(&STRANGE_KEYS).to_owned();
    let value = if dice.chance(500) { string(dice.pick(&TEXTS)) } else { dice.pick(&VALUES).to_owned() };
    let members = if dice.chance(500) { &mut event.envelope } else { event.own() };
    members.push(Member { key, value });
}

fn deep(event: &mut Event, dice: &mut Dice) {
    let depth = dice.pick(&[2, 30, 61, 62, 63, 64, 65, 200, 5_000]);
    let (open, close) = if dice.chance(500) { ("[", "]") } else { ("{\"a\":", "}") };
    let value = format!("{}1{}", open.repeat(depth), close.repeat(depth));
    if let Some(member) = event.any_member(dice) {
        member.value = value;
    }
}

fn huge_number(event: &mut Event, dice: &mut Dice) {
    let count = dice.pick(&[16, 20, 40, 128, 129, 255, 1_000, 5_000]);
    let value = format!("1{}", dice.digits(count));
    let quoted = dice.chance(300);
    if let Some(member) = event.member_of(&IDS, dice) {
        member.value = if quoted { string(&value) } else { value };
    }
}

fn long_text(event: &mut Event, dice: &mut Dice) {
    let size = dice.pick(&[100, 128, 129, 256, 1_000, 10_000]);
    let value = filler(size, dice);
    if let Some(member) = event.any_member(dice) {
        member.value = value;
    }
}

fn ragged_chains(event: &mut Event, dice: &mut Dice) {
    for name in CHAINS {
        let links = dice.pick(&[0, 1, 2, 3, 5, 12, 999, 1_000, 1_001, 2_000]);
        let link = |at: usize, dice: &mut Dice| match dice.below(8) {
            0 => dice.pick(&TEXTS).to_owned(),
            1 => "None".to_owned(),
            2 => "0".to_owned(),
            _ => format!("odd.{at}"),
        };
        let links: Vec<String> = (0..links).map(|at| link(at, dice)).collect();
        event.set(name, &string(&links.join(dice.pick(&[" -> ", "->", " ->  "]))));
    }
}

fn data_otherwise(event: &mut Event, dice: &mut Dice) {
    let value = match dice.below(6) {
        0 => string(&event.data_json()),
        1 => string(&string(&event.data_json())),
        2 => format!("[{}]", event.data_json()),
        3 => string(dice.pick(&TEXTS)),
        4 => format!("{{\"data\":{}}}", event.data_json()),
        _ => dice.pick(&VALUES).to_owned(),
    };
    event.data = None;
    event.envelope.push(Member { key: dice.pick(&["data", "Data", "DATA"]).to_owned(), value });
}

fn no_envelope(event: &mut Event, dice: &mut Dice) {
    if let Some(data) = event.data.take() {
        if dice.chance(500) {
            event.envelope.extend(data);
        } else {
            event.envelope = data;
        }
    }
}
