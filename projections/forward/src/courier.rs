//! Delivers the events of a batch: each key's in order, several keys at once, within the circuit and the window.
//!
//! A key is a lane. One event of a lane is in flight at a time, and the same one again until it is answered; lanes do not
//! wait for each other. Everything is decided in one loop, so there is nothing to lock.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use helix_runtime::fault::{self, Point};
use helix_schemas::{names::WorkspaceId, topics};
use tokio::sync::watch;

use crate::{
    circuit::{Circuit, Purpose},
    memory::Memory,
    metrics::Meter,
    receiver::{Failure, Outcome, Receiver},
    request::Event,
};

/// A lane's first repetition comes after this time; doubles,
const FIRST_WAIT: Duration = Duration::from_millis(100);
/// up to this.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// The events of one record key, in order.
#[derive(Default)]
struct Lane {
    events: VecDeque<Event>,
    in_flight: bool,
    /// Of the event in front.
    failures: u32,
    not_before: Option<Instant>,
}

impl Lane {
    fn failed(&mut self, now: Instant) {
        let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.failures)).min(LAST_WAIT);
        self.failures += 1;
        self.not_before = Some(now + wait);
    }

    /// Whether its event in front may be sent, sooner or later.
    fn startable(&self, stopping: bool) -> bool {
        !self.in_flight && !self.events.is_empty() && (!stopping || self.failures == 0)
    }

    fn answered(&mut self) -> Option<Event> {
        (self.failures, self.not_before) = (0, None);
        self.events.pop_front()
    }
}

struct Answer {
    lane: usize,
    purpose: Purpose,
    outcome: Outcome,
}

/// Brings events to one receiver.
pub(crate) struct Courier {
    workspace: WorkspaceId,
    receiver: Receiver,
    concurrency: usize,
    pub(crate) circuit: Circuit,
    meter: Meter,
    stopping: watch::Receiver<bool>,
    /// Batches so far. Each begins with another lane, so that an event that the receiver cannot digest is not for ever the
    /// one that probes it.
    turn: usize,
}

impl Courier {
    pub(crate) fn new(
        workspace: WorkspaceId,
        receiver: Receiver,
        concurrency: usize,
        meter: Meter,
        stopping: watch::Receiver<bool>,
    ) -> Self {
        Self { workspace, receiver, concurrency, circuit: Circuit::new(), meter, stopping, turn: 0 }
    }

    /// Whoever could stop us is gone, or has asked.
    fn stopping(&self) -> bool {
        *self.stopping.borrow() || self.stopping.has_changed().is_err()
    }

    /// Delivers events (with their record keys, in order), beginning none after `until`; tells how many are left. What
    /// is answered goes to `memory` at once. While stopping, what failed is not tried again.
    pub(crate) async fn deliver(&mut self, events: Vec<(Bytes, Event)>, until: Instant, memory: &mut Memory) -> usize {
        let mut lanes = lanes(events);
        if !lanes.is_empty() {
            self.turn = (self.turn + 1) % lanes.len();
            lanes.rotate_left(self.turn);
        }
        let mut in_flight: FuturesUnordered<BoxFuture<'static, Answer>> = FuturesUnordered::new();
        loop {
            let stopping = self.stopping();
            let now = Instant::now();
            let next = self.next_start(&lanes, now, stopping).filter(|at| *at < until);
            let room = in_flight.len() < self.circuit.allowed(now, self.concurrency);
            if room
                && next.is_some_and(|at| at <= now)
                && let Some(sending) = self.start(&mut lanes, now, stopping)
            {
                in_flight.push(sending);
                continue;
            }
            let nap = next.filter(|at| *at > now);
            if in_flight.is_empty() && nap.is_none() {
                break;
            }
            let waking = tokio::time::sleep_until(nap.unwrap_or(until).into());
            tokio::select! {
                Some(answer) = in_flight.next() => self.note(&mut lanes, &answer, memory),
                () = waking, if nap.is_some() => {}
                _told = self.stopping.changed(), if !stopping => {}
            }
        }
        lanes.iter().map(|lane| lane.events.len()).sum()
    }

    /// When the next event may be sent, the number in flight aside; `None` where none may.
    fn next_start(&self, lanes: &[Lane], now: Instant, stopping: bool) -> Option<Instant> {
        if stopping && self.circuit.is_open() {
            return None;
        }
        let startable = lanes.iter().filter(|lane| lane.startable(stopping));
        let lane_at = startable.map(|lane| lane.not_before.unwrap_or(now)).min()?;
        Some(self.circuit.probe_at().map_or(lane_at, |probe_at| probe_at.max(lane_at)))
    }

    /// Sends the event in front of a lane: first of those that have not failed, then of the one that has waited longest.
    fn start(&self, lanes: &mut [Lane], now: Instant, stopping: bool) -> Option<BoxFuture<'static, Answer>> {
        let due = |lane: &Lane| lane.startable(stopping) && lane.not_before.is_none_or(|at| at <= now);
        let startable = lanes.iter_mut().enumerate().filter(|(_, lane)| due(lane));
        let (index, lane) = startable.min_by_key(|(_, lane)| lane.not_before)?;
        let event = lane.events.front()?.clone();
        lane.in_flight = true;
        let (receiver, purpose) = (self.receiver.clone(), self.circuit.purpose());
        Some(Box::pin(async move {
            let outcome = receiver.send(&event).await;
            Answer { lane: index, purpose, outcome }
        }))
    }

    fn note(&mut self, lanes: &mut [Lane], answer: &Answer, memory: &mut Memory) {
        let Some(lane) = lanes.get_mut(answer.lane) else { return };
        lane.in_flight = false;
        match &answer.outcome {
            Outcome::Failed(failure) => {
                lane.failed(Instant::now());
                self.failed(failure, answer.purpose);
                return;
            }
            Outcome::Delivered => self.meter.delivered(),
            Outcome::Refused(status) => {
                self.meter.refused(*status);
                if let Some(event) = lane.events.front() {
                    let Event { partition, offset, id, .. } = event;
                    tracing::warn!(
                        workspace = %self.workspace, topic = topics::FACTS, partition, offset = offset.0, %id, status,
                        "the receiver refuses an event; it is not sent again"
                    );
                }
            }
        }
        if let Some(event) = lane.answered() {
            memory.answered(event.partition, event.offset);
            fault::pass(Point::MidBatch);
        }
        if self.circuit.answered(answer.purpose) {
            self.meter.circuit(false);
            tracing::info!(workspace = %self.workspace, "the receiver answers again");
        }
    }

    fn failed(&mut self, failure: &Failure, purpose: Purpose) {
        self.meter.failed(failure.cause);
        if self.circuit.failed(failure, purpose, Instant::now()) {
            self.meter.circuit(true);
            tracing::warn!(
                workspace = %self.workspace, cause = %failure.cause,
                "the receiver takes nothing; from now on it is only probed, and its events wait"
            );
        }
    }
}

fn lanes(events: Vec<(Bytes, Event)>) -> Vec<Lane> {
    let mut by_key: BTreeMap<Bytes, usize> = BTreeMap::new();
    let mut lanes: Vec<Lane> = Vec::new();
    for (key, event) in events {
        let index = *by_key.entry(key).or_insert_with(|| {
            lanes.push(Lane::default());
            lanes.len() - 1
        });
        if let Some(lane) = lanes.get_mut(index) {
            lane.events.push_back(event);
        }
    }
    lanes
}
