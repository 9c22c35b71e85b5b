//! Call events (ozonetel.md section 2): `Calling`, `Answered`, `Disconnect`, and words we do not know.

use helix_schemas::{
    fact::{Body, CallAnswered, CallEnded, CallParty, CallRang, Direction, Unknown},
    id::NaturalKey,
    names::{CallId, Did, LegId},
};

use super::{
    Context, Event, Normalised, PROVIDER, Rejection, agent_id, did,
    fields::Fields,
    guide,
    noticed::{Notes, Place},
};

/// Who called whom, from `call_type` or `Type`; `None` for a word we do not know.
pub(super) fn direction(call_type: Option<&str>) -> Option<Direction> {
    let folded: String =
        call_type?.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match folded.as_str() {
        "inbound" => Some(Direction::Inbound),
        "manual" | "progressive" | "preview" | "predictive" | "outbound" | "click2call" | "clicktocall" => {
            Some(Direction::Outbound)
        }
        _ => None,
    }
}

/// The leg and the call; a call that has no id of its own is its leg. `0` is no id: it would make one call of many.
pub(super) fn call_ids(data: &Fields<'_>) -> Result<(Option<LegId>, Option<CallId>), Rejection> {
    let leg = call_id(data, "ucid").map(|text| LegId::new(&text)).transpose().map_err(|_| Rejection::CallIdInvalid)?;
    let call = call_id(data, "monitorucid").map(|text| CallId::new(&text)).transpose();
    let call = match (call.map_err(|_| Rejection::CallIdInvalid)?, &leg) {
        (None, Some(leg)) => CallId::new(leg.as_str()).ok(),
        (call, _) => call,
    };
    Ok((leg, call))
}

fn call_id(data: &Fields<'_>, name: &'static str) -> Option<String> {
    data.id(name).filter(|text| text != "0")
}

/// Whether an event says which call it is of.
pub(super) fn names_call(data: &Fields<'_>) -> bool {
    call_id(data, "monitorucid").or_else(|| call_id(data, "ucid")).is_some()
}

pub(super) fn normalise(event: &Event<'_>, context: &Context) -> Result<Normalised, Rejection> {
    let data = &event.data;
    let (leg, call) = call_ids(data)?;
    let call = call.ok_or(Rejection::CallIdMissing)?;
    let agent = agent_id(data.id("agentid"))?;
    let account = event.account();
    let action = data.text("action").unwrap_or_default();
    let word = action.to_ascii_lowercase();
    let time = data.first_text(&["event_time", "eventtime"]);
    let content = event.content();
    let (occurred_at, occurred_at_from) = event.moment(time.as_deref(), context);
    let id = NaturalKey::new(PROVIDER, &account, "call")
        .field(&call_id(data, "monitorucid").unwrap_or_default())
        .field(leg.as_ref().map_or("", LegId::as_str))
        .field(&word)
        .field(agent.as_ref().map_or("", |agent| agent.as_str()))
        .field(event.when(time.as_deref(), occurred_at_from, &content))
        .id();
    let call_type = data.first_text(&["calltype", "type"]);
    let dialled = data.id("did");
    let party = CallParty {
        direction: direction(call_type.as_deref()),
        call_type,
        caller: data.id("callerid"),
        did: dialled.clone(),
        skill: data.first_text(&["skill", "skillname"]),
        campaign: data.first_text(&["campaignname", "campaign"]),
        agent_phone: data.first_text(&["agentnumber", "agentphonenumber"]),
    };
    let mut notes = Notes::default();
    event.note(&mut notes, time.as_deref(), occurred_at_from);
    notes.call_fields(data, event.flat);
    notes.required(Place::CallAction, Some(action.as_str()).filter(|word| !word.is_empty()), &guide::CALL_ACTIONS);
    notes.word(Place::CallType, party.call_type.as_deref(), &guide::CALL_TYPES);
    if word == "calling" && leg.as_ref().is_some_and(|leg| leg.as_str() != call.as_str()) {
        notes.note(Place::CallLeg, "other_leg");
    }
    let body = match word.as_str() {
        "calling" => Body::CallRang(CallRang { party }),
        "answered" => Body::CallAnswered(CallAnswered { party }),
        "disconnect" => Body::CallEnded(CallEnded { party, hangup_by: data.text("hangupby") }),
        _ => Body::Unknown(Unknown {
            event: "call".to_owned(),
            word: action,
            mode: None,
            agent_name: None,
            party: Some(party),
        }),
    };
    let did = did(dialled.as_deref());
    notes.did(dialled.as_deref(), did.as_ref().map(Did::as_str));
    Ok(Normalised {
        id,
        account,
        agent,
        call: Some(call),
        leg,
        did,
        occurred_at,
        occurred_at_from,
        body,
        content,
        noticed: notes.into_noticed(),
    })
}
