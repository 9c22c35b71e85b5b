//! The callback after a call (ozonetel.md section 3): the provider's summary, with its chains and durations.
//!
//! `CallDuration` is the whole call and `Duration` the talk (3.5); both are kept as sent and the times derived.

use helix_schemas::{
    fact::{Body, CallParty, CallSummarised, ChainedAgent, OccurredAtFrom},
    id::NaturalKey,
    names::{AgentId, Did},
    time::OccurredAt,
};

use super::{
    Context, Event, Normalised, PROVIDER, Rejection,
    call::{call_ids, direction},
    did,
    fields::{self, Fields},
    guide,
    noticed::{Notes, Place},
    time,
};

/// Links a chain may have. A call goes through a handful of agents; more is garbage that would outgrow the log's
/// bound on a record.
const MAX_LINKS: usize = 1000;

/// What `Status` says; `None` where it is neither.
fn answered(status: Option<&str>) -> Option<bool> {
    let folded: String = status?.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    match folded.as_str() {
        "answered" => Some(true),
        "notanswered" | "unanswered" | "noanswer" | "missed" => Some(false),
        _ => None,
    }
}

/// When a call began, was answered and ended, as far as the summary can be believed.
struct Times {
    started_at: Option<OccurredAt>,
    answered_at: Option<OccurredAt>,
    ended_at: Option<OccurredAt>,
    /// By these times; `None` where there are none, or the end that was sent lies before the start: one of the two is wrong,
    /// and nobody knows which.
    occurred_at: Option<OccurredAt>,
}

fn later(at: OccurredAt, seconds: i32) -> OccurredAt {
    OccurredAt::from_millis(at.millis().saturating_add(i64::from(seconds) * 1000))
}

impl Times {
    fn of(data: &Fields<'_>, answered: Option<bool>, context: &Context) -> Self {
        let moment = |name| data.text(name).and_then(|text| time::moment(&text, context.zone));
        let seconds = |name| data.text(name).and_then(|text| time::seconds(&text));
        let (started_at, sent_end) = (moment("starttime"), moment("endtime"));
        let (ended_at, occurred_at) = match (started_at, sent_end) {
            (Some(start), Some(end)) if end < start => {
                (seconds("callduration").map(|length| later(start, length)), None)
            }
            (start, end) => (end, end.or(start)),
        };
        let answered_at = if answered == Some(true) {
            match (started_at, seconds("timetoanswer"), ended_at, seconds("duration")) {
                (Some(start), Some(wait), _, _) => Some(later(start, wait)),
                (_, _, Some(end), Some(talk)) => Some(later(end, talk.saturating_neg())),
                _ => None,
            }
        } else {
            None
        };
        Self { started_at, answered_at, ended_at, occurred_at }
    }
}

/// The chain `A -> B -> C` of several fields, aligned by index; links that name nobody are dropped at both ends.
fn agents(data: &Fields<'_>) -> Result<Vec<ChainedAgent>, Rejection> {
    let texts =
        ["agentid", "agentname", "agentphonenumber", "agentuniqueid", "agentstatus"].map(|name| data.text(name));
    let chains = texts.each_ref().map(|text| text.as_deref().map(fields::chain).unwrap_or_default());
    let [ids, names, phones, unique_ids, statuses] = &chains;
    let link = |chain: &Vec<Option<&str>>, index: usize| chain.get(index).copied().flatten().map(str::to_owned);
    let length = chains.iter().map(Vec::len).max().unwrap_or_default();
    if length > MAX_LINKS {
        return Err(Rejection::ChainTooLong);
    }
    let mut links = Vec::with_capacity(length);
    for index in 0..length {
        let id = link(ids, index).filter(|id| id != "0");
        links.push(ChainedAgent {
            agent: id.map(|id| AgentId::new(&id)).transpose().map_err(|_| Rejection::AgentIdInvalid)?,
            name: link(names, index),
            phone: link(phones, index),
            unique_id: link(unique_ids, index),
            status: link(statuses, index),
        });
    }
    let somebody = |link: &ChainedAgent| {
        link.agent.is_some() || link.name.is_some() || link.phone.is_some() || link.unique_id.is_some()
    };
    let Some(first) = links.iter().position(somebody) else {
        return Ok(Vec::new());
    };
    let last = links.iter().rposition(somebody).unwrap_or(first);
    links.truncate(last + 1);
    links.drain(..first);
    Ok(links)
}

