//! What is posted while a board is watched, and by what each event is known again on it.
//!
//! Agents take calls in turn, a lane each: the phone rings, is answered, is hung up, the agent wraps up and is ready.
//! A lane's events are a second apart by the provider's clock, so that every one of them changes a value that no other
//! changes: an agent's `since`, or the progress of a call with an id of its own. A board shows whole values: one that
//! stands for a later event of its path shows the earlier ones too, as a frame does that was cut from several facts.

use std::collections::{HashMap, VecDeque};

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use helix_fold::{
    board::{
        document::{AGENTS, CALLS},
        visible::{Change, Op},
    },
    settings::Tz,
};
use helix_kit::config::Config;
use serde::Deserialize;

use crate::{connection::post, events};

/// Events of a lane before it begins again.
const TURN: u64 = 7;

/// Lanes over a benchmark's whole time: what was posted once is never posted again.
#[derive(Debug)]
pub(super) struct Lanes {
    key: String,
    zone: Tz,
    agents: Vec<String>,
    did: String,
    begun: DateTime<Utc>,
    next: u64,
}

/// A change to look for on the board: this path, at least this far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    path: String,
    rank: i64,
}

/// The events of one run.
#[derive(Debug)]
pub(super) struct Events {
    pub(super) requests: Vec<Vec<u8>>,
    pub(super) awaited: Awaited,
}

/// The events of a run that the board has not shown yet, by path, in the order of their ranks.
#[derive(Debug, Default)]
pub(super) struct Awaited(HashMap<String, VecDeque<(i64, u64)>>);

#[derive(Deserialize)]
struct AgentValue {
    since: DateTime<Utc>,
}

#[derive(Deserialize)]
struct CallValue {
    state: Progress,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Progress {
    Ringing,
    OnCall,
}

const RINGING: i64 = 1;
const ON_CALL: i64 = 2;
const GONE: i64 = 3;

impl Lanes {
    /// Lanes of a workspace whose agents [`events::registrations`] made known.
    pub(super) fn new(config: &Config, slug: &str) -> Result<Self> {
        let account = config.accounts.values().next().context("there is no account in the configuration")?;
        let workspace = config.workspaces.get(slug).with_context(|| format!("there is no workspace {slug}"))?;
        Ok(Self {
            key: account.key.reveal().to_owned(),
            zone: account.zone.parse().context("the account's zone")?,
            agents: events::agents(slug).into_iter().map(|agent| agent.id).collect(),
            did: workspace.dids.first().context("the workspace has no number")?.clone(),
            // The lanes' time runs faster than ours where the rate is high, and must stay behind it.
            begun: Utc::now() - TimeDelta::hours(6),
            next: 0,
        })
    }

    /// The next events.
    pub(super) fn take(&mut self, count: u64) -> Result<Events> {
        let mut requests = Vec::new();
        let mut awaited = Awaited::default();
        for index in 0..count {
            let (request, mark) = self.event(self.next)?;
            self.next += 1;
            requests.push(request);
            awaited.0.entry(mark.path).or_default().push_back((mark.rank, index));
        }
        Ok(Events { requests, awaited })
    }

    fn event(&self, number: u64) -> Result<(Vec<u8>, Mark)> {
        let lanes = self.agents.len() as u64;
        let (lane, step) = (number % lanes, number / lanes);
        let agent = self.agents.get(usize::try_from(lane)?).context("there are no agents")?;
        let at = self.begun + TimeDelta::seconds(i64::try_from(step)?);
        let call = format!("{}{:04}{:05}", self.begun.timestamp(), lane, step / TURN);
        Ok(match step % TURN {
            0 => self.agent(agent, "calling", at),
            1 => self.call(agent, &call, ("Calling", RINGING), at),
            2 => self.agent(agent, "incall", at),
            3 => self.call(agent, &call, ("Answered", ON_CALL), at),
            4 => self.call(agent, &call, ("Disconnect", GONE), at),
            5 => self.agent(agent, "ACW", at),
            _ => self.agent(agent, "ready", at),
        })
    }

    fn stamp(&self, at: DateTime<Utc>) -> String {
        at.with_timezone(&self.zone).format("%Y-%m-%d %H:%M:%S").to_string()
    }

