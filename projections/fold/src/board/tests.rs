//! The board's laws, on hand-made facts: any cut, any repetition and any interleaving of partitions give one board.

use std::collections::BTreeMap;

use helix_schemas::{
    decision::{Deciding, Decision, attribute},
    fact::{
        AgentState, AgentStateChanged, AgentStateWord, Body, CallAnswered, CallEnded, CallParty, CallRang,
        CallSummarised, Direction, Fact, OccurredAtFrom, Source,
    },
    id::NaturalKey,
    names::{AgentId, CallId, WorkspaceId},
    time::{OccurredAt, ReceivedAt},
};
use proptest::prelude::*;

use super::{
    Board, Producer,
    document::{
        AGENTS, CALLS, CallCard, CallProgress, OPEN_MISSED_CALLS, PRODUCERS, ProducerCard, TODAY, call_path,
        producer_path,
    },
    ghosts::{SHOWN, SHOWN_MILLIS},
    visible::{Visible, merge},
};
use crate::{
    call::{CallRow, Outcome},
    settings::{FURTHEST_AHEAD_MILLIS, Settings},
    workspace::WorkspaceFold,
};

/// 2026-03-02 09:00 in Kolkata.
const START: i64 = 1_772_422_200;
const DAY: i64 = 86_400;

fn fact(agent: Option<&str>, call: Option<&str>, second: i64, word: &str, body: Body) -> Fact {
    let id = NaturalKey::new("ozonetel", "test", word)
        .field(agent.unwrap_or(""))
        .field(call.unwrap_or(""))
        .field(&second.to_string())
        .id();
    Fact {
        id,
        workspace: WorkspaceId::new("ramaiah").unwrap(),
        agent: agent.map(|agent| AgentId::new(agent).unwrap()),
        call: call.map(|call| CallId::new(call).unwrap()),
        leg: None,
        provider: "ozonetel".to_owned(),
        kind: body.kind(),
        occurred_at: OccurredAt::from_millis((START + second) * 1000),
        occurred_at_from: OccurredAtFrom::Event,
        received_at: ReceivedAt::from_micros((START + second) * 1_000_000 + 250_000),
        raw: Vec::new(),
        raw_content_type: String::new(),
        source: Source::default(),
        normaliser: 1,
        body,
    }
}

fn state(agent: &str, second: i64, state: AgentState, reason: Option<&str>) -> Fact {
    let word = format!("{}/{}", state.as_str(), reason.unwrap_or(""));
    let body = AgentStateChanged {
        action: state.as_str().to_owned(),
        state: AgentStateWord(state),
        reason: reason.map(str::to_owned),
        mode: None,
        agent_name: None,
        agent_unique_id: None,
    };
    fact(Some(agent), None, second, &word, Body::AgentStateChanged(body))
}

fn party(caller: Option<&str>, direction: Option<Direction>) -> CallParty {
    CallParty { caller: caller.map(str::to_owned), direction, ..CallParty::default() }
}

fn rang(call: &str, agent: Option<&str>, second: i64, caller: &str, direction: Direction) -> Fact {
    let body = CallRang { party: party(Some(caller), Some(direction)) };
    fact(agent, Some(call), second, "rang", Body::CallRang(body))
}

fn answered(call: &str, agent: &str, second: i64) -> Fact {
    fact(Some(agent), Some(call), second, "answered", Body::CallAnswered(CallAnswered { party: party(None, None) }))
}

fn ended(call: &str, agent: Option<&str>, second: i64) -> Fact {
    let body = CallEnded { party: party(None, None), hangup_by: None };
    fact(agent, Some(call), second, "ended", Body::CallEnded(body))
}

fn summarised(call: &str, agent: Option<&str>, second: i64, answered: bool, rang_for: i64) -> Fact {
    let body = CallSummarised {
        party: party(None, None),
        answered: Some(answered),
        started_at: Some(OccurredAt::from_millis((START + second - rang_for) * 1000)),
        ended_at: Some(OccurredAt::from_millis((START + second) * 1000)),
        ..CallSummarised::default()
    };
    fact(agent, Some(call), second, "summary", Body::CallSummarised(Box::new(body)))
}

/// A decision that takes effect at that second, on that fact if on any, in the name of asha.
fn decided(decision: Decision, agent: Option<&str>, call: Option<&str>, second: i64, on: Option<&Fact>) -> Fact {
    Deciding {
        workspace: WorkspaceId::new("ramaiah").unwrap(),
        decision,
        agent: agent.map(|agent| AgentId::new(agent).unwrap()),
        call: call.map(|call| CallId::new(call).unwrap()),
        effective_at: OccurredAt::from_millis((START + second) * 1000),
        received_at: ReceivedAt::from_micros((START + second) * 1_000_000 + 900_000),
        evidence: on.map(|fact| fact.id).into_iter().collect(),
        attributes: BTreeMap::from([(attribute::BY.to_owned(), "asha".to_owned())]),
        request: None,
        source: Source::default(),
    }
    .into_fact()
}

