//! The catalogue of what ingest counts. Units are in the names; labels are bounded: workspaces are those of the
//! directory or configuration, kinds and codes are closed lists, and no word from a body is ever a label, but for those
//! of [`noticed`], which are few, plain and nobody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{PoisonError, RwLock},
    time::Instant,
};

use helix_schemas::{directory::EntryKind, fact::Kind, names::WorkspaceId};
use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::normalise::noticed::{Noticed, Place};

const ACCEPTED: &str = "helix_ingest_accepted_total";
const UNROUTED: &str = "helix_ingest_unrouted_total";
const REJECTED: &str = "helix_ingest_rejected_total";
const DUPLICATES: &str = "helix_ingest_duplicates_total";
const CONFLICTS: &str = "helix_ingest_conflicts_total";
const UNKNOWN_WORDS: &str = "helix_ingest_unknown_words_total";
const NOTICED: &str = "helix_ingest_noticed_total";
const SUMMARIES_CHANGED: &str = "helix_ingest_summaries_changed_total";
const REFUSED: &str = "helix_ingest_refused_total";
const FAILED: &str = "helix_ingest_publish_failures_total";
const ACK_SECONDS: &str = "helix_ingest_ack_seconds";
const QUEUE_MESSAGES: &str = "helix_ingest_producer_queue_messages";
const QUEUE_MESSAGES_LIMIT: &str = "helix_ingest_producer_queue_messages_limit";
const QUEUE_BYTES: &str = "helix_ingest_producer_queue_bytes";
const QUEUE_BYTES_LIMIT: &str = "helix_ingest_producer_queue_bytes_limit";
const RECENT: &str = "helix_ingest_recent_ids";
const RECENT_LIMIT: &str = "helix_ingest_recent_ids_limit";
const SPOOLING: &str = "helix_ingest_spooling";
const SPOOL_USABLE: &str = "helix_ingest_spool_usable";
const SPOOL_RECORDS: &str = "helix_ingest_spool_records";
const SPOOL_BYTES: &str = "helix_ingest_spool_bytes";
const SPOOL_LIMIT: &str = "helix_ingest_spool_limit_bytes";
const SPOOL_OLDEST: &str = "helix_ingest_spool_oldest_seconds";
const SPOOLED: &str = "helix_ingest_spooled_total";
const RATE_LIMITED: &str = "helix_ingest_rate_limited_total";
const DIRECTORY_ENTRIES: &str = "helix_ingest_directory_entries";
const DIRECTORY_OFFSET: &str = "helix_ingest_directory_next_offset";
const DIRECTORY_UNREADABLE: &str = "helix_ingest_directory_unreadable_total";
const DIRECTORY_CHANGES: &str = "helix_ingest_directory_changes_total";
const DIRECTORY_AUDIT_FAILED: &str = "helix_ingest_directory_audit_failures_total";
const UNROUTED_PENDING: &str = "helix_ingest_unrouted_pending";
const UNROUTED_OLDEST: &str = "helix_ingest_unrouted_oldest_seconds";
const REDRIVEN: &str = "helix_ingest_redriven_total";
const REDRIVE_FAILED: &str = "helix_ingest_redrive_failures_total";
const REDRIVE_UNREADABLE: &str = "helix_ingest_redrive_unreadable_total";

