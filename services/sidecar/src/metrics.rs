//! Metrics of the sidecar. Labels: the workspace, and words from fixed lists.

use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};

/// Clients on the event stream, with its limit beside it.
pub(crate) const CLIENTS: &str = "helix_sidecar_event_clients";
const CLIENTS_LIMIT: &str = "helix_sidecar_event_clients_limit";
const ENDED: &str = "helix_sidecar_event_streams_ended_total";
const FRAMES: &str = "helix_sidecar_frames_total";
const STALE: &str = "helix_sidecar_board_stale";
const LOGINS: &str = "helix_sidecar_logins_total";
const ACTIONS: &str = "helix_sidecar_actions_total";
const AUDITS: &str = "helix_sidecar_audits_total";
const AUDITS_WAITING: &str = "helix_sidecar_audits_waiting";
const AUDITS_LIMIT: &str = "helix_sidecar_audits_waiting_limit";
const JOURNAL_USABLE: &str = "helix_sidecar_audit_journal_usable";
const JOURNAL_REPAIRS: &str = "helix_sidecar_audit_journal_repairs_total";
const PLATFORM_FETCHES: &str = "helix_sidecar_platform_key_fetches_total";
const PLATFORM_FAILING: &str = "helix_sidecar_platform_keys_failing";

/// Describes all of them, and sets what never changes.
pub(crate) fn describe(workspace: &str, clients_limit: usize, audits_limit: usize) {
    describe_gauge!(CLIENTS, Unit::Count, "clients on the event stream");
    describe_gauge!(CLIENTS_LIMIT, Unit::Count, "how many clients the event stream takes");
    describe_counter!(ENDED, Unit::Count, "event streams that ended, by reason");
    describe_counter!(FRAMES, Unit::Count, "frames published to event streams, by kind");
    describe_gauge!(STALE, Unit::Count, "1 while the board is stale for that reason");
    describe_counter!(LOGINS, Unit::Count, "sign-ins with a password, by outcome");
    describe_counter!(ACTIONS, Unit::Count, "actions on missed calls, by what came of them");
    describe_counter!(AUDITS, Unit::Count, "audit facts, by what became of them");
    describe_gauge!(AUDITS_WAITING, Unit::Count, "audit facts that wait for the log");
    describe_gauge!(
        AUDITS_LIMIT,
        Unit::Count,
        "how many may wait; beyond it what would have to be written down is refused"
    );
    describe_gauge!(JOURNAL_USABLE, Unit::Count, "1 while audit facts can be kept on this machine's disk");
    describe_counter!(JOURNAL_REPAIRS, Unit::Count, "how often a journal was opened that nobody had closed");
    describe_counter!(PLATFORM_FETCHES, Unit::Count, "fetches of the platform's key set, by outcome");
    describe_gauge!(PLATFORM_FAILING, Unit::Count, "1 while the platform's key set cannot be fetched");
    gauge!(AUDITS_LIMIT, "workspace" => workspace.to_owned())
        .set(f64::from(u32::try_from(audits_limit).unwrap_or(u32::MAX)));
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
    frames(workspace, kind, 1);
}

/// Several of a kind: 0 of them still makes the kind known.
pub(crate) fn frames(workspace: &str, kind: &'static str, count: u64) {
    counter!(FRAMES, "workspace" => workspace.to_owned(), "kind" => kind).increment(count);
}

pub(crate) fn stale(workspace: &str, reason: &'static str, is_stale: bool) {
    gauge!(STALE, "workspace" => workspace.to_owned(), "reason" => reason).set(if is_stale { 1.0 } else { 0.0 });
}

pub(crate) fn login(workspace: &str, outcome: &'static str) {
    counter!(LOGINS, "workspace" => workspace.to_owned(), "outcome" => outcome).increment(1);
}

/// `outcome`: `done`, or the code of the problem.
pub(crate) fn acted(workspace: &str, action: &'static str, outcome: &'static str) {
    counter!(ACTIONS, "workspace" => workspace.to_owned(), "action" => action, "outcome" => outcome).increment(1);
}

pub(crate) fn audited(workspace: &str, outcome: &'static str) {
    counter!(AUDITS, "workspace" => workspace.to_owned(), "outcome" => outcome).increment(1);
}

pub(crate) fn audits_waiting(workspace: &str, count: usize) {
    gauge!(AUDITS_WAITING, "workspace" => workspace.to_owned())
        .set(f64::from(u32::try_from(count).unwrap_or(u32::MAX)));
}

pub(crate) fn audit_journal(workspace: &str, is_usable: bool, repairs: u64) {
    gauge!(JOURNAL_USABLE, "workspace" => workspace.to_owned()).set(if is_usable { 1.0 } else { 0.0 });
    counter!(JOURNAL_REPAIRS, "workspace" => workspace.to_owned()).absolute(repairs);
}

pub(crate) fn platform_keys(workspace: &str, is_fetched: bool) {
    let outcome = if is_fetched { "fetched" } else { "failed" };
    counter!(PLATFORM_FETCHES, "workspace" => workspace.to_owned(), "outcome" => outcome).increment(1);
    gauge!(PLATFORM_FAILING, "workspace" => workspace.to_owned()).set(if is_fetched { 0.0 } else { 1.0 });
}
