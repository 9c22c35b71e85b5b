//! The board's laws, on hand-made facts: any cut, any repetition and any interleaving of partitions give one board.

use std::collections::BTreeMap;

use helix_schemas::{
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
    Board,
    document::{AGENTS, OPEN_MISSED_CALLS, TODAY},
    visible::{Visible, merge},
};
use crate::{settings::Settings, workspace::WorkspaceFold};

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

/// Facts of some days: each agent's in order of the provider's clock, now and then late.
fn any_fact() -> impl Strategy<Value = Fact> {
    let agents = prop::sample::select(vec!["a", "b", "c"]);
    let maybe = prop::option::weighted(0.6, prop::sample::select(vec!["a", "b", "c"]));
    // A call lives within its own hour, so that its facts lie within a day of each other.
    let call = (0_i64..90).prop_map(|number| (format!("c{number}"), number * 3600));
    let caller = prop::sample::select(vec!["111", "222", "333"]);
    let direction = prop::sample::select(vec![Direction::Inbound, Direction::Inbound, Direction::Outbound]);
    prop_oneof![
        3 => (agents.clone(), 0_i64..90 * 3600, prop::sample::select(AgentState::ALL.to_vec()), prop::option::of(Just("tea")))
            .prop_map(|(agent, second, word, reason)| state(agent, second / 900 * 900, word, reason)),
        3 => (call.clone(), maybe.clone(), 0_i64..200, caller, direction)
            .prop_map(|((call, start), agent, second, caller, direction)| rang(&call, agent, start + second, caller, direction)),
        2 => (call.clone(), agents, 0_i64..400).prop_map(|((call, start), agent, second)| answered(&call, agent, start + second)),
        2 => (call.clone(), maybe.clone(), 0_i64..900).prop_map(|((call, start), agent, second)| ended(&call, agent, start + second)),
        1 => (call, maybe, 60_i64..900, any::<bool>(), 0_i64..60)
            .prop_map(|((call, start), agent, second, answered, rang_for)| summarised(&call, agent, start + second, answered, rang_for)),
    ]
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
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn however_partitions_interleave_the_board_is_one(
        facts in prop::collection::vec(any_fact(), 1..160),
        choices in prop::collection::vec(0_usize..1000, 1..40),
    ) {
        let one = folded(&facts);
        let other = folded(&interleaved(&facts, &choices));
        prop_assert!(one.visible() == other.visible(), "{:?} and {:?}", one.visible(), other.visible());
    }

    #[test]
    fn repeats_are_absorbed(
        facts in prop::collection::vec(any_fact(), 1..120),
        repeats in prop::collection::vec((0_usize..120, 0_usize..12), 0..40),
    ) {
        let mut repeated = Vec::new();
        for (at, fact) in facts.iter().enumerate() {
            repeated.push(fact.clone());
            // A repeat comes soon after, as a provider's retry does.
            for (of, after) in &repeats {
                if of + after == at && *of < facts.len() {
                    repeated.push(facts[*of].clone());
                }
            }
        }
        let (one, other) = (folded(&facts), folded(&repeated));
        prop_assert!(one.visible() == other.visible());
    }

    #[test]
    fn deltas_replayed_on_a_copy_give_the_board_and_its_root_in_any_cut(
        facts in prop::collection::vec(any_fact(), 1..120),
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
        facts in prop::collection::vec(any_fact(), 2..120),
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
            first.settings,
            first.watermark,
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
        told in prop::collection::vec((any_fact(), 0_i64..4 * 3600), 1..160),
    ) {
        let mut told = told;
        told.sort_by_key(|(fact, late)| fact.occurred_at.millis() + late * 1000);
        let facts: Vec<Fact> = told.into_iter().map(|(fact, _)| fact).collect();
        let settings = Settings::default();
        let board = folded(&facts);
        let mut all = WorkspaceFold::new(board.workspace.clone(), settings);
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
        }
        prop_assert_eq!(board.visible().collection(AGENTS).len(), rows.agents.len());
        let day = settings.day_of(board.watermark().unwrap().occurred_at);
        let is_offered = |row: &&crate::call::CallRow| row.counts_as_inbound() && settings.day_of(row.started_at) == day;
        prop_assert_eq!(board.today().offered, i64::try_from(rows.calls.iter().filter(is_offered).count()).unwrap());
        let started: BTreeMap<_, _> = rows.calls.iter().map(|row| (row.call.clone(), settings.day_of(row.started_at))).collect();
        let open = rows.missed_calls.iter().filter(|row| row.closing.is_none() && started[&row.call] >= day - 1).count();
        prop_assert_eq!(open_missed(&board), open.to_string());
        let today = board.today();
        prop_assert_eq!(today.offered, today.answered + today.missed + today.short_abandoned + today.in_progress);
        prop_assert!(board.visible().get(TODAY).is_some());
    }
}