    fn agent(&self, agent: &str, action: &str, at: DateTime<Utc>) -> (Vec<u8>, Mark) {
        let stamp = self.stamp(at);
        let body = serde_json::json!({
            "eventType": "Agent", "eventTime": stamp, "username": "bench",
            "data": {
                "action": action, "agentUniqeId": 100_001, "agentId": agent, "agentMode": "INBOUND", "eventTime": stamp,
            },
        });
        let mark = Mark { path: format!("{AGENTS}{agent}"), rank: at.timestamp() };
        (self.post("/api/supervisor/agent-event", &body), mark)
    }

    fn call(&self, agent: &str, call: &str, (action, rank): (&str, i64), at: DateTime<Utc>) -> (Vec<u8>, Mark) {
        let stamp = self.stamp(at);
        let body = serde_json::json!({
            "eventType": "Call", "eventTime": stamp, "username": "bench",
            "data": {
                "action": action, "call_type": "Inbound", "ucid": call, "monitor_ucid": call, "agent_id": agent,
                "skill": "General", "caller_id": "9000000001", "did": self.did, "agent_number": "9000000002",
                "event_time": stamp,
            },
        });
        (self.post("/api/supervisor/call-event", &body), Mark { path: format!("{CALLS}{call}"), rank })
    }

    fn post(&self, path: &str, body: &serde_json::Value) -> Vec<u8> {
        post(path, &self.key, "application/json", body.to_string().as_bytes())
    }
}

impl Awaited {
    /// Whether the board has shown all.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many it has not shown.
    pub(super) fn len(&self) -> usize {
        self.0.values().map(VecDeque::len).sum()
    }

    /// Takes a change of the board and gives the events that it shows.
    pub(super) fn shown(&mut self, change: &Change) -> Result<Vec<u64>> {
        let Some(waiting) = self.0.get_mut(&change.path) else { return Ok(Vec::new()) };
        let rank = rank(change).with_context(|| format!("what the board says of {}", change.path))?;
        let shown = waiting.iter().take_while(|(wanted, _)| *wanted <= rank).count();
        let indices = waiting.drain(..shown).map(|(_, index)| index).collect();
        if waiting.is_empty() {
            self.0.remove(&change.path);
        }
        Ok(indices)
    }
}

/// How far the path has come with this change.
fn rank(change: &Change) -> Result<i64> {
    if change.op == Op::Remove {
        return Ok(GONE);
    }
    let json = change.json().context("no value")?;
    if change.path.starts_with(AGENTS) {
        return Ok(serde_json::from_str::<AgentValue>(json)?.since.timestamp());
    }
    Ok(match serde_json::from_str::<CallValue>(json)?.state {
        Progress::Ringing => RINGING,
        Progress::OnCall => ON_CALL,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn set(path: &str, json: &str) -> Result<Change> {
        Ok(Change::set(path, RawValue::from_string(json.to_owned())?))
    }

    #[test]
    fn an_event_is_shown_by_its_own_change_or_a_later_one_of_its_path_and_by_no_earlier_one() -> Result<()> {
        let mut awaited = Awaited::default();
        awaited.0.insert("agents/a".to_owned(), [(100, 0), (101, 1), (105, 2)].into());
        awaited.0.insert("calls/1".to_owned(), [(RINGING, 3), (ON_CALL, 4), (GONE, 5)].into());
        let agent = |second: i64| {
            let since = DateTime::from_timestamp(second, 0).map(|at| at.to_rfc3339()).unwrap_or_default();
            set("agents/a", &format!(r#"{{"since":"{since}"}}"#))
        };
        assert!(awaited.shown(&agent(99)?)?.is_empty());
        assert_eq!(awaited.shown(&agent(101)?)?, [0, 1]);
        assert_eq!(awaited.shown(&set("calls/1", r#"{"state":"ringing"}"#)?)?, [3]);
        assert!(awaited.shown(&set("calls/2", r#"{"state":"ringing"}"#)?)?.is_empty());
        assert_eq!(awaited.len(), 3);
        assert_eq!(awaited.shown(&Change::remove("calls/1"))?, [4, 5]);
        assert_eq!(awaited.shown(&agent(106)?)?, [2]);
        assert!(awaited.is_empty());
        Ok(())
    }
}
