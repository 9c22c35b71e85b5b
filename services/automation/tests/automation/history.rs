//! Laws over random histories. The oracle knows all facts at once and shares no code with the rules.

use std::collections::{BTreeMap, BTreeSet};

use chrono::TimeZone as _;
use helix_automation::Bounds;
use helix_schemas::{
    decision::Decision,
    fact::{AgentState, Body, Fact},
    id::FactId,
};
use proptest::prelude::*;
use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;

use crate::{
    machine::{Machine, Made},
    story::{START, Story, at, ours},
};

const AGENTS: [&str; 3] = ["agent.one", "agent.two", "agent.three"];

/// A fact, and the second at which it reached us.
#[derive(Clone)]
pub struct Delivery {
    pub fact: Fact,
    pub second: i64,
}

/// A day and a half of three agents and their calls, in the order of arrival.
pub fn history(random: &mut ChaCha8Rng) -> Vec<Delivery> {
    let story = Story::of("w");
    let mut facts: Vec<Fact> = Vec::new();
    let mut calls = 0;
    for agent in AGENTS {
        let mut second = random.random_range(0..40_000);
        while second < 130_000 {
            match random.random_range(0..10) {
                0..4 => {
                    let states = [AgentState::Ready, AgentState::Paused, AgentState::WrapUp, AgentState::Offline];
                    facts.push(story.state(agent, second, states[random.random_range(0..states.len())]));
                }
                4..7 => {
                    calls += 1;
                    second = call(random, &story, &mut facts, agent, &format!("c{calls}"), second);
                }
                _ => {
                    facts.push(story.state(agent, second, AgentState::OnCall));
                    facts.push(story.state(agent, second + random.random_range(1..90), AgentState::WrapUp));
                    second += 90;
                }
            }
            second += pause(random);
        }
    }
    for waiting in 0..3 {
        facts.push(story.rang(&format!("queue{waiting}"), None, random.random_range(0..130_000)));
    }
    facts.sort_by_key(|fact| (fact.occurred_at, fact.id));
    facts.dedup_by_key(|fact| fact.id);
    facts.into_iter().map(|fact| Delivery { second: (fact.occurred_at.millis() - START) / 1000, fact }).collect()
}

/// Mostly moments, sometimes hours.
fn pause(random: &mut ChaCha8Rng) -> i64 {
    match random.random_range(0..10) {
        0..5 => random.random_range(1..60),
        5..8 => random.random_range(60..1_200),
        8 => random.random_range(1_200..9_000),
        _ => random.random_range(9_000..50_000),
    }
}

/// A call that may lack its end, be transferred, or never be answered. Gives back the second at which it is over.
fn call(random: &mut ChaCha8Rng, story: &Story, facts: &mut Vec<Fact>, agent: &str, call: &str, from: i64) -> i64 {
    let mut second = from;
    let outbound = random.random_bool(0.2);
    facts.push(if outbound { story.dialled(call, Some(agent), second) } else { story.rang(call, Some(agent), second) });
    second += random.random_range(0..40);
    if random.random_bool(0.7) {
        facts.push(story.answered(call, agent, second));
        second += random.random_range(0..900);
    }
    if random.random_bool(0.15) {
        let other = AGENTS[random.random_range(0..AGENTS.len())];
        facts.push(story.answered(call, other, second));
        second += random.random_range(0..300);
    }
    match random.random_range(0..4) {
        0 => facts.push(story.ended(call, Some(agent), second)),
        1 => facts.push(story.summarised(call, second + random.random_range(0..900))),
        _ => {}
    }
    second
}

/// What is decided, of whom, from when on, resting on what.
pub type Held = (Decision, String, i64, FactId);

pub fn held(fact: &Fact) -> Held {
    let (decision, decided) = Decision::of(fact).unwrap();
    let subject = if decision.is_of_call() {
        fact.call.as_ref().unwrap().as_str()
    } else {
        fact.agent.as_ref().unwrap().as_str()
    };
    (decision, subject.to_owned(), fact.occurred_at.millis(), decided.rests_on().unwrap())
}

pub fn state_of(fact: &Fact) -> Option<AgentState> {
    if let Body::AgentStateChanged(changed) = &fact.body { Some(changed.state.0) } else { None }
}

fn is_sign(fact: &Fact) -> bool {
    matches!(fact.body, Body::AgentStateChanged(_) | Body::CallRang(_) | Body::CallAnswered(_) | Body::CallEnded(_))
}

