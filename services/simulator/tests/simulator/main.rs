//! The crate's one integration test binary: laws of the generated truth, of its telling, and of the player.

// The exemption for tests in clippy.toml reaches only functions marked as tests, not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::wildcard_enum_match_arm)]

mod faults;
mod laws;
mod playing;
mod telling;

use helix_simulator::{Faults, Scenario};

/// A day small enough to generate hundreds of.
pub fn small(seed: u64, agents: u32, calls_per_hour: u32) -> Scenario {
    let mut scenario = Scenario::sample(seed, "ramaiah");
    scenario.agents.truncate(agents as usize);
    scenario.hours = 2;
    scenario.calls_per_hour = calls_per_hour;
    scenario.faults = Faults::none();
    scenario
}
