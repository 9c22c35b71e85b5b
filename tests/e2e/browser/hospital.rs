//! What the provider tells of a hospital's day: events of agents and calls of global, with times of its local day.

use anyhow::{Result, ensure};
use helix_tests::stack::{Stack, answer};
use serde_json::{Value, json};

use crate::Outcome;

/// A day of global.
pub(super) struct Day<'a> {
    pub(super) stack: &'a Stack,
    /// As `2026-04-02`. The tests' days follow each other: the board's day never goes back.
    pub(super) date: &'static str,
}

/// A call.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) id: &'static str,
    pub(super) agent: &'static str,
    pub(super) caller: &'static str,
    /// The provider's word: `Inbound`, or `Manual` for one that an agent dials.
    pub(super) kind: &'static str,
}

impl Day<'_> {
    /// Makes agents known to the directory.
    pub(super) async fn register(&self, agents: &[&str]) -> Outcome {
        let url = self.stack.env("HELIX_INGEST_URL");
        let request = self.stack.http.post(format!("{url}/api/supervisor/register"));
        let request = request.header("x-helix-key", self.stack.env("HELIX_REGISTER_KEY_GLOBAL"));
        let body = json!({"workspace": "global", "agents": agents, "dids": []});
        let (status, said) = answer(request.body(body.to_string())).await?;
        ensure!(status == 200, "{status} {said}");
        Ok(())
    }

    async fn tell(&self, kind: &str, at: &str, data: Value) -> Result<Value> {
        let event = json!({"eventType": kind, "eventTime": at, "username": "demo_user", "data": data}).to_string();
        let key = self.stack.env("HELIX_INGEST_KEY");
        let (status, said) = self.stack.post("/api/supervisor/call-event", key, "application/json", event).await?;
        ensure!(status == 202 && said["results"][0]["status"] == "stored", "{status} {said}");
        Ok(said)
    }

    /// An agent's event at a time of the day, as `09:00:00`; the ingest's answer.
    pub(super) async fn agent(&self, agent: &str, action: &str, time: &str) -> Result<Value> {
        let at = format!("{} {time}", self.date);
        let data = json!({"action": action, "agentUniqeId": 100_007, "agentId": agent, "agentMode": "INBOUND",
            "eventTime": at});
        self.tell("Agent", &at, data).await
    }

    /// A call's event.
    pub(super) async fn call(&self, call: Call, action: &str, time: &str) -> Result<Value> {
        let at = format!("{} {time}", self.date);
        let data = json!({"action": action, "call_type": call.kind, "ucid": call.id, "monitor_ucid": call.id,
            "agent_id": call.agent, "skill": "OPD", "caller_id": call.caller, "did": "918041763265",
            "agent_number": "500507", "event_time": at});
        self.tell("Call", &at, data).await
    }

    /// An agent signs in and is ready a second later.
    pub(super) async fn ready(&self, agent: &str, minute: &str) -> Outcome {
        self.agent(agent, "login", &format!("{minute}:00")).await?;
        self.agent(agent, "release", &format!("{minute}:01")).await?;
        Ok(())
    }

    /// A call rings and is answered ten seconds later.
    pub(super) async fn answered(&self, call: Call, minute: &str) -> Result<Value> {
        self.call(call, "Calling", &format!("{minute}:00")).await?;
        self.agent(call.agent, "calling", &format!("{minute}:00")).await?;
        self.call(call, "Answered", &format!("{minute}:10")).await?;
        self.agent(call.agent, "incall", &format!("{minute}:10")).await
    }

    /// A call rings for forty seconds; nobody answers it.
    pub(super) async fn missed(&self, call: Call, minute: &str) -> Result<Value> {
        self.call(call, "Calling", &format!("{minute}:00")).await?;
        self.call(call, "Disconnect", &format!("{minute}:40")).await
    }
}
