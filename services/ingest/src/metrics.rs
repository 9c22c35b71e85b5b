//! The catalogue of what ingest counts. Units are in the names; labels are bounded: workspaces are those of the
//! directory or configuration, kinds and codes are closed lists, and no word from a body is ever a label.

use std::time::Instant;

use helix_schemas::{fact::Kind, names::WorkspaceId};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

const ACCEPTED: &str = "helix_ingest_accepted_total";
const UNROUTED: &str = "helix_ingest_unrouted_total";
const REJECTED: &str = "helix_ingest_rejected_total";
const DUPLICATES: &str = "helix_ingest_duplicates_total";
const CONFLICTS: &str = "helix_ingest_conflicts_total";
const UNKNOWN_WORDS: &str = "helix_ingest_unknown_words_total";
const REFUSED: &str = "helix_ingest_refused_total";
const FAILED: &str = "helix_ingest_publish_failures_total";
const ACK_SECONDS: &str = "helix_ingest_ack_seconds";
const QUEUE_MESSAGES: &str = "helix_ingest_producer_queue_messages";
const QUEUE_MESSAGES_LIMIT: &str = "helix_ingest_producer_queue_messages_limit";
const QUEUE_BYTES: &str = "helix_ingest_producer_queue_bytes";
const QUEUE_BYTES_LIMIT: &str = "helix_ingest_producer_queue_bytes_limit";
const RECENT: &str = "helix_ingest_recent_ids";
const RECENT_LIMIT: &str = "helix_ingest_recent_ids_limit";
const DIRECTORY_ENTRIES: &str = "helix_ingest_directory_entries";
const DIRECTORY_OFFSET: &str = "helix_ingest_directory_next_offset";
const DIRECTORY_UNREADABLE: &str = "helix_ingest_directory_unreadable_total";

/// Gives every metric its unit and description.
pub fn describe() {
    describe_counter!(ACCEPTED, Unit::Count, "Events stored as facts and acknowledged, by workspace and kind");
    describe_counter!(UNROUTED, Unit::Count, "Events set aside without a workspace, by reason and kind");
    describe_counter!(REJECTED, Unit::Count, "Bodies or events kept in telephony.rejected, by workspace and code");
    describe_counter!(DUPLICATES, Unit::Count, "Repeats recognised and not appended again, by workspace and kind");
    describe_counter!(CONFLICTS, Unit::Count, "Different contents under one id, both appended, by workspace and kind");
    describe_counter!(UNKNOWN_WORDS, Unit::Count, "Events of a word not known here, by the type of event");
    describe_counter!(
        REFUSED,
        Unit::Count,
        "Requests refused before their events were read, by code and whether the bytes were kept"
    );
    describe_counter!(FAILED, Unit::Count, "Publishes that failed, by reason: full queue, or perhaps written");
    describe_histogram!(
        ACK_SECONDS,
        Unit::Seconds,
        "Enqueue to acknowledgement by every in-sync replica, by outcome; abandoned waits too"
    );
    describe_gauge!(QUEUE_MESSAGES, Unit::Count, "Messages in the producer's queue");
    describe_gauge!(QUEUE_MESSAGES_LIMIT, Unit::Count, "Most messages the producer's queue holds");
    describe_gauge!(QUEUE_BYTES, Unit::Bytes, "Bytes in the producer's queue");
    describe_gauge!(QUEUE_BYTES_LIMIT, Unit::Bytes, "Most bytes the producer's queue holds");
    describe_gauge!(RECENT, Unit::Count, "Ids remembered to recognise repeats");
    describe_gauge!(RECENT_LIMIT, Unit::Count, "Most ids remembered");
    describe_gauge!(DIRECTORY_ENTRIES, Unit::Count, "Entries of the directory, by kind");
    describe_gauge!(DIRECTORY_OFFSET, Unit::Count, "Next offset of the directory topic to be read");
    describe_counter!(
        DIRECTORY_UNREADABLE,
        Unit::Count,
        "Directory records that could not be decoded and were passed over"
    );
}

