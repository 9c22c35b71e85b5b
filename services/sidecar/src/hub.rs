//! The one copy of the board in this process, and the frames that every client is sent.
//!
//! A task follows the deltas in Redis. Each is encoded once for viewers who see callers and once for those who do not,
//! and goes into a bounded broadcast; all clients share the bytes. Joining (a snapshot, or the frames after the client's last
//! one) and publishing happen under one lock, so nothing falls between. A client that falls behind the broadcast's
//! bound is ended, never skipped. Agents who watch what is their own have views and frames of their own (`own`).

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use helix_fold::{
    board::{
        document::{
            BoardDocument, CALLS, CallCard, Head, PRODUCERS, ProducerCard, WATERMARK_OCCURRED, WATERMARK_RECEIVED,
        },
        visible::{BoardRoot, Change, Visible},
    },
    settings::NOW_AHEAD_MILLIS,
};
use helix_live::{Delta, Snapshot};
use helix_schemas::names::{AgentId, WorkspaceId};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::broadcast;

use crate::{
    freshness::{Fresh, StaleReason, Traffic},
    metrics,
    own::OwnViews,
    view::{Audience, View, callers},
};

/// A client this many frames behind is ended.
const FRAMES_AHEAD: usize = 1024;
/// Frames kept for clients that come back, and their bytes.
const FRAMES_KEPT: usize = 2048;
const BYTES_KEPT: usize = 8 * 1024 * 1024;
/// An encoded snapshot serves every client that joins within this time, if the version is still its own.
const SNAPSHOT_HOLDS: Duration = Duration::from_millis(250);

/// The kind, in metrics, of a delta of one agent's own view.
const OWN: &str = "own";

/// Digits of the root in an event's id.
const ROOT_DIGITS: usize = 16;

/// What all clients are sent.
#[derive(Debug)]
pub(crate) enum Frame {
    /// The board moved on.
    Delta {
        /// See [`event_id`].
        id: String,
        /// Encoded for those who see callers.
        full: Bytes,
        /// Encoded for those who do not.
        masked: Bytes,
    },
    /// Nothing is as it was: everybody takes a new snapshot.
    Anew,
    /// The same for everybody who is sent it: heartbeats, comments that keep the line alive, deltas of an own view.
    Same(Bytes),
    /// The sidecar is going away.
    End,
}

/// One life of the state, as it stands now.
struct Life {
    generation: String,
    version: u64,
    full: View,
    masked: View,
    /// When the provider's last event reached us.
    heard_at: Option<Instant>,
    /// The event that the first of `kept` follows.
    before: String,
    kept: VecDeque<Arc<Frame>>,
    kept_bytes: usize,
    encoded: [Option<Encoded>; 2],
}

impl Life {
    fn event_id(&self) -> String {
        event_id(&self.generation, self.version, self.full.root())
    }
}

/// `{generation}-{version}-{the root's first digits}`. A Redis that comes back with an older state counts the same versions
/// again, for other content: the root tells them apart.
fn event_id(generation: &str, version: u64, root: BoardRoot) -> String {
    let root = root.to_string();
    format!("{generation}-{version}-{}", root.get(..ROOT_DIGITS).unwrap_or(&root))
}

struct Encoded {
    version: u64,
    at: Instant,
    board: Bytes,
}

struct Inner {
    life: Option<Life>,
    own: OwnViews,
    fresh: Fresh,
    /// The sidecar is going away: nobody joins any more.
    is_closed: bool,
}

/// The board in memory, shared.
pub(crate) struct Hub {
    workspace: WorkspaceId,
    inner: Mutex<Inner>,
    frames: broadcast::Sender<Arc<Frame>>,
}

/// A client that has joined.
pub(crate) struct Joined {
    /// To be sent first.
    pub(crate) first: Vec<Bytes>,
    /// Everything after.
    pub(crate) frames: broadcast::Receiver<Arc<Frame>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeltaDocument<'a> {
    version: u64,
    changes: &'a [Change],
    hash: BoardRoot,
    as_of: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeartbeatDocument<'a> {
    as_of: String,
    version: u64,
    stale: bool,
    stale_since: Option<String>,
    stale_reasons: Vec<&'static str>,
    /// Until when lists, plots and days were even with the board, where that is some seconds ago.
    records_stale_since: Option<String>,
    watermark: HeartbeatWatermark<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeartbeatWatermark<'a> {
    occurred_at: Option<&'a RawValue>,
    lag_facts: i64,
    lag_seconds: i64,
    received_at: Option<&'a RawValue>,
}

