//! The facts behind rows: where in the log lies what a row was made of.

use std::collections::{BTreeMap, BTreeSet};

use helix_schemas::{fact::Fact, topics};
use serde::Serialize;
use serde_json::Value;

use crate::{
    ReplayError,
    export::progress_bar,
    log::{FactLog, Place, Stop},
};

/// How many facts are told of one row.
const TOLD: usize = 40;

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// An agent of a workspace.
    Agent(String, String),
    /// A call of a workspace.
    Call(String, String),
}

impl About {
    /// Of a row, by its table and the columns of its key; a row of sums is about no one fact.
    #[must_use]
    pub fn of_row(workspace: &str, table: &str, key: &Value) -> Option<Self> {
        let column = |name: &str| key.get(name).and_then(Value::as_str).map(str::to_owned);
        match table {
            "agents" | "agent_intervals" => Some(Self::Agent(workspace.to_owned(), column("agent_id")?)),
            "calls" | "call_legs" | "missed_calls" => Some(Self::Call(workspace.to_owned(), column("call_id")?)),
            _ => None,
        }
    }
}

/// A fact, by where it lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// Topic.
    pub topic: &'static str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: &'static str,
    /// When it happened, RFC 3339.
    pub occurred_at: String,
}

impl Evidence {
    fn of(place: Place, fact: &Fact) -> Self {
        Self {
            topic: topics::FACTS,
            partition: place.partition,
            offset: place.offset,
            id: fact.id.to_string(),
            kind: fact.kind.as_str(),
            occurred_at: fact.occurred_at.to_rfc3339(),
        }
    }
}

/// Reads the log once and finds the facts of each subject, the last [`TOLD`] of them. Records that cannot be read are
/// passed over: they are in no row. Blocking.
///
/// # Errors
/// [`ReplayError`] where the log cannot be read.
pub fn evidence(
    log: &FactLog,
    asked: &BTreeSet<About>,
    stop: &Stop,
) -> Result<BTreeMap<About, Vec<Evidence>>, ReplayError> {
    let mut found: BTreeMap<About, Vec<Evidence>> = BTreeMap::new();
    if asked.is_empty() {
        return Ok(found);
    }
    let cut = log.whole()?;
    let bar = progress_bar(cut.span(), "looking for the facts");
    log.read_records(&cut, stop, |record| {
        bar.inc(1);
        let Ok(fact) = log.decode(record.place, record.value) else { return Ok(()) };
        let workspace = fact.workspace.to_string();
        let agent = fact.agent.as_ref().map(|agent| About::Agent(workspace.clone(), agent.to_string()));
        let call = fact.call.as_ref().map(|call| About::Call(workspace.clone(), call.to_string()));
        for about in agent.into_iter().chain(call).filter(|about| asked.contains(about)) {
            let told = found.entry(about).or_default();
            told.push(Evidence::of(record.place, &fact));
            if told.len() > TOLD {
                told.remove(0);
            }
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    Ok(found)
}
