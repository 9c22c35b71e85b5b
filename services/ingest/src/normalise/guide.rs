//! The words and field names that the guide to the provider (ozonetel.md) has, letter for letter and by section.
//!
//! Nothing is decided by these lists: a word that is not on one is kept like any other, and counted
//! ([`super::noticed`]), so that the first hour of live traffic shows what the guide does not know. What the
//! normaliser *understands* is in [`super::agent`], [`super::call`] and [`super::callback`].

/// 1.2: the envelope of both subscriptions.
pub(super) const ENVELOPE_FIELDS: [&str; 4] = ["eventType", "eventTime", "username", "data"];
/// 1.2: `eventType`.
pub(super) const EVENT_TYPES: [&str; 2] = ["Agent", "Call"];

/// 1.3: fields seen in an agent event. Sic, the first. What only one integrator's code reads is not among them.
pub(super) const AGENT_FIELDS: [&str; 5] = ["agentUniqeId", "action", "agentId", "agentMode", "eventTime"];
/// 1.3: call ids, of which an agent event was seen to have none. Folded, for [`crate::value::same_key`].
pub(super) const CALL_IDS: [&str; 3] = ["ucid", "monitorucid", "callid"];
/// 1.4: the vendor's list, as one integration quotes it.
pub(super) const AGENT_ACTIONS: [&str; 9] =
    ["login", "AUX", "release", "IDLE", "calling", "incall", "ACW", "pause", "logout"];
/// 1.5: `agentMode`, of which one was seen.
pub(super) const AGENT_MODES: [&str; 1] = ["INBOUND"];

/// 2: fields of a call event.
pub(super) const CALL_FIELDS: [&str; 10] = [
    "action",
    "call_type",
    "ucid",
    "monitor_ucid",
    "agent_id",
    "skill",
    "caller_id",
    "did",
    "agent_number",
    "event_time",
];
/// 2: `action` of a call event.
pub(super) const CALL_ACTIONS: [&str; 3] = ["Calling", "Answered", "Disconnect"];
/// 2: `call_type`; the vendor's list writes `InBound` and its example `Inbound`.
pub(super) const CALL_TYPES: [&str; 6] = ["Manual", "InBound", "Inbound", "Progressive", "Preview", "Predictive"];

/// 3.2: fields of a callback in every spelling that a source has.
pub(super) const CALLBACK_FIELDS: [&str; 43] = [
    "monitorUCID",
    "UUI",
    "Did",
    "dId",
    "DId",
    "DID",
    "did",
    "CampaignName",
    "CampaignStatus",
    "Location",
    "CallerID",
    "PhoneName",
    "Skill",
    "StartTime",
    "EndTime",
    "TimeToAnswer",
    "CallDuration",
    "Duration",
    "ConfDuration",
    "HoldDuration",
    "WrapUpDuration",
    "FallBackRule",
    "DialedNumber",
    "Type",
    "AgentID",
    "AgentName",
    "AgentPhoneNumber",
    "AgentUniqueID",
    "AgentStatus",
    "CustomerStatus",
    "DialStatus",
    "Status",
    "HangupBy",
    "TransferType",
    "TransferredTo",
    "Disposition",
    "Comments",
    "AudioFile",
    "CallerConfAudioFile",
    "Apikey",
    "UserName",
    "DataUniqueId",
    "AnswerTime",
];
/// 3.2: `Type`.
pub(super) const CALLBACK_TYPES: [&str; 9] =
    ["inbound", "InBound", "Inbound", "Manual", "manual", "Progressive", "Preview", "Predictive", "IVR"];
/// 3.2: `Status`.
pub(super) const STATUSES: [&str; 2] = ["Answered", "NotAnswered"];
/// 3.2: `AgentStatus`, link by link.
pub(super) const AGENT_STATUSES: [&str; 7] =
    ["answered", "not_answered", "NotDialed", "user_disconnected", "Answered", "NormalUnspecified", "InvalidNumber"];
/// 3.2: `CustomerStatus`. Sic, `SubcriberAbsent`.
pub(super) const CUSTOMER_STATUSES: [&str; 15] = [
    "answered",
    "not_answered",
    "InvalidNumber",
    "InvalidNumberFormat",
    "Congestion",
    "NoRouteDestination",
    "Dialing",
    "NoResponse",
    "ISDDisabled",
    "ring",
    "exception",
    "SubcriberAbsent",
    "Busy",
    "NormalUnspecified",
    "NotDialed",
];
/// 3.2: `DialStatus`, link by link.
pub(super) const DIAL_STATUSES: [&str; 12] = [
    "answered",
    "not_answered",
    "ring",
    "invalid_number",
    "exception",
    "DND",
    "agent_disconnect",
    "disconnect",
    "failed",
    "error",
    "QTimeExceeded",
    "Not Answered",
];
/// 3.2: `HangupBy`.
pub(super) const HANGUPS: [&str; 4] = ["UserHangup", "AgentHangup", "SystemHangup", "Agent Disconnect"];
/// 3.2: `TransferType`; no other value was found.
pub(super) const TRANSFER_TYPES: [&str; 1] = ["No Transfers"];
/// 3.2: `CampaignStatus`.
pub(super) const CAMPAIGN_STATUSES: [&str; 2] = ["ONLINE", "OFFLINE"];
/// 3.2: `FallBackRule`.
pub(super) const FALL_BACK_RULES: [&str; 2] = ["AgentDial", "Agent Dials"];