fn text(moment: DateTime<Utc>) -> String {
    moment.to_rfc3339_opts(SecondsFormat::Millis, true)
}

pub(crate) fn now_text() -> String {
    text(Utc::now())
}

fn json<T: Serialize>(value: &T) -> Vec<u8> {
    // Structs of texts, numbers and JSON that was parsed: they always serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

fn event(id: &str, name: &str, data: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(id.len() + name.len() + data.len() + 24);
    for part in [b"id: ".as_slice(), id.as_bytes(), b"\nevent: ", name.as_bytes(), b"\ndata: ", data, b"\n\n"] {
        out.extend_from_slice(part);
    }
    out.into()
}

pub(crate) fn delta_event(id: &str, version: u64, changes: &[Change], hash: BoardRoot) -> Bytes {
    event(id, "delta", &json(&DeltaDocument { version, changes, hash, as_of: now_text() }))
}

impl Hub {
    pub(crate) fn new(workspace: WorkspaceId) -> Self {
        let inner = Inner { life: None, own: OwnViews::default(), fresh: Fresh::default(), is_closed: false };
        Self { workspace, inner: Mutex::new(inner), frames: broadcast::Sender::new(FRAMES_AHEAD) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, frame: Arc<Frame>, kind: &'static str) {
        metrics::frame(self.workspace.as_str(), kind);
        // No receiver: nobody is watching.
        let _watched = self.frames.send(frame);
    }

    /// Also to those who watch what is their own.
    fn send_all(&self, inner: &Inner, frame: Frame, kind: &'static str) {
        let frame = Arc::new(frame);
        inner.own.send(&frame);
        self.send(frame, kind);
    }

    /// Takes a whole board: at the start, and wherever following broke.
    pub(crate) fn reset(&self, snapshot: Snapshot) {
        let mut inner = self.lock();
        let same = inner.life.as_ref().is_some_and(|life| {
            life.generation == snapshot.generation
                && life.version == snapshot.version
                && *life.full.visible() == snapshot.visible
        });
        if same {
            return;
        }
        inner.life = Some(Life {
            masked: View::of(Audience::Masked, &snapshot.visible),
            full: View::of(Audience::Full, &snapshot.visible),
            heard_at: last_heard(&snapshot.visible, Utc::now()),
            before: event_id(&snapshot.generation, snapshot.version, snapshot.visible.root()),
            generation: snapshot.generation,
            version: snapshot.version,
            kept: VecDeque::new(),
            kept_bytes: 0,
            encoded: [None, None],
        });
        self.send_all(&inner, Frame::Anew, "anew");
        // Who watches one joins it again.
        inner.own = OwnViews::default();
    }

    /// Whether a board of another life is shown.
    pub(crate) fn shows_another(&self, generation: &str) -> bool {
        self.lock().life.as_ref().is_some_and(|life| life.generation != generation)
    }

    /// Takes the next delta.
    pub(crate) fn publish(&self, delta: &Delta) {
        let mut inner = self.lock();
        let Inner { life: Some(life), own, .. } = &mut *inner else { return };
        life.version = delta.version;
        if delta.changes.iter().any(|change| change.path.starts_with(PRODUCERS)) {
            life.heard_at = Some(Instant::now());
        }
        let id = event_id(&life.generation, life.version, delta.hash);
        let own_frames = own.publish(delta, life.full.visible(), &id);
        metrics::frames(self.workspace.as_str(), OWN, own_frames);
        let encode = |view: &mut View| {
            let changes: Vec<Change> = delta.changes.iter().filter_map(|change| view.apply(change)).collect();
            delta_event(&id, delta.version, &changes, view.root())
        };
        let full = encode(&mut life.full);
        let masked = encode(&mut life.masked);
        if life.full.root() != delta.hash {
            // Our copy is wrong: the follower finds no gap, so this is a defect; a new snapshot repairs what is shown.
            tracing::error!(workspace = %self.workspace, version = delta.version, "the copy of the board is not the projector's");
        }
        let bytes = full.len() + masked.len();
        let frame = Arc::new(Frame::Delta { id, full, masked });
        life.kept.push_back(frame.clone());
        life.kept_bytes += bytes;
        while life.kept.len() > FRAMES_KEPT || life.kept_bytes > BYTES_KEPT {
            let Some(oldest) = life.kept.pop_front() else { break };
            if let Frame::Delta { full, masked, id, .. } = &*oldest {
                life.kept_bytes -= full.len() + masked.len();
                life.before.clone_from(id);
            }
        }
        self.send(frame, "delta");
    }

    /// Whether the copy agrees with the projector's root of this delta.
    pub(crate) fn agrees(&self, hash: BoardRoot) -> bool {
        self.lock().life.as_ref().is_some_and(|life| life.full.root() == hash)
    }

    /// Takes what is known of freshness; tells everybody at once where "stale" turned.
    pub(crate) fn freshness(&self, fresh: Fresh) {
        let mut inner = self.lock();
        let turned = inner.fresh.reasons != fresh.reasons
            || inner.fresh.records_since.is_some() != fresh.records_since.is_some();
        for reason in StaleReason::ALL {
            metrics::stale(self.workspace.as_str(), reason.as_str(), fresh.reasons.contains(&reason));
        }
        inner.fresh = fresh;
        if turned {
            let words: Vec<&str> = inner.fresh.reasons.iter().map(|reason| reason.as_str()).collect();
            tracing::info!(workspace = %self.workspace, reasons = ?words, "the board's freshness changed");
            self.heartbeat_of(&inner);
        }
    }

    /// What the board shows of the provider's activity; `None` where it never sent anything.
    pub(crate) fn traffic(&self) -> Option<Traffic> {
        let inner = self.lock();
        let life = inner.life.as_ref()?;
        let board = life.full.visible();
        let now = provider_now(board, Utc::now());
        let cards =
            board.collection(CALLS).into_iter().filter_map(|raw| serde_json::from_str::<CallCard>(raw.get()).ok());
        // Of a call that is presumed ended nothing more is expected, and nothing yet of one that lies ahead.
        let has_begun = |card: &CallCard| DateTime::parse_from_rfc3339(&card.started_at).is_ok_and(|at| at <= now);
        let calls = cards.filter(|card| !card.presumed && has_begun(card)).count();
        Some(Traffic { heard_at: life.heard_at?, calls })
    }

    /// Sends everybody a heartbeat.
    pub(crate) fn heartbeat(&self) {
        self.heartbeat_of(&self.lock());
    }

    fn heartbeat_of(&self, inner: &Inner) {
        if let Some(bytes) = heartbeat(inner) {
            self.send_all(inner, Frame::Same(bytes), "heartbeat");
        }
    }

    /// Sends everybody a comment: a page that hears nothing for some seconds knows that the line is dead.
    pub(crate) fn keep_alive(&self) {
        self.send_all(&self.lock(), Frame::Same(Bytes::from_static(b":\n\n")), "comment");
    }

    /// Tells those who watch what is their own what changed of what is common to all.
    pub(crate) fn share(&self) {
        let mut inner = self.lock();
        let Inner { life: Some(life), own, .. } = &mut *inner else { return };
        let frames = own.share(life.version, &life.event_id());
        metrics::frames(self.workspace.as_str(), OWN, frames);
    }

    /// Ends every stream, and lets nobody join any more.
    pub(crate) fn close(&self) {
        // Held while it is sent: who joined before is told, who comes after is refused.
        let mut inner = self.lock();
        inner.is_closed = true;
        self.send_all(&inner, Frame::End, "end");
    }

    /// A client joins: it is sent what it missed since `last`, where that is still known, else a snapshot.
    /// `None` before there is a board, and once the sidecar is going away.
    pub(crate) fn join(&self, audience: &Audience, last: Option<&str>) -> Option<Joined> {
        let mut inner = self.lock();
        if inner.is_closed {
            return None;
        }
        let (mut first, frames) = match audience {
            Audience::Own(agent) => self.join_own(&mut inner, agent.as_ref())?,
            Audience::Full | Audience::Masked => {
                let frames = self.frames.subscribe();
                let missed = last.and_then(|last| missed(inner.life.as_ref()?, audience, last));
                let snapshot = || self.snapshot_of(&mut inner, audience).map(|snapshot| vec![snapshot]);
                (missed.or_else(snapshot)?, frames)
            }
        };
        first.extend(heartbeat(&inner));
        Some(Joined { first, frames })
    }

    fn snapshot_of(&self, inner: &mut Inner, audience: &Audience) -> Option<Bytes> {
        let board = self.encoded(inner, audience)?;
        Some(event(&inner.life.as_ref()?.event_id(), "snapshot", &board))
    }

    /// An own view has no frames that are kept: whoever watches it begins with a snapshot.
    fn join_own(
        &self,
        inner: &mut Inner,
        agent: Option<&AgentId>,
    ) -> Option<(Vec<Bytes>, broadcast::Receiver<Arc<Frame>>)> {
        let Inner { life, own, fresh, is_closed: _ } = inner;
        let life = life.as_ref()?;
        let (view, frames) = own.join(agent, life.full.visible());
        let snapshot = event(&life.event_id(), "snapshot", &self.document(&view, life.version, fresh));
        Some((vec![snapshot], frames))
    }

    /// The provider's now, when it is `ours` here: see [`provider_now`]. Ours where there is no board.
    pub(crate) fn provider_now(&self, ours: DateTime<Utc>) -> DateTime<Utc> {
        self.lock().life.as_ref().map_or(ours, |life| provider_now(life.full.visible(), ours))
    }

    /// How many calls with a caller's number the board shows now.
    pub(crate) fn numbers(&self) -> usize {
        self.lock().life.as_ref().map_or(0, |life| callers(life.full.visible()))
    }

    /// The board as JSON, as this audience sees it. `None` before there is one.
    pub(crate) fn board(&self, audience: &Audience) -> Option<Bytes> {
        self.encoded(&mut self.lock(), audience)
    }

    fn document(&self, view: &View, version: u64, fresh: &Fresh) -> Bytes {
        let head = head(self.workspace.as_str(), version, fresh);
        json(&BoardDocument::new(head, view.visible())).into()
    }

    fn encoded(&self, inner: &mut Inner, audience: &Audience) -> Option<Bytes> {
        let Inner { life, fresh, own: _, is_closed: _ } = inner;
        let life = life.as_mut()?;
        let (view, place) = match audience {
            Audience::Full => (&life.full, 0),
            Audience::Masked => (&life.masked, 1),
            Audience::Own(_) => {
                let own = View::of(audience.clone(), life.full.visible());
                return Some(self.document(&own, life.version, fresh));
            }
        };
        let held = life.encoded.get(place).and_then(Option::as_ref);
        if let Some(held) = held.filter(|held| held.version == life.version && held.at.elapsed() < SNAPSHOT_HOLDS) {
            return Some(held.board.clone());
        }
        let board = self.document(view, life.version, fresh);
        if let Some(slot) = life.encoded.get_mut(place) {
            *slot = Some(Encoded { version: life.version, at: Instant::now(), board: board.clone() });
        }
        Some(board)
    }
}

/// The provider's now, when it is `ours` here (docs/decisions/0009): the board's watermark, and the time that has passed since
/// that reached us, but no more than a little ahead of ours: one misdated event takes the watermark hours ahead. Ours where
/// nothing is on the board yet.
fn provider_now(board: &Visible, ours: DateTime<Utc>) -> DateTime<Utc> {
    let at = |path: &str| {
        let text: String = serde_json::from_str(board.raw(path)?.get()).ok()?;
        DateTime::parse_from_rfc3339(&text).ok()
    };
    match (at(WATERMARK_OCCURRED), at(WATERMARK_RECEIVED)) {
        (Some(occurred), Some(received)) => {
            let passed = ours.signed_duration_since(received).max(TimeDelta::zero());
            let furthest = ours + TimeDelta::milliseconds(NOW_AHEAD_MILLIS);
            (occurred.with_timezone(&Utc) + passed).min(furthest)
        }
        (_, None) | (None, _) => ours,
    }
}

/// When the provider's last event reached us, by a board that was read now; what is said to lie ahead came just now.
fn last_heard(visible: &Visible, now: DateTime<Utc>) -> Option<Instant> {
    let cards = visible.collection(PRODUCERS);
    let cards = cards.into_iter().filter_map(|raw| serde_json::from_str::<ProducerCard>(raw.get()).ok());
    let moments = cards.filter_map(|card| DateTime::parse_from_rfc3339(&card.received_at).ok());
    let ago = now.signed_duration_since(moments.max()?).to_std().unwrap_or_default();
    Instant::now().checked_sub(ago)
}

/// What a board says of itself now.
fn head<'a>(workspace: &'a str, version: u64, fresh: &Fresh) -> Head<'a> {
    Head {
        workspace,
        as_of: now_text(),
        version,
        stale_reasons: fresh.reasons.iter().map(|reason| reason.as_str()).collect(),
        stale_since: fresh.since.map(text),
        lag_facts: fresh.lag_facts,
        lag_seconds: fresh.lag_seconds,
    }
}