/// Everything that must be decided of these facts (in order of arrival) by a moment of the provider's clock.
fn oracle(facts: &[Fact], bounds: &Bounds, now: i64) -> BTreeSet<Held> {
    let mut all = BTreeSet::new();
    let mut by_agent: BTreeMap<&str, Vec<&Fact>> = BTreeMap::new();
    let mut by_call: BTreeMap<&str, Vec<&Fact>> = BTreeMap::new();
    let mut known = BTreeSet::new();
    for fact in facts.iter().filter(|fact| known.insert(fact.id)) {
        if let Some(agent) = fact.agent.as_ref().filter(|_| is_sign(fact)) {
            by_agent.entry(agent.as_str()).or_default().push(fact);
        }
        if let Some(call) = &fact.call {
            by_call.entry(call.as_str()).or_default().push(fact);
        }
    }
    for (agent, mut signs) in by_agent.clone() {
        signs.sort_by_key(|fact| fact.occurred_at); // Stable: equal seconds stay in their order of arrival.
        for (place, sign) in signs.iter().enumerate() {
            let Some(state) = state_of(sign) else { continue };
            let end = signs[place + 1..].iter().position(|next| state_of(next).is_some()).map(|next| place + 1 + next);
            let ends_at = end.map(|end| signs[end].occurred_at.millis());
            let from = sign.occurred_at.millis();
            let expires = from + bounds.wrap_up_seconds * 1000;
            if state == AgentState::WrapUp
                && bounds.wrap_up_seconds > 0
                && ends_at.unwrap_or(i64::MAX) > expires
                && expires <= now
            {
                all.insert((Decision::WrapUpExpired, agent.to_owned(), expires, sign.id));
            }
            if state != AgentState::Offline {
                all.extend(silence(&signs[place..=end.unwrap_or(signs.len() - 1)], bounds, now, agent));
            }
        }
    }
    for (call, facts) in by_call {
        all.extend(presumed_ended(call, &facts, &by_agent, bounds, now));
    }
    all
}

/// The first silence in the state that begins with the first of `signs`; the last one may be the next state.
fn silence(signs: &[&Fact], bounds: &Bounds, now: i64, agent: &str) -> Option<Held> {
    for (place, sign) in signs.iter().enumerate() {
        if place > 0 && state_of(sign).is_some() {
            break;
        }
        let from = sign.occurred_at.millis();
        let next = signs.get(place + 1).map(|next| next.occurred_at.millis());
        let local = bounds.zone.timestamp_millis_opt(from).unwrap();
        let midnight =
            bounds.zone.from_local_datetime(&(local.date_naive() + chrono::Days::new(1)).and_hms_opt(0, 0, 0).unwrap());
        let midnight = midnight.unwrap().timestamp_millis();
        let too_long = (bounds.silence_seconds > 0).then_some(from + bounds.silence_seconds * 1000);
        let day_end = (bounds.day_end_seconds > 0).then_some(midnight + bounds.day_end_seconds * 1000);
        let due = match (too_long, day_end) {
            (Some(too_long), Some(_)) if too_long <= midnight => too_long,
            (Some(too_long), Some(day_end)) => too_long.min(day_end),
            (one, other) => one.or(other)?,
        };
        if next.unwrap_or(i64::MAX) > due {
            let (decision, effective) = match too_long {
                Some(too_long) if day_end.is_none() || too_long <= midnight => {
                    (Decision::AgentPresumedOffline, too_long)
                }
                _ => (Decision::SessionClosed, midnight),
            };
            return (due <= now).then(|| (decision, agent.to_owned(), effective, signs[0].id));
        }
    }
    None
}

