//! Facts in order per key, each acknowledged before the next of its key, then the marks that they are done.
//!
//! Invariant: of one key, no event overtakes an earlier one, also where the log fails in between: a failure ends that
//! key's turn, and the next attempt begins with the event that failed.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use helix_schemas::{
    key::{fact_key, unrouted_key},
    names::WorkspaceId,
    time::ReceivedAt,
    topics,
    unrouted::{Redriven, UnroutedEvent},
};

use super::RedriveError;
use crate::{codecs::Codecs, publish::Publisher};

/// One event on its way into a workspace.
#[derive(Debug)]
pub struct Attributed {
    /// Its offset in `telephony.unrouted`.
    pub offset: i64,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// The event.
    pub event: UnroutedEvent,
}

/// What became of some events.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Facts now, and marked.
    pub done: Vec<(i64, WorkspaceId)>,
    /// Why the others are not; the first reason where there are several.
    pub failed: Option<RedriveError>,
}

/// Appends events of one partition, which are in its order, as facts.
pub async fn append(publisher: &Publisher, codecs: &Codecs, events: Vec<Attributed>) -> Outcome {
    let mut turns: BTreeMap<String, Vec<Attributed>> = BTreeMap::new();
    for one in events {
        let key = fact_key(&one.workspace, one.event.agent.as_ref(), one.event.call.as_ref());
        turns.entry(key).or_default().push(one);
    }
    let mut outcome = Outcome::default();
    for turn in join_all(turns.into_iter().map(|(key, events)| turn(publisher, codecs, key, events))).await {
        outcome.done.extend(turn.done);
        outcome.failed = outcome.failed.or(turn.failed);
    }
    outcome
}

/// The events of one key, one after the other. Their marks go along and are waited for at the end.
async fn turn(publisher: &Publisher, codecs: &Codecs, key: String, events: Vec<Attributed>) -> Outcome {
    let mut outcome = Outcome::default();
    let mut marks = Vec::with_capacity(events.len());
    for Attributed { offset, workspace, event } in events {
        let place = unrouted_key(event.agent.as_ref(), event.did.as_ref());
        let redriven = Redriven { workspace: workspace.clone(), offset, at: ReceivedAt::now() };
        let mut mark = event.mark(redriven.clone());
        let appended = async {
            let fact = codecs.fact.encode(&event.into_fact(workspace.clone()))?;
            publisher.publish(topics::FACTS, &key, &fact).await?;
            mark.redriven = Some(Redriven { at: ReceivedAt::now(), ..redriven });
            let mark = codecs.unrouted.encode(&mark)?;
            Ok::<_, RedriveError>(publisher.enqueue(topics::UNROUTED, &place, &mark)?)
        };
        match appended.await {
            Ok(mark) => marks.push((offset, workspace, mark)),
            Err(error) => {
                outcome.failed = Some(error);
                break;
            }
        }
    }
    for (offset, workspace, mark) in marks {
        match publisher.acknowledged_in_time(mark).await {
            Ok(_) => outcome.done.push((offset, workspace)),
            Err(error) => outcome.failed = outcome.failed.or(Some(error.into())),
        }
    }
    outcome
}
