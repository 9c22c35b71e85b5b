//! What to play, where to, how fast. Plain values: flags and environment are the binary's business.

use std::time::Duration;

use chrono::NaiveDateTime;

use crate::scenario::{AgentProfile, Faults, Scenario, Skill, WebhookStyle};

use super::SimulateError;

/// One workspace to play a day for.
#[derive(Debug, Clone)]
pub struct WorkspaceTarget {
    /// Slug.
    pub slug: String,
    /// CloudAgent account name in the bodies.
    pub username: String,
    /// `Apikey` in callbacks; need not be real, the webhook key authenticates.
    pub api_key: String,
    /// The workspace's secret for its callbacks.
    pub webhook_key: String,
    /// The sidecar's secret for the directory. With it agents and DIDs are registered before the day begins.
    pub register_key: Option<String>,
    /// The sidecar's base URL, as it is to stand in the directory; needed with `register_key`.
    pub sidecar_url: String,
    /// Login ids to use first; more are made up when [`Options::agents`] asks for more.
    pub agents: Vec<String>,
    /// Numbers that are rung.
    pub dids: Vec<String>,
}

impl WorkspaceTarget {
    /// Workspace `ramaiah` of the demo directory.
    pub fn demo_ramaiah(webhook_key: &str) -> Self {
        Self::demo("ramaiah", webhook_key, &["ramaiahadmin", "agent.one", "agent.two"], "918041763400", 4100)
    }

    /// Workspace `global` of the demo directory.
    pub fn demo_global(webhook_key: &str) -> Self {
        Self::demo("global", webhook_key, &["globaladmin", "rekha.cc", "ganesh.cc"], "918041763265", 4101)
    }

    fn demo(slug: &str, webhook_key: &str, agents: &[&str], did: &str, sidecar_port: u16) -> Self {
        Self {
            slug: slug.to_owned(),
            username: slug.to_owned(),
            api_key: "KK_SIMULATED_NOT_A_REAL_KEY".to_owned(),
            webhook_key: webhook_key.to_owned(),
            register_key: None,
            sidecar_url: format!("http://127.0.0.1:{sidecar_port}"),
            agents: agents.iter().map(|agent| (*agent).to_owned()).collect(),
            dids: vec![did.to_owned()],
        }
    }

    /// The first `count` agents: the named ones, then `sim.<workspace>.<nn>`.
    pub fn profiles(&self, count: usize) -> Vec<AgentProfile> {
        let made_up = (self.agents.len()..count).map(|n| format!("sim.{}.{:02}", self.slug, n + 1));
        let ids = self.agents.iter().cloned().chain(made_up).take(count);
        // Unique within an account, like the provider's.
        (0..).zip(ids).map(|(position, id)| AgentProfile::from_id(&id, position)).collect()
    }
}

/// A run of the player.
#[derive(Debug, Clone)]
pub struct Options {
    /// Base URL of the ingest.
    pub ingest_url: String,
    /// The account's secret for provider events.
    pub ingest_key: String,
    /// Who gets a day; at least one. Each has its own, from the same seed.
    pub workspaces: Vec<WorkspaceTarget>,
    /// The seed.
    pub seed: u64,
    /// Agents per workspace.
    pub agents: usize,
    /// First-time calls an hour per workspace.
    pub calls_per_hour: u32,
    /// Length of the day.
    pub hours: u32,
    /// Simulated seconds in a second; 0 is as fast as possible.
    pub speed: u32,
    /// Local (IST) time at which the day begins; 08:00 of today when not given.
    pub start: Option<NaiveDateTime>,
    /// The provider's failings.
    pub faults: Faults,
    /// How callbacks are posted.
    pub webhook_style: WebhookStyle,
    /// Requests in flight per workspace. 1 keeps a workspace's order; above, each agent's (or call's) order is kept.
    pub concurrency: usize,
    /// Print the summary as JSON to stdout instead of text to stderr.
    pub json: bool,
    /// Without any summary or progress line: for tests and callers who use the returned summary.
    pub quiet: bool,
    /// How long an ingest that was never reached is tried.
    pub connect_patience: Duration,
    /// How long an ingest that was reached before is tried again.
    pub reconnect_patience: Duration,
}

impl Options {
    /// A demo that is pleasant to watch: 12 agents, 90 calls an hour, a ten-hour day in ten minutes.
    pub fn demo(ingest_url: &str, ingest_key: &str, workspaces: Vec<WorkspaceTarget>) -> Self {
        Self {
            ingest_url: ingest_url.to_owned(),
            ingest_key: ingest_key.to_owned(),
            workspaces,
            seed: 1,
            agents: 12,
            calls_per_hour: 90,
            hours: 10,
            speed: 60,
            start: None,
            faults: Faults::default(),
            webhook_style: WebhookStyle::default(),
            concurrency: 1,
            json: false,
            quiet: false,
            connect_patience: Duration::from_secs(10),
            reconnect_patience: Duration::from_secs(120),
        }
    }

    pub(super) fn check(&self) -> Result<(), SimulateError> {
        let usage = |what: &str| Err(SimulateError::Usage(what.to_owned()));
        match reqwest::Url::parse(&self.ingest_url) {
            Ok(url) if url.scheme() == "http" => {}
            Ok(_) => return usage("the ingest's URL must begin with http://"),
            Err(_) => return usage("the ingest's URL cannot be read"),
        }
        if self.workspaces.is_empty() {
            return usage("no workspace to play for");
        }
        if self.concurrency == 0 {
            return usage("concurrency must be at least 1");
        }
        if !(1..=24).contains(&self.hours) {
            return usage("a day has 1 to 24 hours");
        }
        // Keeps a day in memory: a peak second of this many calls has thousands of deliveries.
        if self.calls_per_hour > 200_000 || self.agents > 100_000 {
            return usage("at most 200000 calls an hour and 100000 agents");
        }
        Ok(())
    }

    /// The day of one workspace.
    pub fn scenario(&self, target: &WorkspaceTarget, start: NaiveDateTime) -> Scenario {
        Scenario {
            seed: self.seed,
            workspace: target.slug.clone(),
            username: target.username.clone(),
            api_key: target.api_key.clone(),
            agents: target.profiles(self.agents),
            dids: target.dids.clone(),
            skills: Skill::hospital(),
            start,
            hours: self.hours,
            calls_per_hour: self.calls_per_hour,
            faults: self.faults.clone(),
            webhook_style: self.webhook_style,
        }
    }
}
