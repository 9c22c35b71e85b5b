//! The rules, by example.

use helix_automation::Bounds;
use helix_schemas::{
    decision::{Decision, attribute},
    fact::{AgentState, Body, Fact},
    time::{OccurredAt, ReceivedAt},
};

use crate::{
    machine::Machine,
    story::{Story, at, bounds, ours},
};

const HOUR: i64 = 3600;

/// Decision, second it takes effect, word of the attribute.
type Told = (Decision, i64, String);

fn told(fact: &Fact) -> Told {
    let (decision, decided) = Decision::of(fact).unwrap();
    let attributes = [attribute::BECAUSE, attribute::DAY, attribute::BOUND_SECONDS];
    let attribute = attributes.iter().find_map(|name| decided.attributes.get(*name)).cloned().unwrap_or_default();
    (decision, (fact.occurred_at.millis() - at(0).millis()) / 1000, attribute)
}

/// What is decided of these facts by a second.
fn decided_with(bounds: Bounds, facts: &[Fact], by: i64) -> Vec<Told> {
    let mut machine = Machine::new(&facts[0].workspace, bounds);
    machine.append_all(facts.iter().cloned());
    machine.look(ours(by));
    machine.made.iter().map(|made| told(&made.fact)).collect()
}

fn decided(facts: &[Fact], by: i64) -> Vec<Told> {
    decided_with(bounds(), facts, by)
}

fn none() -> Vec<Told> {
    Vec::new()
}

fn presumed_ended(second: i64, because: &str) -> Vec<Told> {
    vec![(Decision::CallPresumedEnded, second, because.to_owned())]
}

#[test]
fn a_wrap_up_expires_after_its_bound_and_not_a_moment_before() {
    let story = Story::of("w");
    let facts = [story.state("a", 0, AgentState::OnCall), story.state("a", 60, AgentState::WrapUp)];
    let expired = vec![(Decision::WrapUpExpired, 90, "30".to_owned())];
    assert_eq!(decided(&facts, 89), none());
    assert_eq!(decided(&facts, 90), expired);
    // Looked at late, and with the agent long back: the same decision.
    let mut later = facts.to_vec();
    later.push(story.state("a", 91, AgentState::Ready));
    later.push(story.state("a", 5000, AgentState::Ringing));
    assert_eq!(decided(&later, 5000), expired);
}

#[test]
fn a_wrap_up_that_ended_in_time_does_not_expire() {
    let story = Story::of("w");
    let facts = [story.state("a", 0, AgentState::WrapUp), story.state("a", 30, AgentState::Ready)];
    assert_eq!(decided(&facts, 100), none());
}

#[test]
fn a_wrap_up_that_follows_a_wrap_up_has_a_bound_of_its_own() {
    let story = Story::of("w");
    let facts = [story.state("a", 0, AgentState::WrapUp), story.state("a", 20, AgentState::WrapUp)];
    assert_eq!(decided(&facts, 49), none());
    assert_eq!(decided(&facts, 50), vec![(Decision::WrapUpExpired, 50, "30".to_owned())]);
}

#[test]
fn a_bound_of_0_turns_a_rule_off() {
    let story = Story::of("w");
    let facts = [
        story.rang("c", Some("a"), 0),
        story.answered("c", "a", 5),
        story.state("a", 6, AgentState::OnCall),
        story.state("a", 60, AgentState::WrapUp),
        story.state("b", 60, AgentState::Ready),
        story.rang("d", None, 60),
    ];
    let off = Bounds { zone: bounds().zone, ..Bounds::OFF };
    assert_eq!(decided_with(off, &facts, 100 * HOUR), none());
    assert_eq!(decided(&facts, 100 * HOUR).len(), 5, "each rule decides where it is on");
}

#[test]
fn a_call_ends_when_its_agent_is_free_and_nobody_said_so() {
    let story = Story::of("w");
    let up = [story.rang("c", Some("a"), 0), story.answered("c", "a", 5), story.state("a", 5, AgentState::OnCall)];
    for (state, because) in [(AgentState::Ready, "agent_ready"), (AgentState::Offline, "agent_offline")] {
        let free = [up.as_slice(), &[story.state("a", 100, state)]].concat();
        // The end may come a moment after the agent's next state.
        assert_eq!(decided(&free, 109), none());
        assert_eq!(decided(&free, 110), presumed_ended(100, because));
        let told = [free.as_slice(), &[story.ended("c", Some("a"), 101)]].concat();
        assert_eq!(decided(&told, 200), none(), "its end is known");
        let told = [free.as_slice(), &[story.summarised("c", 160)]].concat();
        assert_eq!(decided(&told, 200), none(), "its summary is known");
    }
    let busy = [up.as_slice(), &[story.state("a", 100, AgentState::WrapUp)]].concat();
    assert_eq!(decided(&busy, 120), none(), "wrapping up, an agent may still have the call on the line");
}

