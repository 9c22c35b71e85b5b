//! Every error of ingest over HTTP. Each code has a page in docs/errors; a test holds the two together.

use axum::http::StatusCode;
use helix_kit::problem::Problem;
use helix_schemas::id::FactId;
use serde_json::json;

use crate::{
    body::Unreadable, normalise::Rejection, outlet::Unplaced, publish::PublishError, registrar::RegistrarError,
};

/// Every code that ingest answers or stores, its own and kit's.
pub const CODES: [&str; 23] = [
    "agent_id_invalid",
    "agent_id_missing",
    "backpressure",
    "body_incomplete",
    "body_too_large",
    "body_unreadable",
    "call_id_invalid",
    "call_id_missing",
    "chain_too_long",
    "component_down",
    "deadline_exceeded",
    "directory_conflict",
    "event_not_an_object",
    "fact_not_writable",
    "log_unavailable",
    "no_such_method",
    "no_such_path",
    "not_registered",
    "rate_limited",
    "request_invalid",
    "source_not_allowed",
    "unauthorised",
    "unknown_workspace",
];

/// Adds the id under which the bytes are kept.
pub(super) fn kept(problem: Problem, id: Option<FactId>) -> Problem {
    match id {
        Some(id) => problem.with("rejectedId", id.to_string()),
        None => problem,
    }
}

pub(super) fn body_unreadable(why: Unreadable) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "body_unreadable", "The body cannot be read", why.to_string())
}

pub(super) fn rejected(why: Rejection) -> Problem {
    let title = match why {
        Rejection::AgentIdMissing => "The agent event names no agent",
        Rejection::AgentIdInvalid => "The agent id cannot be one",
        Rejection::CallIdMissing => "The event names no call",
        Rejection::CallIdInvalid => "The call id cannot be one",
        Rejection::ChainTooLong => "The callback names too many agents",
        Rejection::NotAnObject => "The event is not an object",
    };
    Problem::new(StatusCode::BAD_REQUEST, why.code(), title, why.to_string())
}

pub(super) fn fact_not_writable() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "fact_not_writable",
        "The event cannot be written as a fact",
        "the bytes are kept and can be redriven after a fix",
    )
}

pub(super) fn body_too_large(limit: usize) -> Problem {
    Problem::new(
        StatusCode::PAYLOAD_TOO_LARGE,
        "body_too_large",
        "The body is too large",
        format!("a body may have {limit} bytes; nothing of it was kept"),
    )
}

pub(super) fn body_incomplete() -> Problem {
    Problem::new(
        StatusCode::BAD_REQUEST,
        "body_incomplete",
        "The body broke off",
        "the connection ended before the body did; nothing of it was kept",
    )
}

pub(super) fn unauthorised() -> Problem {
    Problem::new(
        StatusCode::UNAUTHORIZED,
        "unauthorised",
        "The key is missing or wrong",
        "send the key as X-Helix-Key, ?key= or /k/{key}",
    )
}

pub(super) fn unknown_workspace() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "unknown_workspace",
        "There is no such workspace",
        "the path, the gateway's X-Helix-Workspace or the body names no workspace of this installation",
    )
}

pub(super) fn not_registered() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "not_registered",
        "The workspace is not registered",
        "register it before sending heartbeats",
    )
}

pub(super) fn request_invalid(why: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "request_invalid", "The request does not fit the contract", why)
}

pub(super) fn deadline_exceeded() -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        "deadline_exceeded",
        "The request took too long",
        "it is not known whether all of it was stored; send it again, repeats are recognised",
    )
    .retry_after(1)
}

pub(super) fn source_not_allowed() -> Problem {
    Problem::new(
        StatusCode::FORBIDDEN,
        "source_not_allowed",
        "This address may not post here",
        "the key is right; the address is none of those that are configured for it",
    )
}

pub(super) fn rate_limited(wait: std::time::Duration) -> Problem {
    let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
    Problem::new(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        "More events than the workspace may post",
        "nothing of this delivery was kept; send it again after Retry-After",
    )
    .retry_after(seconds)
}

/// Neither the log nor the spool: the log's word decides where there is no spool.
pub(super) fn unplaced(error: &Unplaced) -> Problem {
    publish(&error.log)
}

pub(super) fn publish(error: &PublishError) -> Problem {
    match error {
        PublishError::Backpressure => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "backpressure",
            "Too much is on its way to the log",
            "the producer's queue is full; send it again, repeats are recognised",
        )
        .retry_after(1),
        PublishError::NotAcknowledged { .. }
        | PublishError::Ended { .. }
        | PublishError::Late { .. }
        | PublishError::Down => Problem::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "log_unavailable",
            "The log did not acknowledge",
            "it is not known whether it was stored; send it again, repeats are recognised",
        )
        .retry_after(2),
    }
}

pub(super) fn registrar(error: &RegistrarError) -> Problem {
    match error {
        RegistrarError::Conflict { agents, dids } => Problem::new(
            StatusCode::CONFLICT,
            "directory_conflict",
            "Another workspace owns some of these",
            "nothing was changed; the owner must release them first",
        )
        .with("conflicts", json!({"agents": agents, "dids": dids})),
        RegistrarError::NotStarted => Problem::component_down("the schema registry"),
        RegistrarError::Behind => Problem::component_down("the directory"),
        RegistrarError::Publish(error) => publish(error),
        RegistrarError::Codec(_) => fact_not_writable(),
    }
}
