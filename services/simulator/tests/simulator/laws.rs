//! Laws of the truth: books balance, nobody is in two places, ids are unique.

use std::collections::{BTreeMap, BTreeSet};

use helix_simulator::{
    AgentState, Day, Direction, EventKind, Faults, Id, Outcome, SHORT_ABANDON_SECONDS, Scenario, Truth,
};
use proptest::prelude::*;

use crate::small;

fn books_balance(truth: &Truth) -> Result<(), TestCaseError> {
    let inbound = |outcome| truth.count(Direction::Inbound, outcome);
    let (answered, missed, short) =
        (inbound(Outcome::Answered), inbound(Outcome::Missed), inbound(Outcome::ShortAbandon));
    prop_assert_eq!(truth.offered(), answered + missed + short);
    for call in &truth.calls {
        prop_assert!(call.ended_at >= call.rang_at);
        let waited = call.ended_at - call.rang_at;
        match (call.direction, call.outcome) {
            (_, Outcome::Answered) => {
                let answered_at = call.answered_at.expect("an answered call has its moment");
                prop_assert!(call.rang_at < answered_at && answered_at < call.ended_at, "{call:?}");
                prop_assert!(!call.agents.is_empty());
                prop_assert!(call.hold <= call.ended_at - answered_at);
            }
            (Direction::Inbound, Outcome::ShortAbandon) => prop_assert!(waited <= SHORT_ABANDON_SECONDS),
            (Direction::Inbound, Outcome::Missed) => prop_assert!(waited > SHORT_ABANDON_SECONDS),
            (Direction::Outbound, Outcome::NoAnswer) => prop_assert!(call.follows.is_some()),
            odd => prop_assert!(false, "{odd:?} cannot be"),
        }
        if call.outcome != Outcome::Answered {
            prop_assert!(call.answered_at.is_none() && call.agents.is_empty());
        }
    }
    Ok(())
}

fn intervals_tile_the_day(truth: &Truth, agents: &[Id]) -> Result<(), TestCaseError> {
    let mut by_agent: BTreeMap<&Id, Vec<_>> = BTreeMap::new();
    for interval in &truth.intervals {
        prop_assert!(interval.from < interval.to);
        by_agent.entry(&interval.agent).or_default().push(interval);
    }
    for agent in agents {
        let own = by_agent.get(agent).cloned().unwrap_or_default();
        prop_assert_eq!(own.first().map(|first| first.from), Some(0));
        prop_assert_eq!(own.last().map(|last| last.to), Some(truth.ends_at));
        for pair in own.windows(2) {
            prop_assert_eq!(pair[0].to, pair[1].from, "gap or overlap of {}", agent);
        }
    }
    Ok(())
}

fn nobody_is_in_two_calls(truth: &Truth) -> Result<(), TestCaseError> {
    let mut legs: BTreeMap<&Id, Vec<(u32, u32)>> = BTreeMap::new();
    for leg in truth.calls.iter().flat_map(|call| &call.legs) {
        // Equal when the caller gives up in the very second of the offer.
        prop_assert!(leg.rang_at <= leg.left_at);
        legs.entry(&leg.agent).or_default().push((leg.rang_at, leg.left_at));
    }
    for (agent, mut own) in legs {
        own.sort_unstable();
        for pair in own.windows(2) {
            prop_assert!(pair[0].1 <= pair[1].0, "{} rings or talks twice: {:?}", agent, pair);
        }
    }
    // The same from the other side: a busy interval names its call, and that call has a leg of this agent there.
    for interval in &truth.intervals {
        let busy = matches!(interval.state, AgentState::Ringing | AgentState::OnCall);
        if !busy {
            continue;
        }
        let call = truth.calls.iter().find(|call| Some(&call.call_id) == interval.call.as_ref());
        let covered = call.is_some_and(|call| {
            call.legs
                .iter()
                .any(|leg| leg.agent == interval.agent && leg.rang_at <= interval.from && interval.to <= leg.left_at)
        });
        prop_assert!(covered, "{interval:?}");
    }
    Ok(())
}