/// What the guide does not know of a callback.
fn note(notes: &mut Notes, data: &Fields<'_>, context: &Context) {
    notes.callback_fields(data);
    for (place, name, known) in [
        (Place::CallbackType, "type", guide::CALLBACK_TYPES.as_slice()),
        (Place::CallbackStatus, "status", &guide::STATUSES),
        (Place::CallbackCustomerStatus, "customerstatus", &guide::CUSTOMER_STATUSES),
        (Place::CallbackHangupBy, "hangupby", &guide::HANGUPS),
        (Place::CallbackTransferType, "transfertype", &guide::TRANSFER_TYPES),
        (Place::CallbackCampaignStatus, "campaignstatus", &guide::CAMPAIGN_STATUSES),
        (Place::CallbackFallBackRule, "fallbackrule", &guide::FALL_BACK_RULES),
    ] {
        notes.word(place, data.text(name).as_deref(), known);
    }
    notes.links(Place::CallbackAgentStatus, data.text("agentstatus").as_deref(), &guide::AGENT_STATUSES);
    notes.links(Place::CallbackDialStatus, data.text("dialstatus").as_deref(), &guide::DIAL_STATUSES);
    for name in ["starttime", "endtime"] {
        let text = data.text(name);
        let read = text.as_deref().and_then(|text| time::moment(text, context.zone)).is_some();
        notes.unread(Place::Time, name, text.is_some(), read);
    }
    for name in ["timetoanswer", "callduration", "duration", "holdduration", "wrapupduration"] {
        let text = data.text(name);
        notes.unread(Place::Duration, name, text.is_some(), text.as_deref().and_then(time::seconds).is_some());
    }
}

pub(super) fn normalise(event: &Event<'_>, context: &Context) -> Result<Normalised, Rejection> {
    let data = &event.data;
    let (leg, call) = call_ids(data)?;
    let call = call.ok_or(Rejection::CallIdMissing)?;
    let account = event.account();
    let content = event.content();
    let agents = agents(data)?;
    // The handler of a call is the last who had it.
    let handler = agents.iter().rev().find(|link| link.agent.is_some());
    let agent = handler.and_then(|link| link.agent.clone());
    let phone = handler.or(agents.last()).and_then(|link| link.phone.clone());
    let status = data.text("status");
    let answered = answered(status.as_deref());
    let Times { started_at, answered_at, ended_at, occurred_at } = Times::of(data, answered, context);
    let (occurred_at, occurred_at_from) = match occurred_at {
        Some(at) => (at, OccurredAtFrom::Event),
        None => event.moment(None, context),
    };
    let call_type = data.first_text(&["type", "calltype"]);
    let dialled = data.id("did");
    let seconds = |name| data.text(name).and_then(|text| time::seconds(&text));
    let body = Body::CallSummarised(Box::new(CallSummarised {
        party: CallParty {
            direction: direction(call_type.as_deref()),
            call_type,
            caller: data.id("callerid"),
            did: dialled.clone(),
            skill: data.text("skill"),
            campaign: data.text("campaignname"),
            agent_phone: phone,
        },
        answered,
        status,
        started_at,
        answered_at,
        ended_at,
        call_seconds: seconds("callduration"),
        talk_seconds: seconds("duration"),
        hold_seconds: seconds("holdduration"),
        wrap_up_seconds: seconds("wrapupduration"),
        agents,
        disposition: data.text("disposition"),
        comments: data.first_text(&["comments", "comment"]),
        hangup_by: data.text("hangupby"),
        recording_url: data.text("audiofile"),
        transfer_type: data.text("transfertype"),
        transferred_to: data.text("transferredto"),
        dial_status: data.text("dialstatus"),
        customer_status: data.text("customerstatus"),
        location: data.text("location"),
        uui: data.text("uui"),
    }));
    let id = NaturalKey::new(PROVIDER, &account, "callback").field(call.as_str()).field(&content).id();
    let did = did(dialled.as_deref());
    let mut notes = Notes::default();
    note(&mut notes, data, context);
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