#[test]
fn an_agent_who_is_free_at_once_and_stays_so_ends_the_call_when_the_grace_is_over() {
    let story = Story::of("w");
    let up = [story.rang("c", Some("a"), 0), story.answered("c", "a", 5), story.state("a", 5, AgentState::OnCall)];
    for (state, because) in [(AgentState::Ready, "agent_ready"), (AgentState::Offline, "agent_offline")] {
        let soon = [up.as_slice(), &[story.state("a", 11, state)]].concat();
        assert_eq!(decided(&soon, 24), none());
        assert_eq!(decided(&soon, 25), presumed_ended(15, because));
        let mut machine = Machine::new(&story.workspace, bounds());
        machine.append_all(soon.iter().cloned());
        machine.look(ours(25));
        let Body::Decided(body) = &machine.made[0].fact.body else { panic!("a decision") };
        assert_eq!(body.evidence, [soon[3].id.to_string(), up[1].id.to_string()]);
    }
    let soon = [up.as_slice(), &[story.state("a", 11, AgentState::Ready)]].concat();
    let back = [soon.as_slice(), &[story.state("a", 13, AgentState::OnCall)]].concat();
    assert_eq!(decided(&back, 100), none(), "a state within the grace may be one of before");
    // The same, but the state that follows comes late: what was thought is taken back.
    let mut machine = Machine::new(&story.workspace, bounds());
    machine.append_all(soon.iter().cloned());
    machine.look(ours(20));
    machine.append(story.state("a", 13, AgentState::OnCall));
    machine.look(ours(100));
    assert!(machine.made.is_empty(), "{:?}", machine.made);
    let free = [back.as_slice(), &[story.state("a", 60, AgentState::Ready)]].concat();
    assert_eq!(decided(&free, 100), presumed_ended(60, "agent_ready"));
    let same_second = [up.as_slice(), &[story.state("a", 5, AgentState::Ready)]].concat();
    assert_eq!(decided(&same_second, 100), none(), "it may be the state in which the call came");
}

#[test]
fn a_touch_that_comes_again_when_all_is_forgotten_frees_no_later() {
    let story = Story::of("w");
    let answered = story.answered("c", "a", 5);
    let mut machine = Machine::new(&story.workspace, bounds());
    // Too early for the decision each time it is looked at, for nothing is looked at.
    machine.append_all([answered.clone(), story.state("a", 11, AgentState::Ready)]);
    machine.append_all((1..40).map(|minute| story.state("a", 60 * minute, AgentState::Paused)));
    machine.append_all([story.state("a", 2400, AgentState::Ready), answered]);
    machine.look(ours(2500));
    let of_call = machine.made.iter().filter(|made| made.fact.call.is_some());
    assert_eq!(of_call.map(|made| told(&made.fact)).collect::<Vec<_>>(), presumed_ended(15, "agent_ready"));
}

#[test]
fn the_decision_on_a_call_names_its_agent_and_what_it_rests_on() {
    let story = Story::of("w");
    let free = story.state("a", 100, AgentState::Ready);
    let answered = story.answered("c", "a", 5);
    let mut machine = Machine::new(&story.workspace, bounds());
    machine.append_all([story.rang("c", Some("a"), 0), answered.clone(), free.clone()]);
    machine.look(ours(200));
    let fact = &machine.made[0].fact;
    assert_eq!(fact.key(), "w/a");
    assert_eq!(fact.call.as_ref().unwrap().as_str(), "c");
    assert_eq!(fact.source.endpoint, "automation");
    let Body::Decided(body) = &fact.body else { panic!("a decision") };
    assert_eq!(body.evidence, [free.id.to_string(), answered.id.to_string()]);
}

#[test]
fn a_transferred_call_is_held_by_who_answered_last() {
    let story = Story::of("w");
    let facts = [
        story.answered("c", "a", 0),
        story.rang("c", Some("b"), 60),
        story.answered("c", "b", 70),
        story.state("a", 100, AgentState::Ready),
    ];
    assert_eq!(decided(&facts, 1000), none());
    let facts = [facts.as_slice(), &[story.state("b", 300, AgentState::Ready)]].concat();
    assert_eq!(decided(&facts, 1000), presumed_ended(300, "agent_ready"));
}

#[test]
fn an_agent_who_let_it_ring_says_nothing_of_a_caller_who_may_be_back_in_the_queue() {
    let story = Story::of("w");
    let facts = [story.rang("c", Some("a"), 0), story.state("a", 30, AgentState::Ready)];
    assert_eq!(decided(&facts, HOUR - 1), none());
    assert_eq!(decided(&facts, HOUR), presumed_ended(HOUR, "too_long"));
}

