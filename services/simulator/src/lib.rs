//! A hospital's call-centre day as Ozonetel would deliver it, and a player that posts it in fast motion.
//!
//! Two halves that meet only in [`Delivery`]:
//!
//! - **generation** ([`Day::generate`]) is pure: a [`Scenario`] in, deliveries and [`Truth`] out. No I/O, no clock, no
//!   floats, no hash order. The same scenario is the same bytes on any machine, so a failing property test replays
//!   from its seed, and what a projection found can be compared with what really happened.
//! - **playing** ([`run`]) owns the clock and the network: it posts deliveries through the real HTTP ingest at a chosen
//!   speed, retries what the ingest could not take, and counts every answer.
//!
//! The order of making: `demand` says who rings when, `roster` who is at work when, `floor` plays the two against each
//! other second by second (the truth), `faults` decides how the provider garbles the telling, `wire` writes the bytes.
//! Beside them `calendar` says which day to play. Faults never touch the truth: the same seed with other fault rates is the same day, told otherwise.

mod calendar;
mod day;
mod demand;
mod dice;
mod faults;
mod floor;
mod player;

mod roster;
mod scenario;
mod truth;
mod wire;

pub use calendar::unseen_day;
pub use day::{Day, Delivery, Endpoint};
pub use faults::FaultKind;
pub use player::{
    LatencySummary, Options, Played, SimulateError, Summary, TruthTotals, WorkspaceTarget, run, run_until,
};
pub use scenario::{AgentProfile, Faults, Scenario, Second, Skill, WebhookStyle};
pub use truth::{
    AgentAction, AgentInterval, AgentMode, AgentState, CallAction, Direction, EventKind, HangupBy, Id, Outcome,
    SHORT_ABANDON_SECONDS, TrueCall, TrueEvent, TrueLeg, Truth,
};