fn heartbeat(inner: &Inner) -> Option<Bytes> {
    let life = inner.life.as_ref()?;
    let visible = life.full.visible();
    let head = head("", life.version, &inner.fresh);
    let document = HeartbeatDocument {
        as_of: head.as_of,
        version: head.version,
        stale: !head.stale_reasons.is_empty(),
        stale_since: head.stale_since,
        stale_reasons: head.stale_reasons,
        records_stale_since: inner.fresh.records_since.map(text),
        watermark: HeartbeatWatermark {
            occurred_at: visible.raw(WATERMARK_OCCURRED),
            lag_facts: head.lag_facts,
            lag_seconds: head.lag_seconds,
            received_at: visible.raw(WATERMARK_RECEIVED),
        },
    };
    Some(event(&life.event_id(), "heartbeat", &json(&document)))
}

/// The frames after `last`, where all of them are still kept, and `last` is the board that they follow.
fn missed(life: &Life, audience: &Audience, last: &str) -> Option<Vec<Bytes>> {
    let version: u64 = last.rsplit('-').nth(1)?.parse().ok()?;
    let behind = usize::try_from(life.version.checked_sub(version)?).ok()?;
    let skip = life.kept.len().checked_sub(behind)?;
    let known = match skip.checked_sub(1).and_then(|place| life.kept.get(place)).map(|frame| &**frame) {
        Some(Frame::Delta { id, .. }) => id,
        Some(Frame::Anew | Frame::Same(_) | Frame::End) | None => &life.before,
    };
    if known != last {
        return None;
    }
    let bytes = |frame: &Arc<Frame>| match &**frame {
        Frame::Delta { full, masked, .. } => {
            Some(if *audience == Audience::Full { full.clone() } else { masked.clone() })
        }
        Frame::Anew | Frame::Same(_) | Frame::End => None,
    };
    Some(life.kept.iter().skip(skip).filter_map(bytes).collect())
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use helix_fold::{
        board::{Board, document},
        settings::Settings,
    };
    use helix_schemas::{
        fact::{Body, CallParty, CallRang, Direction, Fact, OccurredAtFrom, Source},
        id::NaturalKey,
        names::CallId,
        time::{OccurredAt, ReceivedAt},
    };

    use super::*;

    /// A call that begins to ring at `occurred`, and is heard of now.
    fn rings(call: &str, occurred: DateTime<Utc>, now: DateTime<Utc>) -> Fact {
        let party = CallParty { direction: Some(Direction::Inbound), ..CallParty::default() };
        let body = Body::CallRang(CallRang { party });
        Fact {
            id: NaturalKey::new("ozonetel", "test", call).id(),
            workspace: WorkspaceId::new("ramaiah").unwrap(),
            agent: None,
            call: Some(CallId::new(call).unwrap()),
            leg: None,
            provider: "ozonetel".to_owned(),
            kind: body.kind(),
            occurred_at: OccurredAt::from_millis(occurred.timestamp_millis()),
            occurred_at_from: OccurredAtFrom::Event,
            received_at: ReceivedAt::from_micros(now.timestamp_micros()),
            raw: Vec::new(),
            raw_content_type: String::new(),
            source: Source::default(),
            normaliser: 1,
            body,
        }
    }

    fn showing(board: &Board) -> Hub {
        let hub = Hub::new(WorkspaceId::new("ramaiah").unwrap());
        hub.reset(Snapshot {
            generation: "g".to_owned(),
            version: 1,
            visible: board.visible().clone(),
            pulse: helix_live::Pulse::default(),
        });
        hub
    }

    #[test]
    fn one_misdated_event_takes_the_provider_s_now_no_further_than_five_minutes_ahead() {
        let now = Utc::now();
        let mut board = Board::new(WorkspaceId::new("ramaiah").unwrap(), Settings::default());
        assert_eq!(showing(&board).provider_now(now), now);
        // Milliseconds are what a watermark has.
        let truth = DateTime::from_timestamp_millis((now - TimeDelta::seconds(3)).timestamp_millis()).unwrap();
        board.apply(&rings("today", truth, truth));
        assert_eq!(showing(&board).provider_now(now), now);
        assert_eq!(showing(&board).traffic().unwrap().calls, 1);
        board.apply(&rings("tomorrow", now + TimeDelta::hours(20), now));
        let hub = showing(&board);
        for passed in [TimeDelta::zero(), TimeDelta::hours(1)] {
            assert_eq!(hub.provider_now(now + passed), now + passed + TimeDelta::minutes(5));
        }
        assert!(board.visible().get(&document::call_path(&CallId::new("tomorrow").unwrap())).is_some());
        assert_eq!(hub.traffic().unwrap().calls, 1, "nothing is expected of tomorrow's call yet");
    }

    #[test]
    fn frames_of_own_views_are_counted_as_they_are_published() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let count = |kind: &str| {
            let labels = format!("{{workspace=\"ramaiah\",kind=\"{kind}\"}} ");
            let rendered = recorder.handle().render();
            let line = rendered
                .lines()
                .find_map(|line| line.strip_prefix("helix_sidecar_frames_total")?.strip_prefix(&labels));
            line.map(|count| count.parse::<u64>().unwrap())
        };
        ::metrics::with_local_recorder(&recorder, || {
            let board = Board::new(WorkspaceId::new("ramaiah").unwrap(), Settings::default());
            let hub = showing(&board);
            let own = |agent: &str| hub.join(&Audience::Own(Some(AgentId::new(agent).unwrap())), None).unwrap();
            let watching = [own("agent.one"), own("agent.two")];
            let card = |agent: &str| {
                Change::set(
                    &document::agent_path(&AgentId::new(agent).unwrap()),
                    RawValue::from_string("{}".to_owned()).unwrap(),
                )
            };
            let common = Change::set(WATERMARK_OCCURRED, RawValue::from_string("\"t\"".to_owned()).unwrap());
            let publish = |version, changes: Vec<Change>| {
                hub.publish(&Delta { version, changes, hash: Visible::default().root() });
            };
            publish(2, vec![card("agent.three"), common]);
            assert_eq!((count("delta"), count("own")), (Some(1), Some(0)), "it concerns nobody who watches");
            publish(3, vec![card("agent.one")]);
            assert_eq!((count("delta"), count("own")), (Some(2), Some(1)));
            hub.share();
            assert_eq!(count("own"), Some(3), "what is common, to both");
            hub.heartbeat();
            assert_eq!(count("heartbeat"), Some(1), "however many views it goes to");
            drop(watching);
        });
    }

    #[test]
    fn who_joins_before_the_end_is_told_of_it_and_nobody_joins_after() {
        let hub = Hub::new(WorkspaceId::new("ramaiah").unwrap());
        hub.reset(Snapshot {
            generation: "g".to_owned(),
            version: 1,
            visible: Visible::default(),
            pulse: helix_live::Pulse::default(),
        });
        let mut before = hub.join(&Audience::Full, None).unwrap();
        hub.close();
        assert!(matches!(&*before.frames.try_recv().unwrap(), Frame::End));
        for audience in [Audience::Full, Audience::Masked, Audience::Own(None)] {
            assert!(hub.join(&audience, None).is_none(), "its stream would never end");
        }
    }
}