#[test]
fn an_outbound_call_that_nobody_answered_ends_with_who_dialled() {
    let story = Story::of("w");
    let facts = [story.dialled("c", Some("a"), 0), story.state("a", 30, AgentState::Ready)];
    assert_eq!(decided(&facts, 40), presumed_ended(30, "agent_ready"));
}

#[test]
fn a_call_outlives_its_bound_from_its_last_sign_of_life() {
    let story = Story::of("w");
    let waiting = [story.rang("c", None, 0), story.rang("c", None, 600)];
    assert_eq!(decided(&waiting, HOUR + 599), none());
    assert_eq!(decided(&waiting, HOUR + 600), presumed_ended(HOUR + 600, "too_long"));
    let talking = [waiting.as_slice(), &[story.answered("c", "a", 700)]].concat();
    assert_eq!(decided(&talking, 4 * HOUR + 699), none());
    assert_eq!(decided(&talking, 4 * HOUR + 700), presumed_ended(4 * HOUR + 700, "too_long"));
}

#[test]
fn a_call_is_decided_again_only_after_it_gave_a_sign_of_life() {
    let story = Story::of("w");
    let mut machine = Machine::new(&story.workspace, bounds());
    machine.append_all([story.answered("c", "a", 0), story.state("a", 60, AgentState::Ready)]);
    machine.look(ours(100));
    machine.append(story.state("a", 200, AgentState::Paused));
    machine.look(ours(2 * HOUR));
    assert_eq!(machine.made.iter().map(|made| told(&made.fact)).collect::<Vec<_>>(), presumed_ended(60, "agent_ready"));
    // It lived after all: the decision has lost its ground, and there is a new one.
    machine.append_all([story.answered("c", "a", 2 * HOUR), story.state("a", 2 * HOUR + 60, AgentState::Offline)]);
    machine.look(ours(3 * HOUR));
    assert_eq!(told(&machine.made.last().unwrap().fact), presumed_ended(2 * HOUR + 60, "agent_offline")[0]);
    assert_eq!(machine.made.len(), 2);
}

#[test]
fn an_agent_who_is_silent_for_too_long_is_offline() {
    let story = Story::of("w");
    let facts = [
        story.state("a", 0, AgentState::Ready),
        story.rang("c", Some("a"), HOUR),
        story.ended("c", Some("a"), HOUR + 9),
    ];
    let offline = vec![(Decision::AgentPresumedOffline, 5 * HOUR + 9, (4 * HOUR).to_string())];
    assert_eq!(decided(&facts, 5 * HOUR + 8), none());
    assert_eq!(decided(&facts, 5 * HOUR + 9), offline);
    let gone = [facts.as_slice(), &[story.state("a", HOUR + 20, AgentState::Offline)]].concat();
    assert_eq!(decided(&gone, 9 * HOUR), none(), "who has signed out is not presumed to have");
    let back = [facts.as_slice(), &[story.state("a", 7 * HOUR, AgentState::Ready)]].concat();
    assert_eq!(decided(&back, 7 * HOUR), offline, "the silence was, whenever it is looked at");
}

#[test]
fn a_silence_over_midnight_ends_the_session_at_midnight() {
    let story = Story::of("w");
    // 09:00 + 14 h = 23:00; midnight is 15 h after the start.
    let facts = [story.state("a", 14 * HOUR, AgentState::Paused)];
    let closed = vec![(Decision::SessionClosed, 15 * HOUR, "2026-03-02".to_owned())];
    assert_eq!(decided(&facts, 18 * HOUR - 1), none());
    assert_eq!(decided(&facts, 18 * HOUR), closed, "the bound of silences has passed");
    let patient = Bounds { silence_seconds: 0, ..bounds() };
    assert_eq!(decided_with(patient, &facts, 19 * HOUR - 1), none());
    assert_eq!(decided_with(patient, &facts, 19 * HOUR), closed, "the grace after midnight has passed");
    let night = [facts.as_slice(), &[story.state("a", 17 * HOUR, AgentState::Ready)]].concat();
    assert_eq!(decided(&night, 17 * HOUR), none(), "who works at night was never gone");
    let day = [story.state("a", 0, AgentState::Ready)];
    let offline = vec![(Decision::AgentPresumedOffline, 4 * HOUR, (4 * HOUR).to_string())];
    assert_eq!(decided(&day, 40 * HOUR), offline, "a silence is decided once");
}

#[test]
fn midnight_is_found_where_clocks_skip_it_or_pass_it_twice() {
    // Sao Paulo skipped 2018-11-04 00:00; Havana passed 2019-11-03 00:00 twice.
    let utc =
        |text: &str| OccurredAt::from_millis(chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp_millis());
    for (zone, last, midnight) in [
        (chrono_tz::Tz::America__Sao_Paulo, "2018-11-03T23:00:00-03:00", "2018-11-04T01:00:00-02:00"),
        (chrono_tz::Tz::America__Havana, "2019-11-02T23:30:00-04:00", "2019-11-03T00:00:00-04:00"),
    ] {
        let bounds = Bounds { silence_seconds: 0, ..Bounds::in_zone(zone) };
        let silence = bounds.silence(utc(last)).unwrap();
        assert_eq!(silence.effective_at, utc(midnight), "{zone}");
    }
}

