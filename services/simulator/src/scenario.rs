//! What to generate: one workspace, its people and numbers, the day, and how badly the provider behaves.
//!
//! A scenario is plain data and says everything: two equal scenarios give equal bytes.

use chrono::{NaiveDate, NaiveDateTime, TimeDelta};

/// Seconds since the scenario's start. The provider's clock has no finer grain (ozonetel.md, section 5).
pub type Second = u32;

/// India Standard Time is 5 h 30 min ahead of UTC all year.
const IST_SECONDS: i64 = 19_800;

/// An agent as the provider knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentProfile {
    /// Login id, unique within the account (`agentId`).
    pub id: String,
    /// Display name; two agents may share one.
    pub name: String,
    /// The number given at creation (`agentUniqeId` in agent events, `AgentUniqueID` in callbacks).
    pub unique_id: u32,
    /// Extension or phone (`agent_number`, `AgentPhoneNumber`).
    pub phone: String,
}

impl AgentProfile {
    /// A profile for a login id: a name made from the id, unique id and extension from its position.
    pub fn from_id(id: &str, position: u32) -> Self {
        let name = id
            .split(['.', '_', '@', '-'])
            .filter(|part| !part.is_empty())
            .map(|part| {
                let mut letters = part.chars();
                letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
            })
            .collect::<Vec<String>>()
            .join(" ");
        Self { id: id.to_owned(), name, unique_id: 100_001 + position, phone: (500_501 + position).to_string() }
    }
}

/// A queue of the hospital.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skill {
    /// As it appears in the provider's bodies.
    pub name: String,
    /// Its share of the calls, relative to the other skills.
    pub weight: u32,
    /// Its callers go to the front of the line.
    pub urgent: bool,
}

impl Skill {
    /// A skill with its share.
    pub fn new(name: &str, weight: u32, urgent: bool) -> Self {
        Self { name: name.to_owned(), weight, urgent }
    }

    /// What a hospital has: OPD, Appointments, Emergency, Billing, Lab.
    pub fn hospital() -> Vec<Self> {
        vec![
            Self::new("OPD", 30, false),
            Self::new("Appointments", 30, false),
            Self::new("Emergency", 8, true),
            Self::new("Billing", 17, false),
            Self::new("Lab", 15, false),
        ]
    }
}

/// How the campaign callback is posted (ozonetel.md, section 3.1: all three were seen by integrators).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum WebhookStyle {
    /// Form with one field `data` that holds a JSON object: the documented way.
    #[default]
    Form,
    /// Form with one field `data` that holds a JSON array of one object.
    FormArray,
    /// A JSON body.
    Json,
}

/// How often the provider misbehaves, in cases of 1000. Each kind is drawn for itself; none changes what truly happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// A delivery comes again within 30 s, the same bytes.
    pub exact_repeat: u16,
    /// A delivery comes again minutes later with a new envelope time (only events have an envelope).
    pub restamped_repeat: u16,
    /// A delivery comes 1 to 10 minutes late.
    pub late: u16,
    /// A delivery changes places with the next one of the same agent or call.
    pub swapped: u16,
    /// A callback never comes.
    pub lost_callback: u16,
    /// A Disconnect never comes.
    pub lost_disconnect: u16,
    /// Neither Disconnect nor callback comes: a ghost call that only other evidence can end. Drawn per call.
    pub ghost_call: u16,
    /// An agent leaves without the logout ever being told.
    pub lost_logout: u16,
    /// The action is written in other letter case.
    pub mixed_case: u16,
    /// An event with an action that nobody documented comes before this one.
    pub unknown_action: u16,
    /// Empty values come as `"None"`, `null`, `"0"` or not at all.
    pub blank_variants: u16,
    /// Names and comments of a callback come in Hindi.
    pub hindi: u16,
    /// Neighbouring events come together as a JSON array.
    pub batch: u16,
}

