//! Facts, as the ingest writes them.

use helix_schemas::{
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, ChainedAgent, Direction, Fact, OccurredAtFrom, Source,
    },
    id::NaturalKey,
    names::{AgentId, CallId, LegId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};

use crate::dice::Dice;

const SKILLS: [&str; 4] = ["General", "Cardiology", "Billing", "Emergency"];
const DISPOSITIONS: [&str; 4] = ["Appointment", "Enquiry", "Follow up", "Wrap up time exceeded :120"];

pub(crate) struct Maker {
    workspace: WorkspaceId,
}

impl Maker {
    pub(crate) const fn new(workspace: WorkspaceId) -> Self {
        Self { workspace }
    }

    pub(crate) fn agent(&self, number: u32) -> AgentId {
        #[allow(clippy::expect_used)] // Letters, a dot and digits.
        AgentId::new(&format!("agent.{number:05}")).expect("an agent id")
    }

    pub(crate) fn call(&self, number: u64) -> CallId {
        #[allow(clippy::expect_used)] // Digits.
        CallId::new(&format!("90621{number:012}")).expect("a call id")
    }

    pub(crate) fn party(&self, direction: Direction, caller: &str, dice: &mut Dice) -> CallParty {
        let skill = SKILLS.get(usize::try_from(dice.below(4)).unwrap_or(0)).copied().unwrap_or("General");
        CallParty {
            direction: Some(direction),
            call_type: Some(if direction == Direction::Inbound { "Inbound" } else { "Manual" }.to_owned()),
            caller: Some(caller.to_owned()),
            did: Some("918041763400".to_owned()),
            skill: Some(skill.to_owned()),
            ..CallParty::default()
        }
    }

    fn fact(&self, agent: Option<&AgentId>, call: Option<&CallId>, at: i64, body: Body, salt: &str) -> Fact {
        let id = NaturalKey::new("ozonetel", "demo_user", body.kind().as_str())
            .field(self.workspace.as_str())
            .field(agent.map_or("", |agent| agent.as_str()))
            .field(call.map_or("", |call| call.as_str()))
            .field(&at.to_string())
            .field(salt)
            .id();
        // Of the length that a provider's body has: it travels with every fact.
        let raw = format!(
            r#"{{"eventType":"{}","eventTime":"{at}","username":"demo_user","data":{{"action":"{salt}","agentId":"{}","monitor_ucid":"{}","skill":"General","caller_id":"REMOVED","did":"918041763400","event_time":"{at}"}}}}"#,
            body.kind().as_str(),
            agent.map_or("", |agent| agent.as_str()),
            call.map_or("", |call| call.as_str()),
        );
        Fact {
            id,
            workspace: self.workspace.clone(),
            agent: agent.cloned(),
            call: call.cloned(),
            leg: call.and_then(|call| LegId::new(call.as_str()).ok()),
            provider: "ozonetel".to_owned(),
            kind: body.kind(),
            occurred_at: OccurredAt::from_millis(at * 1000),
            occurred_at_from: OccurredAtFrom::Event,
            received_at: ReceivedAt::from_micros(at * 1_000_000),
            raw: raw.into_bytes(),
            raw_content_type: "application/json".to_owned(),
            source: Source::default(),
            normaliser: 1,
            body,
        }
    }

    pub(crate) fn state(&self, agent: &AgentId, at: i64, state: AgentState, reason: Option<&str>) -> Fact {
        let body = Body::AgentStateChanged(AgentStateChanged {
            action: state.as_str().to_owned(),
            state: AgentStateWord(state),
            reason: reason.map(str::to_owned),
            mode: Some("Inbound".to_owned()),
            agent_name: Some(format!("Name of {agent}")),
            agent_unique_id: None,
        });
        self.fact(Some(agent), None, at, body, state.as_str())
    }

    pub(crate) fn rang(&self, agent: Option<&AgentId>, call: &CallId, at: i64, party: CallParty) -> Fact {
        self.fact(agent, Some(call), at, Body::CallRang(CallRang { party }), "Calling")
    }

    pub(crate) fn answered(&self, agent: Option<&AgentId>, call: &CallId, at: i64, party: CallParty) -> Fact {
        self.fact(agent, Some(call), at, Body::CallAnswered(CallAnswered { party }), "Answered")
    }

    pub(crate) fn ended(&self, agent: Option<&AgentId>, call: &CallId, at: i64, ended: CallEnded) -> Fact {
        self.fact(agent, Some(call), at, Body::CallEnded(ended), "Disconnect")
    }

    /// The callback of a call that began, was answered and ended at these times, Unix seconds.
    pub(crate) fn summarised(
        &self,
        chain: &[AgentId],
        call: &CallId,
        (began, answered, ended): (i64, Option<i64>, i64),
        party: CallParty,
        dice: &mut Dice,
    ) -> Fact {
        let at = |second: i64| OccurredAt::from_millis(second * 1000);
        let seconds = |from: i64, until: i64| i32::try_from(until - from).ok();
        let disposition = DISPOSITIONS.get(usize::try_from(dice.below(4)).unwrap_or(0)).copied();
        let summary = CallSummarised {
            party,
            answered: Some(answered.is_some()),
            status: Some(if answered.is_some() { "Answered" } else { "NotAnswered" }.to_owned()),
            started_at: Some(at(began)),
            answered_at: answered.map(at),
            ended_at: Some(at(ended)),
            call_seconds: seconds(began, ended),
            talk_seconds: answered.and_then(|answered| seconds(answered, ended)),
            hold_seconds: Some(0),
            agents: chain
                .iter()
                .map(|agent| ChainedAgent { agent: Some(agent.clone()), ..ChainedAgent::default() })
                .collect(),
            disposition: answered.and(disposition).map(str::to_owned),
            recording_url: answered.map(|_| format!("http://recordings.example.invalid/{call}.mp3")),
            ..CallSummarised::default()
        };
        self.fact(chain.last(), Some(call), ended, Body::CallSummarised(Box::new(summary)), "callback")
    }
}
