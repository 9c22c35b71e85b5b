//! Agent events (ozonetel.md 1.3, 1.4). The mapping of actions to states is contract.md's ("Board").

use helix_schemas::{
    fact::{AgentState, AgentStateChanged, AgentStateWord, Body, Unknown},
    id::NaturalKey,
    names::Did,
};

use super::{
    Context, Event, Normalised, PROVIDER, Rejection, agent_id, did, guide,
    noticed::{Notes, Place},
};

/// The reason of the pause that follows a login.
const SIGNED_IN: &str = "signed_in";

/// Where a pause reason has been seen or may be: the provider's key for it was not found publicly.
const REASON_KEYS: [&str; 5] = ["pausereason", "reason", "auxreason", "auxcode", "breakreason"];

/// The state an action means, any letter case; `None` for a word we do not know.
fn state_of(action: &str) -> Option<AgentState> {
    match action.to_ascii_lowercase().as_str() {
        "login" | "aux" | "pause" => Some(AgentState::Paused),
        "release" | "ready" | "idle" => Some(AgentState::Ready),
        "calling" => Some(AgentState::Ringing),
        "incall" => Some(AgentState::OnCall),
        "acw" => Some(AgentState::WrapUp),
        "logout" => Some(AgentState::Offline),
        _ => None,
    }
}

pub(super) fn normalise(event: &Event<'_>, context: &Context) -> Result<Normalised, Rejection> {
    let agent = agent_id(event.data.id("agentid"))?.ok_or(Rejection::AgentIdMissing)?;
    let account = event.account();
    let action = event.data.text("action").unwrap_or_default();
    let time = event.data.first_text(&["event_time", "eventtime"]);
    let content = event.content();
    let (occurred_at, occurred_at_from) = event.moment(time.as_deref(), context);
    let when = event.when(time.as_deref(), occurred_at_from, &content);
    let id = NaturalKey::new(PROVIDER, &account, "agent")
        .field(agent.as_str())
        .field(&action.to_ascii_lowercase())
        .field(when)
        .id();
    let mode = event.data.text("agentmode");
    let agent_name = event.data.text("agentname");
    let mut notes = Notes::default();
    notes.required(Place::AgentAction, Some(action.as_str()).filter(|word| !word.is_empty()), &guide::AGENT_ACTIONS);
    notes.word(Place::AgentMode, mode.as_deref(), &guide::AGENT_MODES);
    let body = match state_of(&action) {
        None => Body::Unknown(Unknown { event: "agent".to_owned(), word: action, mode, agent_name, party: None }),
        Some(state) => Body::AgentStateChanged(AgentStateChanged {
            reason: if action.eq_ignore_ascii_case("login") {
                Some(SIGNED_IN.to_owned())
            } else if state == AgentState::Paused {
                event.data.first_text(&REASON_KEYS)
            } else {
                None
            },
            state: AgentStateWord(state),
            action,
            mode,
            agent_name,
            // Sic: the provider's own spelling comes first.
            agent_unique_id: event.data.first_text(&["agentuniqeid", "agentuniqueid"]),
        }),
    };
    let dialled = event.data.id("did");
    let did = did(dialled.as_deref());
    event.note(&mut notes, time.as_deref(), occurred_at_from);
    notes.agent_fields(&event.data, event.flat);
    notes.did(dialled.as_deref(), did.as_ref().map(Did::as_str));
    Ok(Normalised {
        id,
        account,
        agent: Some(agent),
        call: None,
        leg: None,
        did,
        occurred_at,
        occurred_at_from,
        body,
        content,
        noticed: notes.into_noticed(),
    })
}