fn board() -> Board {
    Board::new(WorkspaceId::new("ramaiah").unwrap(), Settings::default())
}

fn folded(facts: &[Fact]) -> Board {
    let mut board = board();
    for fact in facts {
        board.apply(fact);
    }
    board
}

fn open_missed(board: &Board) -> &str {
    board.visible().get(OPEN_MISSED_CALLS).unwrap()
}

#[test]
fn the_root_is_the_one_a_browser_computes() {
    // The same value stands in the page's tests (services/sidecar/web/test).
    let mut visible = Visible::default();
    assert_eq!(visible.root().to_string(), "0".repeat(64));
    visible.set(OPEN_MISSED_CALLS, &0);
    assert_eq!(visible.root().to_string(), "6f2f361500cbf54217fd7532acd68fe65807ddef99858eff834cfeb47225de59");
}

#[test]
fn a_call_is_waiting_then_talked_on_then_counted() {
    let mut board = board();
    board.apply(&rang("c1", None, 0, "9198", Direction::Inbound));
    assert!(board.visible().get("waiting/c1").is_some());
    assert_eq!((board.today().offered, board.today().in_progress), (1, 1));
    board.apply(&answered("c1", "a", 12));
    assert!(board.visible().get("waiting/c1").is_none());
    assert!(board.visible().get("calls/c1").unwrap().contains(r#""state":"on_call""#));
    board.apply(&ended("c1", Some("a"), 90));
    assert!(board.visible().get("calls/c1").is_none());
    let today = board.today();
    assert_eq!((today.offered, today.answered, today.in_progress), (1, 1, 0));
    assert_eq!((today.service_level.answered_within, today.service_level.denominator), (1, 1));
}

#[test]
fn a_late_state_corrects_history_and_not_the_present() {
    let mut board = board();
    board.apply(&state("a", 100, AgentState::Ready, None));
    let before = board.root();
    let changes = board.apply(&state("a", 40, AgentState::Paused, Some("tea")));
    assert!(changes.is_empty());
    assert_eq!(board.root(), before);
}

#[test]
fn of_one_second_the_last_to_arrive_counts_and_a_repeat_does_not_arrive_again() {
    let mut board = board();
    let first = state("a", 10, AgentState::Paused, Some("signed_in"));
    board.apply(&first);
    board.apply(&state("a", 10, AgentState::Ready, None));
    board.apply(&first);
    assert_eq!(board.agent_card(&AgentId::new("a").unwrap()).unwrap().state, AgentState::Ready);
}

#[test]
fn a_missed_caller_is_open_until_reached_or_answered_when_ringing_again() {
    let mut board = board();
    board.apply(&rang("m1", None, 0, "111", Direction::Inbound));
    board.apply(&ended("m1", None, 40));
    board.apply(&rang("m2", None, 0, "222", Direction::Inbound));
    board.apply(&ended("m2", None, 5));
    assert_eq!(open_missed(&board), "2");
    board.apply(&rang("o1", Some("a"), 100, "111", Direction::Outbound));
    assert_eq!(open_missed(&board), "2");
    board.apply(&answered("o1", "a", 110));
    assert_eq!(open_missed(&board), "1");
    board.apply(&rang("m3", None, 200, "222", Direction::Inbound));
    board.apply(&answered("m3", "a", 210));
    assert_eq!(open_missed(&board), "0");
    assert_eq!((board.today().missed, board.today().short_abandoned), (1, 1));
}

#[test]
fn the_day_moves_on_with_the_watermark_and_old_calls_are_forgotten() {
    let mut board = board();
    board.apply(&rang("c1", None, 0, "111", Direction::Inbound));
    board.apply(&ended("c1", None, 60));
    board.apply(&rang("c2", None, 10, "222", Direction::Inbound));
    board.apply(&state("a", DAY, AgentState::Ready, None));
    assert_eq!(board.today().offered, 0);
    assert_eq!(open_missed(&board), "1", "yesterday's are still to be called back");
    assert!(board.visible().get("calls/c2").is_some());
    board.apply(&state("a", 2 * DAY, AgentState::Paused, None));
    assert_eq!(open_missed(&board), "0");
    assert!(board.visible().get("calls/c2").is_none());
    board.apply(&state("a", 3 * DAY, AgentState::Ready, None));
    assert_eq!(board.remembered(), (1, 0));
    assert_eq!(board.take_touched().dropped.len(), 2);
    let changes = board.apply(&ended("c1", None, 60));
    assert!(changes.is_empty(), "a repeat after all that time is no new call");
}

#[test]
fn facts_of_another_workspace_change_nothing() {
    let mut other = rang("c1", None, 0, "111", Direction::Inbound);
    other.workspace = WorkspaceId::new("global").unwrap();
    let mut board = board();
    let before = board.root();
    assert!(board.apply(&other).is_empty());
    assert_eq!(board.root(), before);
    assert!(board.watermark().is_none());
}

#[test]
fn a_change_never_shows_a_number_when_it_is_debugged() {
    let mut board = board();
    let changes = board.apply(&rang("c1", None, 0, "919845012345", Direction::Inbound));
    assert!(!format!("{changes:?} {:?}", board.visible()).contains("919845012345"));
}

#[test]
fn a_decision_is_shown_as_presumed_until_something_real_is_heard() {
    let agent = AgentId::new("a").unwrap();
    let mut board = board();
    let wrap_up = state("a", 0, AgentState::WrapUp, None);
    let expired = decided(Decision::WrapUpExpired, Some("a"), None, 30, Some(&wrap_up));
    board.apply(&wrap_up);
    let watermark = board.watermark();
    board.apply(&expired);
    let card = board.agent_card(&agent).unwrap();
    assert_eq!((card.state, card.reason.as_deref(), card.presumed), (AgentState::Ready, Some("wrap_up_expired"), true));
    assert_eq!(board.watermark(), watermark, "a decision says nothing of the provider's clock");
    assert!(board.apply(&expired).is_empty());
    board.apply(&state("a", 20, AgentState::Paused, Some("tea")));
    let card = board.agent_card(&agent).unwrap();
    assert_eq!((card.state, card.presumed), (AgentState::Paused, false));
}

#[test]
fn a_decision_holds_although_all_that_came_before_it_was_forgotten() {
    let mut board = board();
    let ready = state("a", 0, AgentState::Ready, None);
    board.apply(&ready);
    for nth in 0..300 {
        board.apply(&rang(&format!("c{nth}"), Some("a"), nth, "111", Direction::Inbound));
    }
    board.apply(&decided(Decision::AgentPresumedOffline, Some("a"), None, 900, Some(&ready)));
    let card = board.agent_card(&AgentId::new("a").unwrap()).unwrap();
    assert_eq!((card.state, card.presumed), (AgentState::Offline, true));
    let memory = board.agent_memory(&AgentId::new("a").unwrap()).unwrap();
    assert!(memory.len() < 12_000, "{} bytes", memory.len());
}

/// A call as the board shows it.
fn call_card(board: &Board, call: &str) -> Option<CallCard> {
    let path = call_path(&CallId::new(call).unwrap());
    board.visible().get(&path).map(|json| serde_json::from_str(json).unwrap())
}

/// A call that is presumed to have ended at that second.
fn ghost(call: &str, second: i64) -> Fact {
    decided(Decision::CallPresumedEnded, Some("a"), Some(call), second, None)
}

#[test]
fn a_call_that_is_presumed_ended_is_shown_as_presumed_and_comes_back_when_it_is_heard_of() {
    let mut board = board();
    board.apply(&rang("c1", Some("a"), 0, "111", Direction::Inbound));
    let before = call_card(&board, "c1").unwrap();
    board.apply(&ghost("c1", 600));
    assert!(call_card(&board, "c1") == Some(CallCard { presumed: true, ..before }), "as it last was");
    assert!(board.visible().get("waiting/c1").is_none(), "nobody waits any more");
    assert_eq!((board.today().missed, board.today().in_progress, open_missed(&board)), (1, 0, "1"));
    board.apply(&answered("c1", "a", 700));
    let card = call_card(&board, "c1").unwrap();
    assert_eq!((card.state, card.presumed), (CallProgress::OnCall, false));
    assert_eq!((board.today().missed, open_missed(&board)), (0, "0"));
    board.apply(&ghost("c1", 800));
    assert!(call_card(&board, "c1") == Some(CallCard { presumed: true, ..card }));
    board.apply(&ended("c1", Some("a"), 790));
    assert!(call_card(&board, "c1").is_none(), "its true end is known");
}

#[test]
fn a_call_that_is_presumed_ended_is_shown_for_a_quarter_of_an_hour_of_the_watermark() {
    let mut board = board();
    board.apply(&rang("c1", Some("a"), 0, "111", Direction::Inbound));
    board.apply(&ghost("c1", 600));
    let gone = 600 + SHOWN_MILLIS / 1000;
    board.apply(&state("b", gone - 1, AgentState::Ready, None));
    assert!(call_card(&board, "c1").is_some());
    let changes = board.apply(&state("b", gone, AgentState::Paused, None));
    assert!(changes.iter().any(|change| change.path == "calls/c1"), "{changes:?}");
    assert!(call_card(&board, "c1").is_none());
    assert_eq!((board.today().missed, open_missed(&board)), (1, "1"));
    // A decision that comes to light after all that time shows nothing any more.
    board.apply(&rang("c2", Some("a"), 1, "222", Direction::Inbound));
    board.apply(&ghost("c2", 599));
    assert!(call_card(&board, "c2").is_none());
    assert_eq!(board.today().missed, 2);
}

#[test]
fn a_call_that_is_presumed_ended_goes_with_its_day() {
    let mut board = board();
    board.apply(&rang("c1", Some("a"), 0, "111", Direction::Inbound));
    // Two days later, one second after midnight in Kolkata, and presumed to have ended just then.
    let midnight = 15 * 3600 + DAY;
    board.apply(&ghost("c1", midnight));
    assert!(call_card(&board, "c1").is_some());
    board.apply(&state("b", midnight + 1, AgentState::Ready, None));
    assert!(call_card(&board, "c1").is_none(), "it started the day before yesterday");
}

/// Which of `c0`, `c1`, and so on are shown.
fn shown(board: &Board) -> Vec<usize> {
    (0..2 * SHOWN).filter(|number| call_card(board, &format!("c{number}")).is_some()).collect()
}

#[test]
fn of_any_number_of_presumed_ends_only_the_last_are_shown() {
    let most = i64::try_from(SHOWN).unwrap();
    let mut facts: Vec<Fact> = Vec::new();
    for number in 0..most + 3 {
        facts.push(rang(&format!("c{number}"), None, 0, "111", Direction::Inbound));
        facts.push(ghost(&format!("c{number}"), 100 + number));
    }
    let forwards = folded(&facts);
    facts.reverse();
    let mut board = folded(&facts);
    assert!(board.visible() == forwards.visible(), "in whatever order they come");
    assert_eq!(shown(&board), (3..SHOWN + 3).collect::<Vec<_>>());
    // One that turns out to have ended makes room for the last of those that had none.
    board.apply(&ended("c50", None, 120));
    assert_eq!(shown(&board), (2..SHOWN + 3).filter(|number| *number != 50).collect::<Vec<_>>());
    // One that was crowded out goes on after all.
    board.apply(&rang("c0", Some("a"), 700, "111", Direction::Inbound));
    assert!(!call_card(&board, "c0").unwrap().presumed);
    // The watermark passes some of them.
    board.apply(&state("a", SHOWN_MILLIS / 1000 + 110, AgentState::Ready, None));
    let left: Vec<usize> = std::iter::once(0).chain((11..SHOWN + 3).filter(|number| *number != 50)).collect();
    assert_eq!(shown(&board), left);
    board.apply(&ended("c60", None, 120));
    assert_eq!(shown(&board), left.into_iter().filter(|number| *number != 60).collect::<Vec<_>>());
}

#[test]
fn an_obligation_is_open_while_claimed_and_closed_by_a_waive_or_the_last_attempt() {
    let mut board = board();
    for (call, caller) in [("m1", "111"), ("m2", "222")] {
        board.apply(&rang(call, None, 0, caller, Direction::Inbound));
        board.apply(&ended(call, None, 40));
    }
    board.apply(&decided(Decision::MissedCallClaimed, None, Some("m1"), 50, None));
    assert_eq!(open_missed(&board), "2");
    board.apply(&decided(Decision::MissedCallWaived, None, Some("m1"), 60, None));
    assert_eq!(open_missed(&board), "1");
    for attempt in 1..=3_i64 {
        assert_eq!(open_missed(&board), "1");
        let call = format!("o{attempt}");
        board.apply(&rang(&call, Some("a"), attempt * 100, "222", Direction::Outbound));
        board.apply(&ended(&call, Some("a"), attempt * 100 + 20));
    }
    assert_eq!(open_missed(&board), "0");
    // The last of them was answered after all; then it is reached, and as closed as before.
    board.apply(&answered("o3", "a", 310));
    assert_eq!(open_missed(&board), "0");
    // It was not: three attempts again.
    board.apply(&summarised("o3", Some("a"), 320, false, 20));
    assert_eq!(open_missed(&board), "0");
}

#[test]
fn a_call_that_rings_a_second_agent_stays_on_the_board_and_is_not_missed() {
    let mut board = board();
    board.apply(&rang("c1", Some("a"), 0, "111", Direction::Inbound));
    board.apply(&ended("c1", Some("a"), 15));
    assert_eq!((board.today().missed, open_missed(&board)), (1, "1"));
    board.apply(&rang("c1", Some("b"), 16, "111", Direction::Inbound));
    assert!(board.visible().get("waiting/c1").is_some());
    assert_eq!((board.today().missed, board.today().in_progress, open_missed(&board)), (0, 1, "0"));
    board.apply(&answered("c1", "b", 20));
    assert!(board.visible().get("calls/c1").unwrap().contains(r#""state":"on_call""#));
    board.apply(&ended("c1", Some("b"), 60));
    assert_eq!((board.today().answered, board.today().in_progress), (1, 0));
}

#[test]
fn one_caller_is_one_however_the_number_is_written() {
    let mut board = board();
    board.apply(&rang("m1", None, 0, "9876543210", Direction::Inbound));
    board.apply(&ended("m1", None, 40));
    board.apply(&rang("o1", Some("a"), 100, "+91 98765 43210", Direction::Outbound));
    assert_eq!(open_missed(&board), "1");
    board.apply(&answered("o1", "a", 110));
    assert_eq!(open_missed(&board), "0");
}

#[test]
fn a_fact_from_far_ahead_moves_no_watermark() {
    let mut board = board();
    board.apply(&state("a", 0, AgentState::Ready, None));
    board.apply(&rang("c1", None, 10, "111", Direction::Inbound));
    let watermark = board.watermark();
    let ahead = |millis: i64| {
        let mut fact = state("b", 20, AgentState::Ready, None);
        fact.occurred_at = OccurredAt::from_millis(fact.received_at.micros() / 1000 + millis);
        fact
    };
    // Twenty days, as one slip of a date may be, and one millisecond too much.
    for millis in [20 * DAY * 1000, FURTHEST_AHEAD_MILLIS + 1] {
        board.apply(&ahead(millis));
        assert_eq!(board.watermark(), watermark);
        assert!(board.visible().get("waiting/c1").is_some());
        assert_eq!(board.today().offered, 1);
    }
    assert!(board.agent_card(&AgentId::new("b").unwrap()).is_some(), "it says what it says all the same");
    board.apply(&ahead(FURTHEST_AHEAD_MILLIS));
    assert_ne!(board.watermark(), watermark);
}

/// As it was told, but long before: so far ahead of its arrival, and of that of a repeat soon after, that it says nothing of
/// the provider's clock.
fn told_ahead(mut fact: Fact) -> Fact {
    let early = FURTHEST_AHEAD_MILLIS + 2 * 3_600_000;
    fact.received_at = ReceivedAt::from_micros(fact.received_at.micros() - early * 1000);
    fact
}

#[test]
fn a_call_that_lies_ahead_is_neither_shown_nor_counted_until_its_time_comes() {
    // Three hours on: of the same day.
    let later = 3 * 3600;
    let ahead = told_ahead(rang("c1", Some("a"), later, "111", Direction::Inbound));
    let now = state("b", 0, AgentState::Ready, None);
    for order in [[&ahead, &now], [&now, &ahead]] {
        let mut board = board();
        for fact in order {
            board.apply(fact);
        }
        assert_eq!((call_card(&board, "c1").is_some(), board.today().offered), (false, 0));
        assert!(board.visible().get("waiting/c1").is_none());
        board.apply(&told_ahead(ended("c1", Some("a"), later + 30)));
        board.apply(&state("b", later - 1, AgentState::Paused, None));
        assert_eq!((board.today().missed, open_missed(&board)), (0, "0"));
        board.apply(&state("b", later, AgentState::Ready, None));
        assert_eq!((board.today().missed, open_missed(&board)), (1, "1"));
        // It rings on: its end was one leg's.
        let changes = board.apply(&rang("c1", Some("b"), later + 40, "111", Direction::Inbound));
        assert!(changes.iter().any(|change| change.path == "waiting/c1"), "{changes:?}");
        assert_eq!((board.today().in_progress, open_missed(&board)), (1, "0"));
    }
}

#[test]
fn a_call_of_next_year_is_not_on_todays_board_and_goes_on_closing_what_it_closes_in_the_read_models() {
    let mut board = board();
    board.apply(&rang("m1", None, 0, "111", Direction::Inbound));
    board.apply(&ended("m1", None, 40));
    let calls = board.visible().collection(CALLS).len();
    for (call, second) in [("c1", 400 * DAY), ("c2", 400 * DAY + 60)] {
        board.apply(&told_ahead(rang(call, None, second, "222", Direction::Inbound)));
    }
    board.apply(&told_ahead(ended("c2", None, 400 * DAY + 90)));
    assert_eq!(board.visible().collection(CALLS).len(), calls);
    assert_eq!((board.today().offered, open_missed(&board)), (1, "1"));
    board.apply(&told_ahead(rang("o1", Some("a"), 400 * DAY, "111", Direction::Outbound)));
    board.apply(&told_ahead(answered("o1", "a", 400 * DAY + 5)));
    assert_eq!((open_missed(&board), board.visible().collection(CALLS).len()), ("0", calls));
}

#[test]
fn an_event_without_a_time_is_here_when_it_arrives_however_long_the_provider_was_silent() {
    let mut board = board();
    board.apply(&state("b", 0, AgentState::Ready, None));
    let mut rings = rang("c1", None, 2 * DAY, "111", Direction::Inbound);
    rings.occurred_at_from = OccurredAtFrom::Received;
    board.apply(&rings);
    assert!(board.visible().get("waiting/c1").is_some());
}

/// What the board says of a producer: when it was last heard, and of when that spoke, in seconds after [`START`].
fn last_event(board: &Board, producer: Producer) -> Option<(i64, i64)> {
    let card: ProducerCard = serde_json::from_str(board.visible().get(&producer_path(producer))?).unwrap();
    let second = |text: &str| chrono::DateTime::parse_from_rfc3339(text).unwrap().timestamp() - START;
    assert_eq!(card.producer, producer);
    Some((second(&card.received_at), second(&card.occurred_at)))
}

#[test]
fn the_last_event_of_each_producer_is_on_the_board_whatever_the_order() {
    let mut late = state("a", 5, AgentState::Paused, None);
    late.received_at = ReceivedAt::from_micros((START + 90) * 1_000_000);
    let facts = [
        state("a", 10, AgentState::Ready, None),
        late,
        rang("c1", Some("a"), 20, "111", Direction::Inbound),
        ended("c1", Some("a"), 30),
        decided(Decision::MissedCallClaimed, None, Some("c1"), 300, None),
    ];
    for order in [[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [2, 1, 4, 0, 3]] {
        let mut board = board();
        for index in order {
            board.apply(&facts[index]);
        }
        assert_eq!(last_event(&board, Producer::AgentEvent), Some((90, 5)), "{order:?}");
        assert_eq!(last_event(&board, Producer::CallEvent), Some((30, 30)), "{order:?}");
        assert_eq!(last_event(&board, Producer::MissedCall), None, "no summary came, and decisions are our own");
    }
}

#[test]
fn a_board_without_a_watermark_is_restored_with_its_calls() {
    let mut first = board();
    let mut rings = rang("c1", None, 0, "111", Direction::Inbound);
    rings.occurred_at_from = OccurredAtFrom::Received;
    first.apply(&rings);
    assert!(first.watermark().is_none());
    let call = CallId::new("c1").unwrap();
    let memory = first.call_memory(&call).unwrap();
    let restored = Board::restore(
        first.workspace.clone(),
        first.settings.clone(),
        first.heard().clone(),
        std::iter::empty(),
        [(call, memory.as_str())],
    );
    let mut restored = restored.unwrap();
    assert!(first.visible() == restored.visible());
    let end = ended("c1", None, 60);
    first.apply(&end);
    restored.apply(&end);
    assert_eq!(first.root(), restored.root());
}

/// As many cases as are usual, or as `PROPTEST_CASES` asks for.
fn cases(usual: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_some() { asked } else { ProptestConfig { cases: usual, ..asked } }
}

/// What is told: a fact, or a decision on one of the states that are told.
#[derive(Debug, Clone)]
enum Told {
    Fact(Box<Fact>),
    OnState(Decision, prop::sample::Index, i64),
}

/// Of calls that lie far ahead when they are heard of: the time of some of them comes while facts are told, that of others never.
fn ahead_of_its_time() -> impl Strategy<Value = Fact> {
    let call = (0_i64..16).prop_map(|number| {
        let hours = if number < 12 { number * 8 } else { 400 * 24 + number };
        (format!("ahead{number}"), hours * 3600)
    });
    let caller = prop::sample::select(vec!["111", "222", "333"]);
    let direction = prop::sample::select(vec![Direction::Inbound, Direction::Outbound]);
    (call, 0_i64..4, 0_i64..300, caller, direction).prop_map(|((call, start), kind, second, caller, direction)| {
        let at = start + second;
        told_ahead(match kind {
            0 => answered(&call, "d", at),
            1 => ended(&call, None, at),
            2 => summarised(&call, None, at, second % 2 == 0, second % 60),
            _ => rang(&call, None, at, caller, direction),
        })
    })
}

/// Facts of some days, or of so few hours that what is presumed is still shown: each agent's in order of the provider's clock,
/// now and then late.
fn any_told(hours: i64) -> impl Strategy<Value = Told> {
    let agents = prop::sample::select(vec!["a", "b", "c"]);
    let maybe = prop::option::weighted(0.6, prop::sample::select(vec!["a", "b", "c"]));
    // A call lives within its own hour, so that its facts lie within a day of each other.
    let call = (0_i64..90).prop_map(move |number| (format!("c{number}"), number % hours * 3600));
    let caller = prop::sample::select(vec!["111", "222", "333"]);
    let direction = prop::sample::select(vec![Direction::Inbound, Direction::Inbound, Direction::Outbound]);
    let fact = prop_oneof![
        12 => (agents.clone(), 0_i64..hours * 3600, prop::sample::select(AgentState::ALL.to_vec()), prop::option::of(Just("tea")))
            .prop_map(|(agent, second, word, reason)| state(agent, second / 900 * 900, word, reason)),
        12 => (call.clone(), maybe.clone(), 0_i64..200, caller, direction)
            .prop_map(|((call, start), agent, second, caller, direction)| rang(&call, agent, start + second, caller, direction)),
        8 => (call.clone(), agents, 0_i64..400).prop_map(|((call, start), agent, second)| answered(&call, agent, start + second)),
        8 => (call.clone(), maybe.clone(), 0_i64..900).prop_map(|((call, start), agent, second)| ended(&call, agent, start + second)),
        4 => (call.clone(), maybe.clone(), 60_i64..900, any::<bool>(), 0_i64..60)
            .prop_map(|((call, start), agent, second, answered, rang_for)| summarised(&call, agent, start + second, answered, rang_for)),
        2 => (call.clone(), maybe, 0_i64..900).prop_map(|((call, start), agent, second)| {
            decided(Decision::CallPresumedEnded, agent, Some(&call), start + second, None)
        }),
        4 => ahead_of_its_time(),
        2 => (call, 0_i64..900, any::<bool>()).prop_map(|((call, start), second, waives)| {
            let wish = if waives { Decision::MissedCallWaived } else { Decision::MissedCallClaimed };
            decided(wish, None, Some(&call), start + second, None)
        }),
    ];
    let decisions =
        prop::sample::select(vec![Decision::WrapUpExpired, Decision::AgentPresumedOffline, Decision::SessionClosed]);
    prop_oneof![
        10 => fact.prop_map(|fact| Told::Fact(Box::new(fact))),
        1 => (decisions, any::<prop::sample::Index>(), 0_i64..4000)
            .prop_map(|(decision, state, after)| Told::OnState(decision, state, after)),
    ]
}

fn as_facts(told: Vec<Told>) -> Vec<Fact> {
    let states: Vec<Fact> = told
        .iter()
        .filter_map(|told| match told {
            Told::Fact(fact) if matches!(fact.body, Body::AgentStateChanged(_)) => Some(fact.as_ref().clone()),
            Told::Fact(_) | Told::OnState(..) => None,
        })
        .collect();
    let as_fact = |told| match told {
        Told::Fact(fact) => Some(*fact),
        Told::OnState(..) if states.is_empty() => None,
        Told::OnState(decision, state, after) => {
            let state = state.get(&states);
            let second = state.occurred_at.millis() / 1000 - START + after;
            Some(decided(decision, state.agent.as_ref().map(AgentId::as_str), None, second, Some(state)))
        }
    };
    told.into_iter().filter_map(as_fact).collect()
}

fn facts(most: usize) -> impl Strategy<Value = Vec<Fact>> {
    let told = move |hours| prop::collection::vec(any_told(hours), 2..most);
    let told = prop_oneof![3 => told(90), 1 => told(1)];
    told.prop_map(as_facts).prop_filter("no facts", |facts| !facts.is_empty())
}

/// Merges what has one key, keeping each key's order, as partitions that are read at other speeds would.
fn interleaved(facts: &[Fact], choices: &[usize]) -> Vec<Fact> {
    let mut queues: BTreeMap<String, std::collections::VecDeque<Fact>> = BTreeMap::new();
    for fact in facts {
        queues.entry(fact.key()).or_default().push_back(fact.clone());
    }
    let mut out = Vec::with_capacity(facts.len());
    let mut choices = choices.iter().cycle();
    while !queues.is_empty() {
        let at = choices.next().copied().unwrap_or(0) % queues.len();
        let key = queues.keys().nth(at).cloned().unwrap();
        let queue = queues.get_mut(&key).unwrap();
        out.extend(queue.pop_front());
        if queue.is_empty() {
            queues.remove(&key);
        }
    }
    out
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn however_partitions_interleave_the_board_is_one(
        facts in facts(160),
        choices in prop::collection::vec(0_usize..1000, 1..40),
    ) {
        let one = folded(&facts);
        let other = folded(&interleaved(&facts, &choices));
        prop_assert!(one.visible() == other.visible(), "{:?} and {:?}", one.visible(), other.visible());
    }

    #[test]
    fn repeats_are_absorbed(
        facts in facts(120),
        repeats in prop::collection::vec((0_usize..120, 0_usize..12, 0_i64..4000), 0..40),
    ) {
        let mut repeated = Vec::new();
        for (at, fact) in facts.iter().enumerate() {
            repeated.push(fact.clone());
            // A repeat comes soon after, as a provider's retry does.
            for (of, after, later) in &repeats {
                if of + after == at && *of < facts.len() {
                    let mut again = facts[*of].clone();
                    again.received_at = ReceivedAt::from_micros(again.received_at.micros() + later * 1_000_000);
                    repeated.push(again);
                }
            }
        }
        // That a producer was heard again is news of it, and of nothing else.
        let but_producers = |board: &Board| -> Vec<(String, String)> {
            let values = board.visible().iter().filter(|(path, _)| !path.starts_with(PRODUCERS));
            values.map(|(path, json)| (path.to_owned(), json.to_owned())).collect()
        };
        prop_assert!(but_producers(&folded(&facts)) == but_producers(&folded(&repeated)));
    }

    #[test]
    fn deltas_replayed_on_a_copy_give_the_board_and_its_root_in_any_cut(
        facts in facts(120),
        cut in 1_usize..20,
    ) {
        let mut board = board();
        let mut copy = board.visible().clone();
        for batch in facts.chunks(cut) {
            let steps: Vec<_> = batch.iter().flat_map(|fact| board.apply(fact)).collect();
            for change in merge(steps) {
                copy.apply(&change);
                copy.apply(&change);
            }
            prop_assert_eq!(copy.root(), board.root());
        }
        prop_assert!(&copy == board.visible());
        prop_assert_eq!(board.root(), folded(&facts).root());
    }

    #[test]
    fn a_board_that_is_stored_and_restored_goes_on_as_if_nothing_had_been(
        facts in facts(120),
        at in 0_usize..120,
    ) {
        let at = at % facts.len();
        let first = folded(&facts[..at]);
        let agents: Vec<(AgentId, String)> =
            first.agents.keys().map(|agent| (agent.clone(), first.agent_memory(agent).unwrap())).collect();
        let calls: Vec<(CallId, String)> =
            first.calls.ids().map(|call| (call.clone(), first.call_memory(call).unwrap())).collect();
        let mut second = Board::restore(
            first.workspace.clone(),
            first.settings.clone(),
            first.heard().clone(),
            agents.iter().map(|(agent, memory)| (agent.clone(), memory.as_str())),
            calls.iter().map(|(call, memory)| (call.clone(), memory.as_str())),
        ).unwrap();
        prop_assert!(first.visible() == second.visible());
        for fact in &facts[at..] {
            second.apply(fact);
        }
        prop_assert!(second.visible() == folded(&facts).visible());
    }

    /// The live number is the report's number: the board shows what the rows of the read models say, given that facts come
    /// no later than a few others (an agent's tail is bounded).
    #[test]
    fn the_board_says_what_the_read_models_say(
        facts in facts(160),
        late in prop::collection::vec(0_i64..4 * 3600, 160),
    ) {
        let mut told: Vec<(Fact, i64)> = facts.into_iter().zip(late).collect();
        let states = || told.iter().filter(|(fact, _)| matches!(fact.body, Body::AgentStateChanged(_)));
        let moments = || states().map(|(fact, _)| fact.occurred_at.millis());
        // No later than a few others: in a short story those follow each other sooner.
        let hours = (moments().max().unwrap_or(0) - moments().min().unwrap_or(0)) / 3_600_000 + 1;
        told.sort_by_key(|(fact, late)| fact.received_at.micros() + late * 1_000_000 * hours / 91);
        let facts: Vec<Fact> = told.into_iter().map(|(fact, _)| fact).collect();
        let settings = Settings::default();
        let board = folded(&facts);
        prop_assume!(board.watermark().is_some());
        let reached = board.heard().reached;
        let is_here = |row: &CallRow| Some(row.started_at) <= reached;
        let mut all = WorkspaceFold::new(board.workspace.clone(), settings.clone());
        for (arrival, fact) in facts.iter().enumerate() {
            all.apply(fact, i64::try_from(arrival).unwrap());
        }
        let rows = all.rows();
        for row in &rows.agents {
            let card = board.agent_card(&row.agent).unwrap();
            prop_assert_eq!(card.state, row.state);
            prop_assert_eq!(card.since, row.since.to_rfc3339());
            prop_assert_eq!(card.reason, row.reason.clone());
            prop_assert_eq!(card.call_id, row.call.clone());
            prop_assert_eq!(card.presumed, row.presumed);
        }
        prop_assert_eq!(board.visible().collection(AGENTS).len(), rows.agents.len());
        let now = board.watermark().unwrap().occurred_at;
        let day = settings.day_of(now);
        let is_shown = |row: &&CallRow| {
            let lately = |ended: OccurredAt| row.presumed && now.millis() - ended.millis() < SHOWN_MILLIS;
            is_here(row) && settings.day_of(row.started_at) >= day - 1 && row.ended_at.is_none_or(lately)
        };
        let shown: Vec<&CallRow> = rows.calls.iter().filter(is_shown).collect();
        prop_assert_eq!(board.visible().collection(CALLS).len(), shown.len());
        for row in shown {
            let card = call_card(&board, row.call.as_str()).unwrap();
            prop_assert_eq!(card.presumed, row.ended_at.is_some());
            let waits = row.ended_at.is_none() && row.answered_at.is_none() && row.counts_as_inbound();
            prop_assert_eq!(board.visible().get(&format!("waiting/{}", row.call)).is_some(), waits);
        }
        let offered: Vec<&CallRow> = rows
            .calls
            .iter()
            .filter(|row| is_here(row) && row.counts_as_inbound() && settings.day_of(row.started_at) == day)
            .collect();
        let count = |counts: &dyn Fn(&CallRow) -> bool| {
            i64::try_from(offered.iter().filter(|row| counts(row)).count()).unwrap()
        };
        let today = board.today();
        prop_assert_eq!(today.offered, count(&|_| true));
        prop_assert_eq!(today.answered, count(&|row| row.outcome == Outcome::Answered));
        prop_assert_eq!(today.missed, count(&|row| row.outcome == Outcome::Missed));
        prop_assert_eq!(today.short_abandoned, count(&|row| row.outcome == Outcome::ShortAbandon));
        let in_time = |row: &CallRow| {
            row.outcome == Outcome::Answered
                && row.wait_seconds.is_some_and(|seconds| seconds <= settings.service_level_seconds)
        };
        prop_assert_eq!(today.service_level.answered_within, count(&in_time));
        prop_assert_eq!(
            today.service_level.denominator,
            count(&|row| matches!(row.outcome, Outcome::Answered | Outcome::Missed))
        );
        let remembered: BTreeMap<_, _> = rows
            .calls
            .iter()
            .map(|row| (row.call.clone(), is_here(row) && settings.day_of(row.started_at) >= day - 1))
            .collect();
        let open = rows.missed_calls.iter().filter(|row| row.closing.is_none() && remembered[&row.call]).count();
        prop_assert_eq!(open_missed(&board), open.to_string());
        prop_assert_eq!(today.offered, today.answered + today.missed + today.short_abandoned + today.in_progress);
        prop_assert!(board.visible().get(TODAY).is_some());
    }
}
