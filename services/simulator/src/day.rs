//! A day: the truth and its telling.

use std::collections::{BTreeMap, BTreeSet};

use crate::dice::Dice;
use crate::faults::{self, Draft, FaultKind};
use crate::floor;
use crate::scenario::Scenario;
use crate::truth::{TrueEvent, Truth};
use crate::wire;

/// Where a delivery goes. The two event paths take either kind, as the contract says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Endpoint {
    /// `/api/supervisor/agent-event`
    AgentEvent,
    /// `/api/supervisor/call-event`
    CallEvent,
    /// `/workspaces/{workspace}/webhooks/ozonetel/missed-call`
    Callback,
}

impl Endpoint {
    /// The path at the ingest.
    pub fn path(self, workspace: &str) -> String {
        match self {
            Self::AgentEvent => "/api/supervisor/agent-event".to_owned(),
            Self::CallEvent => "/api/supervisor/call-event".to_owned(),
            Self::Callback => format!("/workspaces/{workspace}/webhooks/ozonetel/missed-call"),
        }
    }
}

/// One HTTP request of the provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// When it is sent: simulated milliseconds since the scenario's start.
    pub at: u64,
    /// What it tells: one event, or several in a batch.
    pub events: Vec<TrueEvent>,
    /// What is wrong with it, if anything.
    pub faults: Vec<FaultKind>,
    /// Always `POST`.
    pub method: &'static str,
    /// Where to.
    pub endpoint: Endpoint,
    /// The `Content-Type` header.
    pub content_type: &'static str,
    /// The body.
    pub body: Vec<u8>,
}

/// A generated day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Every request in the order it is sent.
    pub deliveries: Vec<Delivery>,
    /// What really happened.
    pub truth: Truth,
    /// Numbers ([`TrueEvent::seq`]) of events that are never told.
    pub withheld: BTreeSet<u64>,
    /// How often each fault struck; a lost delivery counts too.
    pub faults: BTreeMap<FaultKind, u64>,
}

impl Day {
    /// Generates the day. The same scenario gives the same bytes, always.
    pub fn generate(scenario: &Scenario) -> Self {
        let truth = floor::play(scenario);
        let told = faults::strike(scenario, &truth, faithful(scenario, &truth));
        let deliveries = told.drafts.into_iter().map(|draft| wire::render(scenario, &truth, draft)).collect();
        Self { deliveries, truth, withheld: told.withheld, faults: told.counts }
    }
}

/// The telling of a provider that never fails: each event in the second it happened, in the true order.
fn faithful(scenario: &Scenario, truth: &Truth) -> Vec<Draft> {
    let mut dice = Dice::new(scenario.seed, &scenario.workspace, "telling");
    let mut last = 0;
    truth
        .events
        .iter()
        .map(|event| {
            last = last.max(u64::from(event.occurred_at) * 1000 + u64::from(dice.below(500)));
            Draft::new(last, event.clone())
        })
        .collect()
}