fn presumed_ended(
    call: &str,
    facts: &[&Fact],
    by_agent: &BTreeMap<&str, Vec<&Fact>>,
    bounds: &Bounds,
    now: i64,
) -> Option<Held> {
    let lives = |fact: &&&Fact| matches!(fact.body, Body::CallRang(_) | Body::CallAnswered(_));
    let alive = facts.iter().filter(lives).max_by_key(|fact| (fact.occurred_at, fact.id))?;
    // An end that something of the call outlives is one of a leg.
    let ends = |fact: &&Fact| {
        matches!(fact.body, Body::CallSummarised(_))
            || matches!(fact.body, Body::CallEnded(_)) && fact.occurred_at >= alive.occurred_at
    };
    if facts.iter().any(ends) {
        return None;
    }
    let answers = facts.iter().filter(|fact| matches!(fact.body, Body::CallAnswered(_)));
    let answer = answers.max_by_key(|fact| (fact.occurred_at, fact.id));
    let outbound = facts.iter().any(|fact| {
        matches!(&fact.body, Body::CallRang(rang) if rang.party.direction == Some(helix_schemas::fact::Direction::Outbound))
    });
    let last_rang = facts.iter().filter(|fact| fact.agent.is_some()).max_by_key(|fact| (fact.occurred_at, fact.id));
    let holder = answer.or(last_rang.filter(|_| outbound)).and_then(|fact| fact.agent.as_ref());
    let grace = bounds.call_grace_seconds * 1000;
    let freed = holder.filter(|_| grace > 0).and_then(|holder| {
        let own = facts.iter().filter(|fact| fact.agent.as_ref() == Some(holder));
        let touched = own.map(|fact| fact.occurred_at.millis()).max()?;
        let mut signs = by_agent[holder.as_str()].clone();
        signs.sort_by_key(|fact| fact.occurred_at);
        let is_free = |fact: &Fact| matches!(state_of(fact), Some(AgentState::Ready | AgentState::Offline));
        let over = touched + grace;
        let (soon, after): (Vec<&Fact>, Vec<&Fact>) = signs
            .into_iter()
            .filter(|fact| state_of(fact).is_some())
            .partition(|fact| fact.occurred_at.millis() < over);
        let freed = match soon.last() {
            // Free since shortly after the call's last sign, and still when the grace is over.
            Some(lasts) if is_free(lasts) && lasts.occurred_at.millis() > touched => (over, *lasts),
            Some(_) | None => {
                after.into_iter().find(|fact| is_free(fact)).map(|fact| (fact.occurred_at.millis(), fact))?
            }
        };
        (freed.0 >= alive.occurred_at.millis() + grace).then_some(freed)
    });
    let bound = if answer.is_some() { bounds.call_seconds } else { bounds.waiting_seconds };
    let too_long = (bound > 0).then(|| alive.occurred_at.millis() + bound * 1000);
    match (freed, too_long) {
        (Some((effective, freed)), too_long) if too_long.is_none_or(|at| effective <= at) => {
            (effective + grace <= now).then(|| (Decision::CallPresumedEnded, call.to_owned(), effective, freed.id))
        }
        (_, Some(too_long)) => {
            (too_long <= now).then(|| (Decision::CallPresumedEnded, call.to_owned(), too_long, alive.id))
        }
        (_, None) => None,
    }
}

/// Whether nothing in these facts contradicts a decision: what the folds ask (docs/rules.md).
pub fn holds(decision: &Held, facts: &[Fact]) -> bool {
    let (kind, subject, effective, rests_on) = decision;
    if kind.is_of_call() {
        let mut of_call = facts.iter().filter(|fact| fact.call.as_ref().is_some_and(|call| call.as_str() == subject));
        let lived = facts.iter().filter(|fact| {
            fact.call.as_ref().is_some_and(|call| call.as_str() == subject)
                && matches!(fact.body, Body::CallRang(_) | Body::CallAnswered(_))
        });
        let last_lived =
            lived.map(|fact| fact.occurred_at).max().unwrap_or(helix_schemas::time::OccurredAt::from_millis(i64::MIN));
        return of_call.all(|fact| {
            let ends = matches!(fact.body, Body::CallSummarised(_))
                || matches!(fact.body, Body::CallEnded(_)) && fact.occurred_at >= last_lived;
            let lives = matches!(fact.body, Body::CallRang(_) | Body::CallAnswered(_));
            !(ends || lives && fact.occurred_at.millis() > *effective)
        });
    }
    let states = facts.iter().enumerate().filter(|(_, fact)| {
        fact.agent.as_ref().is_some_and(|agent| agent.as_str() == subject)
            && state_of(fact).is_some()
            && fact.occurred_at.millis() <= *effective
    });
    let last = states.max_by_key(|(arrival, fact)| (fact.occurred_at, *arrival));
    last.is_some_and(|(_, fact)| fact.id == *rests_on)
}

pub fn bounds_of(random: &mut ChaCha8Rng) -> Bounds {
    let mut one_of = |choices: &[i64]| choices[random.random_range(0..choices.len())];
    Bounds {
        wrap_up_seconds: one_of(&[0, 30, 30, 1_500]),
        call_grace_seconds: one_of(&[0, 10, 10, 60]),
        call_seconds: one_of(&[0, 600, 14_400]),
        waiting_seconds: one_of(&[0, 60, 3_600]),
        silence_seconds: one_of(&[0, 300, 3_600, 14_400]),
        day_end_seconds: one_of(&[0, 1_800, 14_400]),
        zone: chrono_tz::Tz::Asia__Kolkata,
    }
}