impl Faults {
    /// A provider that never fails.
    pub const fn none() -> Self {
        Self {
            exact_repeat: 0,
            restamped_repeat: 0,
            late: 0,
            swapped: 0,
            lost_callback: 0,
            lost_disconnect: 0,
            ghost_call: 0,
            lost_logout: 0,
            mixed_case: 0,
            unknown_action: 0,
            blank_variants: 0,
            hindi: 0,
            batch: 0,
        }
    }
}

impl Default for Faults {
    /// Small but visible: a few of each kind in a demo day.
    fn default() -> Self {
        Self {
            exact_repeat: 10,
            restamped_repeat: 5,
            late: 5,
            swapped: 5,
            lost_callback: 10,
            lost_disconnect: 5,
            ghost_call: 3,
            lost_logout: 80,
            mixed_case: 20,
            unknown_action: 1,
            blank_variants: 30,
            hindi: 50,
            batch: 5,
        }
    }
}

/// One workspace's day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    /// Everything random follows from this and the workspace.
    pub seed: u64,
    /// The workspace's slug.
    pub workspace: String,
    /// The CloudAgent account (`username`, `UserName`).
    pub username: String,
    /// The account's `Apikey`, as the provider puts it into callbacks.
    pub api_key: String,
    /// Who works that day. May be empty: then every call is missed.
    pub agents: Vec<AgentProfile>,
    /// Numbers that are rung. With none, nobody rings.
    pub dids: Vec<String>,
    /// Queues. With none, calls have no skill.
    pub skills: Vec<Skill>,
    /// When the lines open: local time (IST), whole seconds.
    pub start: NaiveDateTime,
    /// For how many hours they are open. What began by then is played to its end.
    pub hours: u32,
    /// First-time inbound calls an hour, averaged over the day; callers who ring again come on top.
    pub calls_per_hour: u32,
    /// The provider's failings.
    pub faults: Faults,
    /// How callbacks are posted.
    pub webhook_style: WebhookStyle,
}

impl Scenario {
    /// A quiet day to start from: twelve agents, ninety calls an hour, ten hours from 08:00, default faults.
    pub fn sample(seed: u64, workspace: &str) -> Self {
        let agents = (0..12).map(|n| AgentProfile::from_id(&format!("sim.{workspace}.{n:02}"), n)).collect();
        Self {
            seed,
            workspace: workspace.to_owned(),
            username: format!("{workspace}_account"),
            api_key: "KK_SIMULATED_NOT_A_REAL_KEY".to_owned(),
            agents,
            dids: vec!["918040000001".to_owned()],
            skills: Skill::hospital(),
            start: NaiveDate::from_ymd_opt(2026, 3, 24).and_then(|day| day.and_hms_opt(8, 0, 0)).unwrap_or_default(),
            hours: 10,
            calls_per_hour: 90,
            faults: Faults::default(),
            webhook_style: WebhookStyle::default(),
        }
    }

    /// When the lines close, in seconds since the start.
    pub fn closes_at(&self) -> Second {
        self.hours.saturating_mul(3600)
    }

    /// The local (IST) time of a second of this day.
    pub fn local(&self, second: Second) -> NaiveDateTime {
        self.start + TimeDelta::seconds(i64::from(second))
    }

    /// A second of this day as the provider writes it: naive IST, `YYYY-MM-DD HH:MM:SS`.
    pub fn stamp(&self, second: Second) -> String {
        self.local(second).format("%Y-%m-%d %H:%M:%S").to_string()
    }

    /// A second of this day in Unix time.
    pub fn unix_second(&self, second: Second) -> i64 {
        self.local(second).and_utc().timestamp() - IST_SECONDS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_naive_time_is_india_time() {
        let scenario = Scenario::sample(1, "ramaiah");
        assert_eq!(scenario.stamp(61), "2026-03-24 08:01:01");
        // 2026-03-24T02:30:00Z
        assert_eq!(scenario.unix_second(0), 1_774_319_400);
    }

    #[test]
    fn a_login_id_becomes_a_name_a_person_can_read() {
        let profile = AgentProfile::from_id("rekha.cc", 1);
        assert_eq!((profile.name.as_str(), profile.unique_id, profile.phone.as_str()), ("Rekha Cc", 100_002, "500502"));
    }
}
