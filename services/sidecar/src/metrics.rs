//! Metrics of the sidecar. Labels: the workspace, and words from fixed lists.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Clients on the event stream, with its limit beside it.
pub(crate) const CLIENTS: &str = "helix_sidecar_event_clients";
const CLIENTS_LIMIT: &str = "helix_sidecar_event_clients_limit";
const ENDED: &str = "helix_sidecar_event_streams_ended_total";
const FRAMES: &str = "helix_sidecar_frames_total";
const STALE: &str = "helix_sidecar_board_stale";
const LOGINS: &str = "helix_sidecar_logins_total";

/// Describes all of them, and sets what never changes.
pub(crate) fn describe(workspace: &str, clients_limit: usize) {
    describe_gauge!(CLIENTS, Unit::Count, "clients on the event stream");
    describe_gauge!(CLIENTS_LIMIT, Unit::Count, "how many clients the event stream takes");
    describe_counter!(ENDED, Unit::Count, "event streams that ended, by reason");
    describe_counter!(FRAMES, Unit::Count, "frames published to event streams, by kind");
    describe_gauge!(STALE, Unit::Count, "1 while the board is stale for that reason");
    describe_counter!(LOGINS, Unit::Count, "sign-ins with a password, by outcome");
    gauge!(CLIENTS_LIMIT, "workspace" => workspace.to_owned())
        .set(f64::from(u32::try_from(clients_limit).unwrap_or(u32::MAX)));
}

pub(crate) fn clients(workspace: &str, count: usize) {
    gauge!(CLIENTS, "workspace" => workspace.to_owned()).set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn ended(workspace: &str, reason: &'static str) {
    counter!(ENDED, "workspace" => workspace.to_owned(), "reason" => reason).increment(1);
}

pub(crate) fn frame(workspace: &str, kind: &'static str) {
    counter!(FRAMES, "workspace" => workspace.to_owned(), "kind" => kind).increment(1);
}

pub(crate) fn stale(workspace: &str, reason: &'static str, is_stale: bool) {
    gauge!(STALE, "workspace" => workspace.to_owned(), "reason" => reason).set(if is_stale { 1.0 } else { 0.0 });
}

pub(crate) fn login(workspace: &str, outcome: &'static str) {
    counter!(LOGINS, "workspace" => workspace.to_owned(), "outcome" => outcome).increment(1);
}