#[test]
fn a_late_state_within_memory_is_judged_like_one_in_time() {
    let story = Story::of("w");
    let facts = [
        story.state("a", 0, AgentState::OnCall),
        story.state("a", 300, AgentState::Ready),
        story.state("a", 100, AgentState::WrapUp),
    ];
    assert_eq!(decided(&facts, 400), vec![(Decision::WrapUpExpired, 130, "30".to_owned())]);
}

#[test]
fn what_comes_again_changes_nothing() {
    let story = Story::of("w");
    let facts = [
        story.state("a", 0, AgentState::WrapUp),
        story.state("a", 10, AgentState::Ready),
        story.state("a", 100, AgentState::Paused),
        story.state("a", HOUR, AgentState::Ready),
    ];
    // Its end is long forgotten when the wrap-up comes again.
    let again = [facts.as_slice(), &facts[..1]].concat();
    assert_eq!(decided(&again, HOUR), none());
}

#[test]
fn a_storm_of_signs_is_remembered_within_bounds() {
    let story = Story::of("w");
    let mut machine = Machine::new(&story.workspace, bounds());
    machine.append(story.state("a", 0, AgentState::Ready));
    for second in 1..2000 {
        machine.append(story.rang(&format!("c{second}"), Some("a"), second / 4));
    }
    machine.catch_up();
    let timers = machine.timers().filter(|set| set.timer.decision != Decision::CallPresumedEnded).count();
    assert_eq!(timers, 1, "the silence that has begun");
}

#[test]
fn a_workspace_that_is_not_configured_is_left_alone() {
    let (story, other) = (Story::of("w"), Story::of("x"));
    let mut machine = Machine::new(&other.workspace, bounds());
    machine.append(story.state("a", 0, AgentState::WrapUp));
    machine.look(ours(9 * HOUR));
    assert!(machine.made.is_empty());
}

#[test]
fn our_clock_counts_from_when_the_watermark_reached_us() {
    let story = Story::of("w");
    // The provider's clock is four minutes ahead of ours, or a day behind it.
    for begun in [-240, 24 * HOUR] {
        let mut machine = Machine::new(&story.workspace, bounds());
        let mut fact = story.state("a", 0, AgentState::WrapUp);
        fact.received_at = ours(begun);
        machine.append(fact);
        machine.look(ours(begun + 29));
        assert!(machine.made.is_empty());
        machine.look(ours(begun + 30));
        assert_eq!(machine.made.len(), 1);
    }
}

#[test]
fn one_event_of_tomorrow_makes_nothing_due_today() {
    let story = Story::of("w");
    let mut machine = Machine::new(&story.workspace, bounds());
    machine.append_all([
        story.state("a", 0, AgentState::OnCall),
        story.answered("c", "a", 0),
        story.rang("d", None, 0),
    ]);
    let mut tomorrow = story.state("b", 20 * HOUR, AgentState::Ready);
    tomorrow.received_at = ours(60);
    machine.append(tomorrow);
    machine.look(ours(60));
    assert!(machine.made.is_empty(), "{:?}", machine.made);
    machine.look(ours(HOUR - 310));
    assert!(machine.made.is_empty(), "{:?}", machine.made);
    // By our own clock it is time, give or take what two clocks may differ by.
    machine.look(ours(HOUR));
    assert_eq!(machine.made.iter().map(|made| told(&made.fact)).collect::<Vec<_>>(), presumed_ended(HOUR, "too_long"));
    machine.look(ours(4 * HOUR));
    assert_eq!(machine.made.len(), 3, "the call and the silence of its agent");
}

#[test]
fn one_fact_of_a_far_future_stops_neither_the_clock_nor_its_agent() {
    let story = Story::of("w");
    let mut machine = Machine::new(&story.workspace, bounds());
    let mut far = story.state("a", 26 * HOUR + 1, AgentState::Ready);
    far.received_at = ReceivedAt::from_micros(at(0).millis() * 1000);
    machine.append_all([far, story.state("a", 10, AgentState::WrapUp), story.state("b", 10, AgentState::WrapUp)]);
    machine.look(ours(39));
    assert!(machine.made.is_empty(), "{:?}", machine.made);
    machine.look(ours(40));
    let told: Vec<Told> = machine.made.iter().map(|made| told(&made.fact)).collect();
    assert_eq!(told, vec![(Decision::WrapUpExpired, 40, "30".to_owned()); 2]);
}