/// Gives every metric its unit and description.
pub fn describe() {
    describe_counter!(ACCEPTED, Unit::Count, "Events stored as facts and acknowledged, by workspace and kind");
    describe_counter!(UNROUTED, Unit::Count, "Events set aside without a workspace, by reason and kind");
    describe_counter!(REJECTED, Unit::Count, "Bodies or events kept in telephony.rejected, by workspace and code");
    describe_counter!(DUPLICATES, Unit::Count, "Repeats recognised and not appended again, by workspace and kind");
    describe_counter!(CONFLICTS, Unit::Count, "Different contents under one id, both appended, by workspace and kind");
    describe_counter!(
        SUMMARIES_CHANGED,
        Unit::Count,
        "Callbacks for a call that came again with other contents, by workspace"
    );
    describe_counter!(UNKNOWN_WORDS, Unit::Count, "Events of a word not known here, by the type of event");
    describe_counter!(
        NOTICED,
        Unit::Count,
        "What the provider sends and its guide does not know, by place and word; other where the word is not shown"
    );
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
    describe_gauge!(SPOOLING, Unit::Count, "1 while records go to the spool, 0 while they go to the log");
    describe_gauge!(SPOOL_USABLE, Unit::Count, "1 where the spool's file can be used, 0 where not");
    describe_gauge!(SPOOL_RECORDS, Unit::Count, "Records in the spool");
    describe_gauge!(SPOOL_BYTES, Unit::Bytes, "Bytes in the spool and on their way to it");
    describe_gauge!(SPOOL_LIMIT, Unit::Bytes, "Most bytes the spool holds");
    describe_gauge!(SPOOL_OLDEST, Unit::Seconds, "How long the spool's oldest record has been waiting for the log");
    describe_counter!(SPOOLED, Unit::Count, "Records kept in the spool instead of the log, by topic");
    describe_counter!(
        RATE_LIMITED,
        Unit::Count,
        "Deliveries refused for their rate, by workspace; empty for events without a known workspace"
    );
    describe_gauge!(DIRECTORY_ENTRIES, Unit::Count, "Entries of the directory, by kind");
    describe_gauge!(DIRECTORY_OFFSET, Unit::Count, "Next offset of the directory topic to be read");
    describe_counter!(
        DIRECTORY_UNREADABLE,
        Unit::Count,
        "Directory records that could not be decoded and were passed over"
    );
    describe_redrive();
}

