//! The own views of agents: one for each agent whom somebody watches, encoded once for all who do.
//!
//! A delta goes to the agents it is about: whose card it changes, and who has, or had, a call that it changes. What is common
//! to all, the watermark and the producers, changes with nearly every fact: it comes with the agent's next own change, or when it
//! is shared, once a second. So what a delta costs does not grow with the agents, and who is not concerned is not woken.

use std::{collections::BTreeMap, sync::Arc};

use helix_fold::board::visible::{Change, Visible};
use helix_live::Delta;
use helix_schemas::names::AgentId;
use tokio::sync::broadcast;

use crate::{
    hub::{Frame, delta_event},
    view::{Audience, View, agents_of, is_common},
};

/// A client of an own view that is this many frames behind is ended. There are few of them, and a channel for each agent.
const FRAMES_AHEAD: usize = 128;

/// The view of one agent, and who watches it.
struct Own {
    view: View,
    frames: broadcast::Sender<Arc<Frame>>,
}

/// The views of all agents who are watched.
#[derive(Default)]
pub(crate) struct OwnViews {
    /// `None`: of tokens that name no agent, who are shown nothing.
    watched: BTreeMap<Option<AgentId>, Own>,
    /// What is common to all and was not shared yet: the last change of each path.
    common: BTreeMap<String, Change>,
}

impl OwnViews {
    /// Somebody watches an agent's view of this board: the view now, and the frames after it.
    pub(crate) fn join(&mut self, agent: Option<&AgentId>, board: &Visible) -> (View, broadcast::Receiver<Arc<Frame>>) {
        self.forget_unwatched();
        let now = View::of(Audience::Own(agent.cloned()), board);
        let own = self
            .watched
            .entry(agent.cloned())
            .or_insert_with(|| Own { view: now.clone(), frames: broadcast::Sender::new(FRAMES_AHEAD) });
        (now, own.frames.subscribe())
    }

    /// Takes a delta of the board, which is as `before` without it. How many frames of own views came of it.
    pub(crate) fn publish(&mut self, delta: &Delta, before: &Visible, id: &str) -> u64 {
        if self.watched.is_empty() {
            return 0;
        }
        let mut concerned: BTreeMap<AgentId, Vec<&Change>> = BTreeMap::new();
        for change in &delta.changes {
            if is_common(&change.path) {
                self.common.insert(change.path.clone(), change.clone());
                continue;
            }
            for agent in agents_of(change, before).into_iter().flatten() {
                concerned.entry(agent).or_default().push(change);
            }
        }
        let mut frames = 0;
        for (agent, changes) in concerned {
            if let Some(own) = self.watched.get_mut(&Some(agent)) {
                frames += u64::from(own.tell(&self.common, &changes, delta.version, id));
            }
        }
        frames
    }

    /// Tells everybody what is common and was not told yet; the board's version and event are these now. How many frames
    /// came of it.
    pub(crate) fn share(&mut self, version: u64, id: &str) -> u64 {
        self.forget_unwatched();
        let mut frames = 0;
        for (agent, own) in &mut self.watched {
            if agent.is_some() {
                frames += u64::from(own.tell(&self.common, &[], version, id));
            }
        }
        self.common.clear();
        frames
    }

    /// Sends everybody the same.
    pub(crate) fn send(&self, frame: &Arc<Frame>) {
        for own in self.watched.values() {
            // No receiver: whoever watched has just gone.
            let _watched = own.frames.send(frame.clone());
        }
    }

    fn forget_unwatched(&mut self) {
        self.watched.retain(|_, own| own.frames.receiver_count() > 0);
    }
}

impl Own {
    /// Whether there was anything to tell.
    fn tell(&mut self, common: &BTreeMap<String, Change>, own: &[&Change], version: u64, id: &str) -> bool {
        // Some joined after a part of what is common: told as a whole, it is the same for all.
        let mut changes: Vec<Change> = common.values().cloned().collect();
        for change in common.values() {
            self.view.apply(change);
        }
        changes.extend(own.iter().filter_map(|change| self.view.apply(change)));
        if changes.is_empty() {
            return false;
        }
        let bytes = delta_event(id, version, &changes, self.view.root());
        // As in `send`.
        let _watched = self.frames.send(Arc::new(Frame::Same(bytes)));
        true
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json, value::to_raw_value};

    use super::*;

    fn agent(id: &str) -> AgentId {
        AgentId::new(id).unwrap()
    }

    fn set(path: &str, value: &Value) -> Change {
        Change::set(path, to_raw_value(value).unwrap())
    }

    fn call(agent: Option<&str>) -> Change {
        let card = json!({
            "callId": "c", "state": "ringing", "since": "t", "startedAt": "t", "caller": "919845012345", "agentId": agent,
            "direction": null, "did": null, "skill": null, "presumed": false,
        });
        let card: helix_fold::board::document::CallCard = serde_json::from_value(card).unwrap();
        Change::set("calls/c", to_raw_value(&card).unwrap())
    }

    /// The board, and the views beside it.
    struct World {
        board: Visible,
        views: OwnViews,
        version: u64,
    }

    impl World {
        fn apply(&mut self, changes: Vec<Change>) {
            self.version += 1;
            let delta = Delta { version: self.version, changes, hash: self.board.root() };
            self.views.publish(&delta, &self.board, "id");
            for change in &delta.changes {
                self.board.apply(change);
            }
        }

        /// Somebody watches: a copy, and what is to come.
        fn join(&mut self, id: &str) -> (Visible, broadcast::Receiver<Arc<Frame>>) {
            let (view, frames) = self.views.join(Some(&agent(id)), &self.board);
            (view.visible().clone(), frames)
        }
    }