/// Plays deliveries: batches are cut at random, and the clock is looked at between deliveries with this chance and at the end.
pub fn play(deliveries: &[Delivery], bounds: Bounds, looks: f64, until: i64, random: &mut ChaCha8Rng) -> Vec<Made> {
    let workspace = deliveries[0].fact.workspace.clone();
    let mut machine = Machine::new(&workspace, bounds);
    for (place, delivery) in deliveries.iter().enumerate() {
        if looks > 0.0 && random.random_bool(looks) {
            let before = place.checked_sub(1).map_or(delivery.second, |place| deliveries[place].second);
            // Any moment between the one delivery and the next.
            let second = random.random_range(before.min(delivery.second)..=delivery.second);
            if second < delivery.second {
                machine.look(ours(second));
            }
        }
        machine.append(delivery.fact.clone());
        if random.random_bool(0.1) {
            machine.apply_some(|below| random.random_range(0..below));
        }
    }
    machine.look(ours(until));
    // Once more, when its own decisions are read back.
    machine.look(ours(until));
    machine.made
}

fn all_held(made: &[Made]) -> BTreeSet<Held> {
    made.iter().map(|made| held(&made.fact)).collect()
}

pub const UNTIL: i64 = 250_000;

pub fn facts_of(deliveries: &[Delivery]) -> Vec<Fact> {
    deliveries.iter().map(|delivery| delivery.fact.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whenever it is looked at and however batches are cut, what is decided is what all facts together say.
    #[test]
    fn what_is_decided_depends_on_the_facts_alone(seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let deliveries = history(&mut random);
        let bounds = bounds_of(&mut random);
        let facts = facts_of(&deliveries);
        let expected = oracle(&facts, &bounds, at(UNTIL).millis());
        for looks in [0.0, 0.05, 0.5, 1.0] {
            let made = play(&deliveries, bounds, looks, UNTIL, &mut random);
            let got: BTreeSet<Held> = all_held(&made).into_iter().filter(|held| holds(held, &facts)).collect();
            let differ: Vec<&Held> = got.symmetric_difference(&expected).collect();
            prop_assert!(differ.is_empty(), "looks {looks} {bounds:?}: {differ:?}, expected {}", expected.len());
        }
    }

    /// Nothing is decided before its time, or twice, or of a subject whose truth was known.
    #[test]
    fn a_decision_has_its_time_and_comes_once(seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let deliveries = history(&mut random);
        let bounds = bounds_of(&mut random);
        let made = play(&deliveries, bounds, 0.5, UNTIL, &mut random);
        let ids: BTreeSet<FactId> = made.iter().map(|made| made.fact.id).collect();
        prop_assert_eq!(ids.len(), made.len(), "decided twice");
        for made in &made {
            prop_assert!(made.due_at <= made.now && made.fact.occurred_at <= made.due_at);
            let heard: Vec<Fact> = facts_of(&deliveries).into_iter().filter(|fact| fact.occurred_at <= made.now).collect();
            prop_assert!(holds(&held(&made.fact), &heard), "known better: {:?}", held(&made.fact));
        }
    }

    /// Facts that come late, or again, make no decision that contradicts them, and hide none that they do not.
    #[test]
    fn late_and_repeated_facts_lose_no_decision(seed: u64) {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let bounds = bounds_of(&mut random);
        let mut deliveries = history(&mut random);
        for place in 0..deliveries.len() {
            // States alone come late: a late sign of a call moves a silence that may have been decided already.
            if state_of(&deliveries[place].fact).is_some() && random.random_bool(0.2) {
                deliveries[place].second += random.random_range(1..600);
            }
            if random.random_bool(0.05) {
                let again = deliveries[place].clone();
                deliveries.push(Delivery { second: again.second + random.random_range(1..5_000), ..again });
            }
        }
        deliveries.sort_by_key(|delivery| delivery.second);
        let mut facts = facts_of(&deliveries);
        let expected = oracle(&facts, &bounds, at(UNTIL).millis());
        let made = play(&deliveries, bounds, 0.0, UNTIL, &mut random);
        let mut known = BTreeSet::new();
        facts.retain(|fact| known.insert(fact.id));
        let got: BTreeSet<Held> = all_held(&made).into_iter().filter(|held| holds(held, &facts)).collect();
        let differ: Vec<&Held> = got.symmetric_difference(&expected).collect();
        prop_assert!(differ.is_empty(), "{bounds:?}: {differ:?}, expected {}", expected.len());
    }
}