fn describe_redrive() {
    describe_counter!(
        DIRECTORY_CHANGES,
        Unit::Count,
        "Entries claimed, released, or refused because another workspace owns them, by change and kind of entry"
    );
    describe_counter!(DIRECTORY_AUDIT_FAILED, Unit::Count, "Directory changes whose audit fact could not be appended");
    describe_gauge!(
        UNROUTED_PENDING,
        Unit::Count,
        "Unrouted events that are no facts yet, in the partitions of this instance, by why; due: about to be redriven"
    );
    describe_gauge!(
        UNROUTED_OLDEST,
        Unit::Seconds,
        "How long the oldest unrouted event of this instance's partitions has been waiting"
    );
    describe_counter!(REDRIVEN, Unit::Count, "Unrouted events that became facts, by workspace");
    describe_counter!(REDRIVE_FAILED, Unit::Count, "Passes of the redrive that broke off, to be tried again, by cause");
    describe_counter!(
        REDRIVE_UNREADABLE,
        Unit::Count,
        "Unrouted records that could not be decoded and were passed over"
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

pub(crate) fn summary_changed(workspace: Option<&WorkspaceId>) {
    counter!(SUMMARIES_CHANGED, "workspace" => workspace_label(workspace)).increment(1);
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

pub(crate) fn spooling(spooling: bool) {
    gauge!(SPOOLING).set(if spooling { 1.0 } else { 0.0 });
}

/// `now` in UTC microseconds.
pub(crate) fn spool(fill: &crate::outlet::Fill, now: i64) {
    gauge!(SPOOL_USABLE).set(if fill.fault.is_none() { 1.0 } else { 0.0 });
    gauge!(SPOOL_RECORDS).set(fill.records as f64);
    gauge!(SPOOL_BYTES).set(fill.bytes as f64);
    gauge!(SPOOL_LIMIT).set(fill.limit as f64);
    gauge!(SPOOL_OLDEST).set(fill.oldest.map_or(0, |oldest| (now - oldest).max(0) / 1_000_000) as f64);
}

pub(crate) fn spooled(topic: &'static str) {
    counter!(SPOOLED, "topic" => topic).increment(1);
}

pub(crate) fn rate_limited(workspace: Option<&WorkspaceId>) {
    counter!(RATE_LIMITED, "workspace" => workspace_label(workspace)).increment(1);
}

pub(crate) fn directory(workspaces: usize, agents: usize, dids: usize, next_offset: i64) {
    gauge!(DIRECTORY_ENTRIES, "entry" => "workspace").set(workspaces as f64);
    gauge!(DIRECTORY_ENTRIES, "entry" => "agent").set(agents as f64);
    gauge!(DIRECTORY_ENTRIES, "entry" => "did").set(dids as f64);
    gauge!(DIRECTORY_OFFSET).set(next_offset as f64);
}

pub(crate) fn directory_change(change: &'static str, entry: EntryKind) {
    counter!(DIRECTORY_CHANGES, "change" => change, "entry" => entry.as_str()).increment(1);
}

pub(crate) fn directory_audit_failed(count: usize) {
    counter!(DIRECTORY_AUDIT_FAILED).increment(u64::try_from(count).unwrap_or(u64::MAX));
}

/// `waiting` by reason; a reason that is not named has none.
pub(crate) fn unrouted_pending(waiting: &[(&'static str, usize)], oldest_seconds: i64) {
    for (reason, count) in waiting {
        gauge!(UNROUTED_PENDING, "reason" => *reason).set(*count as f64);
    }
    gauge!(UNROUTED_OLDEST).set(oldest_seconds as f64);
}

pub(crate) fn redriven(workspace: &WorkspaceId, count: usize) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    counter!(REDRIVEN, "workspace" => workspace.as_str().to_owned()).increment(count);
}

/// `cause` is `read` or `append`.
pub(crate) fn redrive_failed(cause: &'static str) {
    counter!(REDRIVE_FAILED, "cause" => cause).increment(1);
}

pub(crate) fn redrive_unreadable() {
    counter!(REDRIVE_UNREADABLE).increment(1);
}

pub(crate) fn directory_unreadable() {
    counter!(DIRECTORY_UNREADABLE).increment(1);
}

/// Counts what an event has that the guide to the provider does not know.
pub fn noticed(noticed: &[Noticed]) {
    for notice in noticed {
        counter!(NOTICED, "place" => notice.place.as_str(), "word" => SHOWN.label(notice)).increment(1);
    }
}

/// Words of one place that become labels, in a process.
const WORDS_LIMIT: usize = 64;
/// Characters of a word that becomes a label.
const WORD_CHARS: usize = 32;
/// Digits in a row that may be a number of somebody.
const DIGITS: usize = 5;
/// The label of every other word.
const OTHER: &str = "other";

static SHOWN: Vocabulary = Vocabulary(RwLock::new(BTreeMap::new()));

/// The words that are labels. They come from bodies, so neither how many nor what they are is left to the sender.
struct Vocabulary(RwLock<BTreeMap<Place, BTreeSet<String>>>);

impl Vocabulary {
    fn label(&self, notice: &Noticed) -> String {
        let Noticed { place, word } = notice;
        if !is_label(word) {
            return OTHER.to_owned();
        }
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if known.get(place).is_some_and(|words| words.contains(word)) {
            return word.clone();
        }
        drop(known);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let words = known.entry(*place).or_default();
        if words.len() < WORDS_LIMIT {
            words.insert(word.clone());
        }
        if words.contains(word) { word.clone() } else { OTHER.to_owned() }
    }
}

/// Whether a word may be shown: short, plain, and nobody's number or address.
fn is_label(word: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b" _.:-".contains(&byte);
    let digits = word.as_bytes().windows(DIGITS).any(|run| run.iter().all(u8::is_ascii_digit));
    !word.is_empty() && word.len() <= WORD_CHARS && word.bytes().all(plain) && !digits
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

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(place: Place, word: &str) -> Noticed {
        Noticed { place, word: word.to_owned() }
    }

    #[test]
    fn a_word_that_may_be_somebody_s_number_or_address_is_no_label() {
        for word in ["pauseReason", "pause_reason", "READY", "Agent Hangup", "x-2.0:b", "Wrap 1234", "absent"] {
            assert!(is_label(word), "{word}");
        }
        for word in [
            "",
            "9000000001",
            "call 91234",
            "agent@example.in",
            "आशा",
            "a/b",
            "{\"a\":1}",
            "line\nbreak",
            &"a".repeat(WORD_CHARS + 1),
        ] {
            assert!(!is_label(word), "{word:?}");
        }
    }

    #[test]
    fn a_place_has_few_words_and_they_stay() {
        let words = Vocabulary(RwLock::default());
        let name = |n: usize| format!("field{n}");
        for n in 0..WORDS_LIMIT {
            assert_eq!(words.label(&notice(Place::AgentField, &name(n))), name(n));
        }
        assert_eq!(words.label(&notice(Place::AgentField, "one.more")), OTHER);
        assert_eq!(words.label(&notice(Place::AgentField, &name(7))), name(7));
        assert_eq!(words.label(&notice(Place::CallField, "one.more")), "one.more");
        assert_eq!(words.label(&notice(Place::CallField, "9000000001")), OTHER);
        let known: usize = words.0.read().unwrap().values().map(BTreeSet::len).sum();
        assert_eq!(known, WORDS_LIMIT + 1, "what is not shown takes no room");
    }
}