    /// Follows frames on a copy, and tells what paths came.
    fn read((copy, frames): &mut (Visible, broadcast::Receiver<Arc<Frame>>)) -> Vec<String> {
        let mut paths = Vec::new();
        while let Ok(frame) = frames.try_recv() {
            let Frame::Same(bytes) = &*frame else { panic!("{frame:?}") };
            let delta: Delta = serde_json::from_str(data(bytes)).unwrap();
            for change in &delta.changes {
                copy.apply(change);
                paths.push(change.path.clone());
            }
            assert_eq!(copy.root(), delta.hash, "after {paths:?}");
        }
        paths
    }

    fn data(bytes: &Bytes) -> &str {
        let text = std::str::from_utf8(bytes).unwrap();
        text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap()
    }

    #[test]
    fn an_agent_is_told_what_is_its_own_at_once_and_what_is_common_when_it_is_shared() {
        let mut world = World { board: Visible::default(), views: OwnViews::default(), version: 0 };
        let mut one = world.join("one");
        let mut two = world.join("two");
        world.apply(vec![set("agents/one", &json!({"a": 1})), set("watermark/occurredAt", &json!("t1"))]);
        world.apply(vec![
            set("agents/three", &json!({"a": 1})),
            set("waiting/c", &json!({})),
            set("today", &json!({})),
        ]);
        world.apply(vec![set("watermark/occurredAt", &json!("t2"))]);
        assert_eq!(read(&mut one), ["watermark/occurredAt", "agents/one"]);
        assert!(read(&mut two).is_empty());
        // Who joins meanwhile has a part of it.
        let mut late = world.join("two");
        world.views.share(3, "id");
        assert_eq!(read(&mut one), ["watermark/occurredAt"]);
        assert_eq!(read(&mut two), ["watermark/occurredAt"]);
        assert_eq!(read(&mut late), ["watermark/occurredAt"]);
        world.views.share(3, "id");
        assert!(read(&mut one).is_empty(), "shared already");
        let now = View::of(Audience::Own(Some(agent("one"))), &world.board);
        assert_eq!(one.0, *now.visible());
    }

    #[test]
    fn a_call_that_changes_hands_leaves_the_one_view_and_comes_into_the_other() {
        let mut world = World { board: Visible::default(), views: OwnViews::default(), version: 0 };
        let mut one = world.join("one");
        let mut two = world.join("two");
        world.apply(vec![call(None)]);
        world.apply(vec![call(Some("one"))]);
        world.apply(vec![call(Some("two"))]);
        world.apply(vec![Change::remove("calls/c")]);
        assert_eq!(read(&mut one), ["calls/c", "calls/c"], "it came and went");
        assert_eq!(read(&mut two), ["calls/c", "calls/c"]);
    }

    #[test]
    fn views_that_nobody_watches_are_forgotten() {
        let mut views = OwnViews::default();
        drop(views.join(Some(&agent("one")), &Visible::default()));
        let (_view, _frames) = views.join(None, &Visible::default());
        views.share(1, "id");
        assert_eq!(views.watched.len(), 1);
    }

    /// `cargo test -p helix-sidecar --lib -- --ignored --nocapture own`: what 1,000 deltas of 500 agents cost who watch their own page,
    /// without the network.
    #[test]
    #[ignore = "a measurement"]
    fn deltas_of_many_agents() {
        let ids: Vec<AgentId> = (0..500).map(|number| agent(&format!("agent.{number}"))).collect();
        let card = |delta: usize| json!({"name": "Somebody", "state": "on_call", "since": "2026-03-02T03:30:00.000Z", "n": delta});
        let moment = |delta: usize| json!(format!("2026-03-02T03:30:{delta:06}Z"));
        let deltas: Vec<Delta> = (0..1000)
            .map(|number| {
                let changes = vec![
                    set(&format!("agents/agent.{}", number % 500), &card(number)),
                    set("watermark/occurredAt", &moment(number)),
                    set("watermark/receivedAt", &moment(number)),
                    set("producers/agent-event", &json!({"receivedAt": moment(number), "occurredAt": moment(number)})),
                ];
                Delta { version: number as u64 + 1, changes, hash: Visible::default().root() }
            })
            .collect();
        let board = Visible::default();
        let began = std::time::Instant::now();
        let mut each: Vec<View> = ids.iter().map(|id| View::of(Audience::Own(Some(id.clone())), &board)).collect();
        let mut frames = 0;
        for delta in &deltas {
            for view in &mut each {
                let changes: Vec<Change> = delta.changes.iter().filter_map(|change| view.apply(change)).collect();
                frames += usize::from(!delta_event("id", delta.version, &changes, view.root()).is_empty());
            }
        }
        println!("each view takes each delta: {:.2?}, {frames} frames", began.elapsed());
        let began = std::time::Instant::now();
        let mut views = OwnViews::default();
        let mut watching: Vec<_> = ids.iter().map(|id| views.join(Some(id), &board).1).collect();
        for (number, delta) in deltas.iter().enumerate() {
            views.publish(delta, &board, "id");
            // 100 deltas a second.
            if number % 100 == 99 {
                views.share(delta.version, "id");
            }
        }
        let took = began.elapsed();
        let frames: usize =
            watching.iter_mut().map(|frames| std::iter::from_fn(|| frames.try_recv().ok()).count()).sum();
        println!("each view takes its own, and what is common once a second: {took:.2?}, {frames} frames");
    }
}