fn workspace_label(workspace: Option<&WorkspaceId>) -> String {
    workspace.map_or_else(String::new, |workspace| workspace.as_str().to_owned())
}

pub(crate) fn accepted(workspace: &WorkspaceId, kind: Kind) {
    counter!(ACCEPTED, "workspace" => workspace.as_str().to_owned(), "kind" => kind.as_str()).increment(1);
}

pub(crate) fn unrouted(reason: &'static str, kind: Kind) {
    counter!(UNROUTED, "reason" => reason, "kind" => kind.as_str()).increment(1);
}

pub(crate) fn rejected(workspace: Option<&WorkspaceId>, code: &'static str) {
    counter!(REJECTED, "workspace" => workspace_label(workspace), "code" => code).increment(1);
}

pub(crate) fn duplicate(workspace: Option<&WorkspaceId>, kind: Kind) {
    counter!(DUPLICATES, "workspace" => workspace_label(workspace), "kind" => kind.as_str()).increment(1);
}

pub(crate) fn conflict(workspace: Option<&WorkspaceId>, kind: Kind) {
    counter!(CONFLICTS, "workspace" => workspace_label(workspace), "kind" => kind.as_str()).increment(1);
}

/// `event` is `agent`, `call` or anything else, which counts as `other`.
pub(crate) fn unknown_word(event: &str) {
    let event = match event {
        "agent" => "agent",
        "call" => "call",
        _ => "other",
    };
    counter!(UNKNOWN_WORDS, "event" => event).increment(1);
}

pub(crate) fn refused(code: &'static str, kept: bool) {
    counter!(REFUSED, "code" => code, "kept" => if kept { "yes" } else { "no" }).increment(1);
}

pub(crate) fn publish_failed(reason: &'static str) {
    counter!(FAILED, "reason" => reason).increment(1);
}

pub(crate) fn queue(messages: u64, messages_limit: u64, bytes: u64, bytes_limit: u64) {
    // Gauges are floats by the metrics facade; nothing of this is stored.
    gauge!(QUEUE_MESSAGES).set(messages as f64);
    gauge!(QUEUE_MESSAGES_LIMIT).set(messages_limit as f64);
    gauge!(QUEUE_BYTES).set(bytes as f64);
    gauge!(QUEUE_BYTES_LIMIT).set(bytes_limit as f64);
}

pub(crate) fn recent(held: usize, limit: usize) {
    gauge!(RECENT).set(held as f64);
    gauge!(RECENT_LIMIT).set(limit as f64);
}

pub(crate) fn directory(workspaces: usize, agents: usize, dids: usize, next_offset: i64) {
    gauge!(DIRECTORY_ENTRIES, "entry" => "workspace").set(workspaces as f64);
    gauge!(DIRECTORY_ENTRIES, "entry" => "agent").set(agents as f64);
    gauge!(DIRECTORY_ENTRIES, "entry" => "did").set(dids as f64);
    gauge!(DIRECTORY_OFFSET).set(next_offset as f64);
}

pub(crate) fn directory_unreadable() {
    counter!(DIRECTORY_UNREADABLE).increment(1);
}

/// Times one wait for an acknowledgement. A wait that is given up is recorded as `cancelled` when this is dropped.
pub(crate) struct AckTimer {
    begun: Instant,
    outcome: &'static str,
}

impl AckTimer {
    pub(crate) fn start() -> Self {
        Self { begun: Instant::now(), outcome: "cancelled" }
    }

    pub(crate) fn done(mut self, acknowledged: bool) {
        self.outcome = if acknowledged { "acknowledged" } else { "failed" };
    }
}

impl Drop for AckTimer {
    fn drop(&mut self) {
        histogram!(ACK_SECONDS, "outcome" => self.outcome).record(self.begun.elapsed().as_secs_f64());
    }
}