fn every_call_begins_and_ends_once(truth: &Truth) -> Result<(), TestCaseError> {
    let mut told: BTreeMap<&Id, (u32, u32, u32)> = BTreeMap::new();
    for event in &truth.events {
        let Some(call) = &event.call else { continue };
        let counts = told.entry(call).or_default();
        match &event.kind {
            EventKind::Call { action, .. } => match action.word() {
                "Calling" => counts.0 += 1,
                "Disconnect" => counts.1 += 1,
                _ => {}
            },
            EventKind::Summary => counts.2 += 1,
            EventKind::Agent { .. } | EventKind::Noise { .. } => {}
        }
    }
    prop_assert_eq!(told.len(), truth.calls.len());
    for (call, (rings, ends, summaries)) in told {
        prop_assert!(rings >= 1 && ends == 1 && summaries == 1, "{call}: {rings} {ends} {summaries}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_truth_keeps_its_laws_for_any_seed_staff_and_load(
        seed in any::<u64>(), agents in 0_u32..12, calls_per_hour in 0_u32..240,
    ) {
        let scenario = small(seed, agents, calls_per_hour);
        let truth = Day::generate(&scenario).truth;
        let agents: Vec<Id> = scenario.agents.iter().map(|agent| Id::from(agent.id.as_str())).collect();
        books_balance(&truth)?;
        intervals_tile_the_day(&truth, &agents)?;
        nobody_is_in_two_calls(&truth)?;
        every_call_begins_and_ends_once(&truth)?;
    }

    #[test]
    fn the_same_scenario_is_the_same_bytes_and_another_seed_is_another_day(seed in any::<u64>()) {
        let mut scenario = small(seed, 5, 60);
        scenario.faults = Faults::default();
        let day = Day::generate(&scenario);
        prop_assert_eq!(&day, &Day::generate(&scenario));
        scenario.seed = seed.wrapping_add(1);
        let other = Day::generate(&scenario);
        // One delivery of two days may well be the same: two agents free in the same second.
        prop_assert!(day.deliveries != other.deliveries);
        prop_assert_ne!(&day.truth, &other.truth);
    }

    #[test]
    fn faults_change_the_telling_and_never_the_truth(seed in any::<u64>()) {
        let clean = small(seed, 6, 80);
        let faulty = Scenario { faults: Faults::default(), ..clean.clone() };
        prop_assert_eq!(Day::generate(&clean).truth, Day::generate(&faulty).truth);
    }
}

#[test]
fn call_and_leg_ids_are_unique_over_seeds_and_workspaces_and_carry_their_second() {
    let mut seen: BTreeSet<Id> = BTreeSet::new();
    for seed in 0..20 {
        for workspace in ["ramaiah", "global", "third"] {
            let scenario = Scenario { workspace: workspace.to_owned(), ..small(seed, 8, 120) };
            for call in Day::generate(&scenario).truth.calls {
                let mut own: BTreeSet<(Id, u32)> =
                    call.legs.iter().map(|leg| (leg.leg_id.clone(), leg.rang_at)).collect();
                own.insert((call.call_id.clone(), call.rang_at));
                for (id, second) in own {
                    assert!((16..=17).contains(&id.len()) && id.bytes().all(|digit| digit.is_ascii_digit()), "{id}");
                    assert!(id.contains(&scenario.unix_second(second).to_string()), "{id} at {second}");
                    assert!(seen.insert(id.clone()), "{id} twice (seed {seed}, {workspace})");
                }
            }
        }
    }
    assert!(seen.len() > 10_000);
}

#[test]
fn a_demo_day_shows_everything_a_monitor_should_show() {
    for seed in 1..=5 {
        let day = Day::generate(&Scenario::sample(seed, "ramaiah"));
        let truth = &day.truth;
        let calls = |wanted: &dyn Fn(&helix_simulator::TrueCall) -> bool| truth.calls.iter().any(wanted);
        assert!(calls(&|call| call.transferred), "no transfer (seed {seed})");
        assert!(calls(&|call| call.legs.len() >= 2 && !call.transferred), "no hunt (seed {seed})");
        assert!(calls(&|call| call.outcome == Outcome::ShortAbandon), "no short abandon (seed {seed})");
        assert!(calls(&|call| call.outcome == Outcome::Missed), "no missed call (seed {seed})");
        assert!(calls(&|call| call.outcome == Outcome::NoAnswer), "no call back in vain (seed {seed})");
        assert!(
            calls(&|call| call.follows.is_some() && call.outcome == Outcome::Answered),
            "none reached (seed {seed})"
        );
        assert!(calls(&|call| call.disposition.starts_with("Wrap up time exceeded")), "seed {seed}");
        // A hospital that copes, with some trouble.
        let answered = truth.count(Direction::Inbound, Outcome::Answered);
        let percent = 100 * answered / truth.offered();
        assert!((70..=97).contains(&percent), "{percent} % answered (seed {seed})");
        // At speed 60 two seconds of the spectator are 120 of the day.
        let early = day.deliveries.iter().filter(|delivery| delivery.at < 120_000).count();
        assert!(early >= 5, "{early} deliveries in the first two minutes (seed {seed})");
        assert!(truth.calls[0].rang_at < 120, "seed {seed}");
    }
}

#[test]
fn a_known_seed_is_the_same_day_on_every_machine() {
    let day = Day::generate(&Scenario::sample(1, "ramaiah"));
    let mut hasher = blake3::Hasher::new();
    for delivery in &day.deliveries {
        hasher.update(&delivery.at.to_be_bytes());
        hasher.update(&delivery.body);
    }
    // Changes with the generator, on purpose: then write down the new one.
    assert_eq!(hasher.finalize().to_hex().as_str(), "fd3d49c10ad222549edc3154b3df3c098c24d6cacdd3cca139684e8a7098d680");
}
